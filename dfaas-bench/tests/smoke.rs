//! One case with one round and one scenario, by the programs as they are.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_case_is_measured_and_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_dfaas-bench"))
        .args([
            "run",
            "--quick",
            "--json",
            "--rounds=1",
            "--only=local, keep-alive",
        ])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [told] = &lines[..] else {
        panic!("not one object: {text}{complaint}")
    };
    assert_eq!((&told["connections"], &told["body"]), (&64.into(), &64.into()));
    for name in [
        "direct_rps",
        "dfaas_rps",
        "haproxy_rps",
        "nginx_rps",
        "p50_us",
        "p99_us",
    ] {
        assert!(told[name].as_f64().unwrap() > 0.0, "{name}: {told}");
    }
    for name in ["cpu_us_per_request", "bpf_ns_per_request"] {
        assert!(told[name].as_f64().unwrap() > 0.0, "{name}: {told}");
    }
    let ratio = told["dfaas_rps"].as_f64().unwrap() / told["direct_rps"].as_f64().unwrap();
    // Of a single round, the ratio of the medians is the median of the ratios.
    assert!(
        (told["ratio_direct"].as_f64().unwrap() - ratio).abs() < 1e-9,
        "{told}"
    );
    // Two ratios, and for p50 and p99 how much, and less than HAProxy.
    assert_eq!(told["floors"].as_array().unwrap().len(), 6);
    assert!(complaint.contains("load average"), "{complaint}");
}

#[test]
fn a_scenario_is_run_with_both_strategies_and_told_by_second() {
    let output = Command::new(env!("CARGO_BIN_EXE_dfaas-bench"))
        .args(["scenarios", "--json", "--seconds=4", "--only=50/0/0"])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [water_filling, recalc] = &told[..] else {
        panic!("not two objects: {text}{complaint}")
    };
    for told in [water_filling, recalc] {
        assert_eq!(
            (&told["load"], &told["lost"]),
            (&serde_json::json!([50, 0, 0]), &0.into())
        );
        let sum = |key: &str| {
            told[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|count| count.as_u64().unwrap())
                .sum::<u64>()
        };
        // A request may be on either side of a second's end.
        assert!((199..=201).contains(&(sum("served") + sum("refused"))), "{told}");
        assert!(told["reaction_ms"].as_f64().unwrap() > 0.0, "{told}");
    }
    let second = |told: &Value| told["served"][1].as_u64().unwrap();
    assert!(second(water_filling) > second(recalc), "{text}");
}
