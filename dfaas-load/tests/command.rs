//! The program against a server of this test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

/// A server that answers each request by 200, or stands still for a second at one of them.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

#[test]
fn a_workload_is_carried_out_and_its_results_fit_other_tools() {
    let (one, other) = (Server::start(None), Server::start(None));
    let folder = tempfile::tempdir().unwrap();
    let workload = folder.path().join("two.toml");
    let text = format!(
        "[[target]]\nname = 'n1'\nurl = 'http://{}/a'\nphases = [{{ seconds = 1, rate_rps = 40 }}]\n\
         [[target]]\nname = 'n2'\nurl = 'http://{}/b'\nbody = 'Hello'\nstart_seconds = 0.5\nphases = [{{ seconds = 0.5, rate_rps = 20 }}]\n",
        one.address, other.address
    );
    fs::write(&workload, text).unwrap();
    let results = folder.path().join("results.json");
    let output = run(&["run", path(&workload), "--output", path(&results), "--json"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((one.requests(), other.requests()), (40, 10));
    assert_eq!(
        (&summary["requests"], &summary["codes"]["200"]),
        (&50.into(), &50.into())
    );
    assert_eq!(summary["targets"]["n2"]["success"], 10);
    assert_eq!(
        (&summary["served_by"]["n1"], &summary["bytes_out"]),
        (&50.into(), &50.into())
    );

    for format in ["vegeta-csv", "k6-csv", "hey-csv"] {
        let converted = folder.path().join(format);
        run(&["convert", path(&results), path(&converted), "--to", format]);
        let report = run(&["report", path(&converted), "--json"]);
        let again: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(again["codes"], summary["codes"], "{format}");
        let (was, is) = (&summary["latency_ms"]["p50"], &again["latency_ms"]["p50"]);
        assert!(
            (was.as_f64().unwrap() - is.as_f64().unwrap()).abs() < 0.06,
            "{format}: {was}, {is}"
        );
    }
    for kind in ["codes", "served-by", "latency", "cdf"] {
        let picture = folder.path().join(format!("{kind}.png"));
        run(&["plot", path(&results), path(&picture), "--kind", kind]);
        assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG"), "{kind}");
    }
    let html = folder.path().join("report.html");
    run(&["report", path(&results), "--html", path(&html)]);
    assert_eq!(fs::read_to_string(html).unwrap().matches("<svg").count(), 4);
}

#[test]
fn a_server_that_stands_still_is_charged_for_all_who_would_have_asked() {
    let server = Server::start(Some(20));
    let targets = format!("{{\"method\":\"GET\",\"url\":\"http://{}/\"}}\n", server.address);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("targets.json");
    fs::write(&file, targets).unwrap();
    let arguments = [
        "attack",
        "--rate",
        "50",
        "--duration",
        "2s",
        "--targets",
        path(&file),
        "--json",
        "--max-under-way",
        "1",
    ];
    let summary: Value = serde_json::from_slice(&run(&arguments).stdout).unwrap();
    assert_eq!(summary["codes"]["200"], 100);
    // One request takes a second; some fifty are due meanwhile, and wait for half a second in the mean.
    let p50 = summary["latency_ms"]["p50"].as_f64().unwrap();
    let p90 = summary["latency_ms"]["p90"].as_f64().unwrap();
    assert!(p90 > 500.0 && p50 < p90, "{summary}");
}

#[test]
fn connections_are_kept_or_not() {
    for (how, want) in [("keep-alive", 1..=5), ("one-per-request", 20..=20)] {
        let server = Server::start(None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("targets.json");
        fs::write(
            &file,
            format!("{{\"method\":\"GET\",\"url\":\"http://{}/\"}}", server.address),
        )
        .unwrap();
        run(&[
            "attack",
            "--rate",
            "20",
            "--duration",
            "1s",
            "--targets",
            path(&file),
            "--connections",
            how,
        ]);
        let connections = server.connections.load(Ordering::SeqCst);
        assert!(want.contains(&connections), "{how}: {connections}");
    }
}

#[test]
fn mistakes_are_told_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.toml");
    fs::write(
        &file,
        "[[target]]\nurl = 'http://localhost:1/'\nphases = [{ seconds = 1, rate_rps = -1 }]\n",
    )
    .unwrap();
    let absent = folder.path().join("absent");
    let unknown = folder.path().join("unknown");
    fs::write(&unknown, "hello").unwrap();
    for (arguments, want) in [
        (
            vec!["run", path(&file)],
            "w.toml, line 3: a rate of -1 requests a second: give a number from 0",
        ),
        (vec!["run", path(&absent)], "reading "),
        (
            vec!["report", path(&unknown)],
            "unknown: neither JSON or CSV of vegeta",
        ),
        (
            vec!["attack", "--rate", "0", "--duration", "1s"],
            "give requests a second, above 0",
        ),
        (
            vec!["attack", "--rate", "NaN", "--duration", "1s"],
            "give requests a second, above 0",
        ),
    ] {
        let output = start(&arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(want),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn who_does_not_answer_is_a_result() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("targets.json");
    fs::write(
        &file,
        format!("{{\"method\":\"GET\",\"url\":\"http://{address}/\"}}"),
    )
    .unwrap();
    let output = run(&[
        "attack",
        "--rate",
        "10",
        "--duration",
        "500ms",
        "--targets",
        path(&file),
        "--json",
    ]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["codes"]["0"], 5);
    let (error, count) = summary["errors"].as_object().unwrap().iter().next().unwrap();
    assert!(error.contains("onnection refused") && count == 5, "{error}");
}

impl Server {
    fn start(stands_still_at: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, connections) = (server.requests.clone(), server.connections.clone());
        // Who stands still, stands still for all connections.
        let still = Arc::new(Mutex::new(()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, still) = (requests.clone(), still.clone());
                thread::spawn(move || answer(stream.unwrap(), &requests, stands_still_at, &still));
            }
        });
        server
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, requests: &AtomicUsize, stands_still_at: Option<usize>, still: &Mutex<()>) {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        received.extend_from_slice(&buffer[..count]);
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if received.len() < end + 4 + length {
            continue;
        }
        received.drain(..end + 4 + length);
        {
            let _guard = still.lock().unwrap();
            if Some(requests.fetch_add(1, Ordering::SeqCst)) == stands_still_at {
                thread::sleep(Duration::from_secs(1));
            }
        }
        let text = "HTTP/1.1 200 OK\r\nX-Served-By: n1\r\nContent-Length: 2\r\n\r\nok";
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

#[track_caller]
fn run(arguments: &[&str]) -> Output {
    let output = start(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn start(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dfaas-load"))
        .args(arguments)
        .output()
        .unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
