//! How many round trips a first request takes, by its size, on a link that is late.

use std::{collections::BTreeMap, time::Duration};

use dfaas_testbed::{Federation, Function, NodeSpec};

use crate::kit::{PLENTY_RPS, try_curl, turn};

/// How late everything is on its way to the node, and on its way back.
const DELAY: Duration = Duration::from_millis(100);
const TRIES: usize = 3;

#[test]
fn a_first_request_of_a_segment_s_size_costs_no_further_round_trip() {
    let _turn = turn();
    let mut federation = Federation::unformed(&[NodeSpec::new(vec![Function::echo(PLENTY_RPS)])]).unwrap();
    let link = federation.network.stretch(1).unwrap();
    let start = federation.start_agents().unwrap();
    federation.wait_until_formed(start).unwrap();
    link.set_delay(DELAY);
    // The head, the body, in bytes, about.
    let sizes = [
        (300, 0),
        (800, 0),
        (1_200, 0),
        (400, 800),
        (400, 2_600),
        (1_200, 1_800),
    ];
    let times: BTreeMap<(usize, usize), f64> = sizes
        .into_iter()
        .map(|size| (size, best(&federation, size)))
        .collect();
    let [small, ..] = sizes;
    // The handshake, and the request with its answer.
    let round_trip = times[&small] / 2.0;
    for (size, time) in &times {
        println!(
            "head and body of {size:?} bytes: {:.0} ms, {:.2} round trips",
            time * 1e3,
            time / round_trip
        );
    }
    for size in &sizes[1..4] {
        let more = (times[size] - times[&small]) / round_trip;
        assert!(
            more < 0.5,
            "{size:?} bytes take {more:.2} round trips more than {small:?}"
        );
    }
    federation.stop().unwrap();
}

/// The shortest of some times from the first packet to the answer, in seconds.
fn best(federation: &Federation, (head, body): (usize, usize)) -> f64 {
    let url = format!("http://{}/function/echo", federation.nodes[0].service());
    let fill = format!("X-Fill: {}", "x".repeat(head - 150));
    let body = "b".repeat(body);
    let wants = [
        "-H",
        &fill,
        "--data-binary",
        &body,
        "-H",
        "Expect:",
        "-w",
        "%{stderr}%{http_code} %{time_total}",
        &url,
    ];
    let tries = (0..TRIES).map(|_| {
        let output = try_curl(&federation.client, &wants);
        let told = String::from_utf8_lossy(&output.stderr);
        let time = told.strip_prefix("200 ").map(str::parse::<f64>);
        time.unwrap_or_else(|| panic!("{told}")).unwrap()
    });
    tries.fold(f64::INFINITY, f64::min)
}
