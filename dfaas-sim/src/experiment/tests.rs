use std::fs;
use std::path::Path;

use super::recordings::{Recordings, RecordingsError, TYPES};
use super::*;
use crate::random::{Purpose, Random};

#[test]
fn strategies_are_in_the_published_order() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path());
    let recordings = Recordings::read(folder.path()).unwrap();
    let instances: Vec<Vec<Outcome>> = (0..20).map(|seed| run(&recordings, 20, 0.3, seed)).collect();
    let setting = Setting::new(20, 0.3, &instances);
    let success: Vec<f64> = setting
        .outcomes
        .iter()
        .map(|outcome| outcome.success_percent.mean)
        .collect();
    let [base, random, empirical, best_of_theirs, ours] = success[..] else {
        panic!("{success:?} are not five")
    };
    assert!(
        base < random && random < empirical && empirical <= best_of_theirs,
        "{success:?}"
    );
    for outcomes in &instances {
        assert!(
            outcomes[4].success_percent >= outcomes[3].success_percent - 1e-9,
            "water-filling is behind static: {outcomes:?}"
        );
    }
    assert!(ours >= best_of_theirs);
}

#[test]
fn an_instance_is_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path());
    let recordings = Recordings::read(folder.path()).unwrap();
    assert_eq!(run(&recordings, 10, 0.3, 701), run(&recordings, 10, 0.3, 701));
    assert_ne!(run(&recordings, 10, 0.3, 701), run(&recordings, 10, 0.3, 702));
}

#[test]
fn wrong_recordings_are_told() {
    check("node_1/a.json", "{", |error| {
        matches!(error, RecordingsError::Format { line: 1, .. })
    });
    check("node_1/a.json", r#"{"output": []}"#, |error| {
        matches!(error, RecordingsError::Minutes { minutes: 0, .. })
    });
    let negative = recording(&[[Some((1.0, -4.0, 5.0)), None, None]; 7]);
    check("node_1/a.json", &negative, |error| {
        matches!(
            error,
            RecordingsError::Number {
                field: "invoc_rate",
                minute: 0,
                ..
            }
        )
    });
    let folder = tempfile::tempdir().unwrap();
    let error = Recordings::read(folder.path()).unwrap_err();
    assert!(
        matches!(error, RecordingsError::Unreadable { .. }) && error.to_string().contains("node_2"),
        "{error}"
    );
    for kind in TYPES {
        fs::create_dir(folder.path().join(kind)).unwrap();
    }
    let error = Recordings::read(folder.path()).unwrap_err();
    assert!(matches!(error, RecordingsError::None { .. }), "{error}");
}

#[track_caller]
fn check(name: &str, content: &str, is_wanted: impl Fn(&RecordingsError) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path());
    fs::write(folder.path().join(name), content).unwrap();
    let error = Recordings::read(folder.path()).unwrap_err();
    assert!(is_wanted(&error), "{error:?}");
    assert!(error.to_string().contains(name), "{error}");
}

/// Small recordings of the original's format: some nodes over their rates, most below.
fn generate(folder: &Path) {
    let mut random = Random::new(1, Purpose::Network);
    for (kind, rates) in TYPES
        .into_iter()
        .zip([[15.0, 2.0, 1.0], [20.0, 5.0, 3.0], [30.0, 10.0, 5.0]])
    {
        fs::create_dir(folder.join(kind)).unwrap();
        for number in 0..8 {
            let replicas = rates.map(|_| (1 + random.below(4)) as f64);
            let peak = rates.map(|_| if random.chance(0.3) { 1.5 } else { 0.6 });
            let minute = |minute: usize| {
                let share = [0.3, 0.7, 1.0, 1.0, 0.8, 0.4, 0.1][minute];
                [0, 1, 2].map(|place| {
                    let max = rates[place] * replicas[place];
                    Some((replicas[place], (max * peak[place] * share).floor(), max))
                })
            };
            let minutes: Vec<_> = (0..7).map(minute).collect();
            fs::write(
                folder.join(kind).join(format!("{number}.json")),
                recording(&minutes),
            )
            .unwrap();
        }
    }
}

/// Replicas, rate and greatest rate of each function.
type Functions = [Option<(f64, f64, f64)>; 3];

/// A file with so many minutes.
fn recording(minutes: &[Functions]) -> String {
    let function = |(name, (count, rate, max)): (&str, (f64, f64, f64))| {
        let state = if rate >= max { "Overload" } else { "Underload" };
        serde_json::json!({
            "name": name, "service_count": count, "margin": max - rate, "invoc_rate": rate, "afet": 0.01 * rate,
            "ram_xfunc": 0.01, "cpu_xfunc": 0.01 * rate, "max_rate": max, "state": state, "prom_invoc_rate": rate,
        })
    };
    let output: Vec<serde_json::Value> = minutes
        .iter()
        .map(|functions| {
            let named = recordings::FUNCTIONS.into_iter().zip(functions);
            let functions: Vec<_> = named
                .filter_map(|(name, of)| Some(function((name, (*of)?))))
                .collect();
            serde_json::json!({"ram_usage": 0.4, "cpu_usage": 0.5, "functions": functions})
        })
        .collect();
    serde_json::json!({"input": {"node": "any"}, "output": output}).to_string()
}
