use super::*;
use crate::report::fixtures;

#[test]
fn every_number_has_a_sample() {
    let text = encode(&fixtures::report());
    for line in [
        "dfaas_build_info{version=\"1.2.3\",strategy=\"water-filling\"} 1",
        "dfaas_uptime_seconds 1.5",
        "dfaas_ready 1",
        "dfaas_flows 2",
        "dfaas_peers 1",
        "dfaas_requests_total{function=\"figlet\",decision=\"local\",peer=\"\",code=\"\"} 3",
        "dfaas_requests_total{function=\"figlet\",decision=\"forwarded\",peer=\"n2\",code=\"\"} 5",
        "dfaas_requests_total{function=\"figlet\",decision=\"admitted\",peer=\"n2\",code=\"\"} 4",
        "dfaas_requests_total{function=\"figlet\",decision=\"refused\",peer=\"\",code=\"429\"} 1",
        "dfaas_requests_total{function=\"\",decision=\"refused\",peer=\"\",code=\"404\"} 9",
        "dfaas_first_byte_seconds_bucket{function=\"figlet\",served_by=\"local\",le=\"0.001\"} 3",
        "dfaas_first_byte_seconds_sum{function=\"figlet\",served_by=\"local\"} 0.002",
        "dfaas_events_total{event=\"opened\"} 17",
        "dfaas_proxied_in_user_space_total{reason=\"chunked\"} 3",
        "dfaas_proxy_ready 1",
        "dfaas_function_demand_rps{function=\"figlet\"} 20",
        "dfaas_function_capacity_rps{function=\"figlet\"} 10",
        "dfaas_route_weight{function=\"figlet\",peer=\"n2\"} 1",
        "dfaas_route_cap_rps{function=\"figlet\",peer=\"n2\"} +Inf",
        "dfaas_admit_rps{function=\"figlet\",peer=\"n2\"} 2.5",
        "dfaas_overlay_messages_total{fate=\"published\"} 0",
        "dfaas_messages_total{verdict=\"accepted\"} 6",
        "dfaas_messages_total{verdict=\"rejected\"} 5",
        "dfaas_rejected_messages_total{reason=\"malformed\"} 2",
        "dfaas_rejected_messages_total{reason=\"absurd_value\"} 3",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in:\n{text}"
        );
    }
}

#[test]
fn every_sample_belongs_to_the_family_before_it() {
    let text = encode(&fixtures::report());
    let mut family = "";
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(announced) = line.strip_prefix("# TYPE ") {
            family = announced.split(' ').next().unwrap();
            families.push(family);
        } else if !line.starts_with('#') {
            assert!(line.starts_with(family), "{line} is not of {family}");
        }
    }
    let announced = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), announced, "a family is announced twice");
}
