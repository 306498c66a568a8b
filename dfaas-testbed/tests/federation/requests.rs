//! Every request of a connection is steered by itself and answered in order.

use std::{fs, net::Shutdown, thread, time::Duration};

use anyhow::Context as _;
use dfaas_testbed::{Network, now, patience};

use crate::{
    asked::{Asked, Kind, text},
    front_ends::FrontEnd,
    kit::turn,
};

const REQUESTS: usize = 1000;
const CONNECTIONS: usize = 64;
/// Around the ends of segments: of the first window, of what a peer's segment holds, of a whole one; and of many.
const BYTES: [usize; 12] = [0, 1, 535, 536, 537, 1279, 1280, 1281, 1459, 1460, 1461, 4096];
const MANY_BYTES: usize = 100_000;
/// For all requests of a pipeline together.
const PIPELINED: Duration = Duration::from_millis(300);
/// What each of them may take besides, where packets are handled in emulation: twice what was seen.
const EMULATED: Duration = Duration::from_millis(35);

#[test]
fn requests_of_all_kinds_take_turns_on_one_connection() {
    each(|front_end| {
        let mut wire = front_end.connect();
        for number in 0..REQUESTS {
            // Another kind whenever all functions have had their turn.
            let kind = Kind::ALL[number / front_end.functions.len() % Kind::ALL.len()];
            Asked::new(kind, front_end.function(number), number).ask(front_end, &mut wire);
        }
    });
}

#[test]
fn requests_of_all_kinds_take_turns_on_many_connections() {
    each(|front_end| {
        thread::scope(|scope| {
            for first in 0..CONNECTIONS {
                scope.spawn(move || {
                    let mut wire = front_end.connect();
                    for number in first..first + REQUESTS / 25 {
                        let kind = Kind::ALL[number / 3 % Kind::ALL.len()];
                        Asked::new(kind, front_end.function(number), number).ask(front_end, &mut wire);
                    }
                });
            }
        });
    });
}

#[test]
fn bodies_of_all_sizes_take_turns_on_one_connection() {
    each(|front_end| {
        let mut wire = front_end.connect();
        for (number, size) in sizes(3).enumerate() {
            let mut asked = Asked::new(Kind::Post, front_end.function(number), number);
            asked.body = text(number, size);
            asked.ask(front_end, &mut wire);
        }
    });
}

/// As before, but a request's end meets the end of a segment.
#[test]
fn requests_of_all_sizes_take_turns_on_one_connection() {
    each(|front_end| {
        let mut wire = front_end.connect();
        for (number, size) in sizes(3).filter(|&size| size >= 535).enumerate() {
            let mut asked = Asked::new(Kind::Post, front_end.function(number), number);
            asked.body = text(number, size);
            asked.body.truncate(2 * size - asked.bytes().len());
            // The length may have lost a digit.
            asked.body.extend(text(0, size - asked.bytes().len()));
            assert_eq!(asked.bytes().len(), size);
            asked.ask(front_end, &mut wire);
        }
    });
}

#[test]
fn answers_of_all_sizes_take_turns_on_one_connection() {
    each(|front_end| {
        let mut wire = front_end.connect();
        for (number, size) in sizes(6).enumerate() {
            let (function, served_by) = front_end.function(number);
            let framing = ["size", "chunked"][number / 3 % 2];
            let line = format!("GET /function/{function}?{framing}={size} HTTP/1.1");
            let response = wire.ask(format!("{line}\r\nHost: functions\r\n\r\n").as_bytes(), "GET");
            let response = response.unwrap_or_else(|error| panic!("{}: {line}: {error:#}", front_end.name));
            let told = (response.status, response.served_by(), response.body.len());
            assert_eq!(told, (200, Some(served_by), size), "{}: {line}", front_end.name);
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    each(|front_end| {
        for count in [2, 3, 10, 100] {
            // For one function, and for one after the other.
            for step in [0, 1] {
                let asked = (0..count).map(|number| {
                    let kind = [Kind::Post, Kind::Get, Kind::Chunked, Kind::NoContent][number % 4];
                    Asked::new(kind, front_end.function(number * step), number)
                });
                check_pipelined(front_end, &asked.collect::<Vec<_>>());
            }
        }
    });
}

/// As before, but requests end and begin anywhere in segments.
#[test]
fn pipelined_requests_of_all_sizes_are_answered_in_order() {
    each(|front_end| {
        // What stands behind a body of many segments has to be sent again, which takes its time.
        for size in BYTES.into_iter().filter(|&size| size < 4096).chain([200, 700]) {
            let asked = (0..20).map(|number| {
                let mut asked = Asked::new(Kind::Post, front_end.function(number), number);
                asked.body = text(number, size + number);
                asked
            });
            check_pipelined(front_end, &asked.collect::<Vec<_>>());
        }
    });
}

/// The last request is answered before any platform: one may drop a call when it sees its caller's end, as ours and that
/// of Go do.
#[test]
fn who_says_that_a_pipeline_ends_gets_all_answers() {
    each(|front_end| {
        let asked: Vec<Asked> = (0..10)
            .map(|number| Asked::new(Kind::Post, front_end.function(number), number))
            .collect();
        let mut bytes = asked.iter().flat_map(Asked::bytes).collect::<Vec<_>>();
        bytes.extend(b"GET /function/nosuch HTTP/1.1\r\nHost: functions\r\n\r\n");
        let mut wire = front_end.connect();
        wire.send(&bytes).unwrap();
        wire.stream().shutdown(Shutdown::Write).unwrap();
        for asked in &asked {
            let told = || format!("{}: {asked:?}", front_end.name);
            let response = wire.response("POST").with_context(told).unwrap();
            asked.check(front_end, &response);
        }
        if front_end.name == "platform" {
            return;
        }
        let last = wire.response("GET").with_context(|| front_end.name).unwrap();
        assert_eq!(last.status, 404, "{}", front_end.name);
        wire.end().unwrap();
    });
}

/// Sends all at once, twice: the second round meets a connection that has been used. The faster one must be as fast as
/// if nothing had to be sent again, which takes 200 ms or more. Over bad links much has to be, and in emulation each
/// request takes long.
#[track_caller]
fn check_pipelined(front_end: &FrontEnd, all: &[Asked]) {
    let bytes = all.iter().flat_map(Asked::bytes).collect::<Vec<_>>();
    let mut wire = front_end.connect();
    let took = [0, 1].map(|round| {
        let start = now();
        wire.send(&bytes).unwrap();
        for (number, asked) in all.iter().enumerate() {
            let told = || format!("{}: {number} of {}, round {round}", front_end.name, all.len());
            let response = wire.response(asked.kind.method()).with_context(told).unwrap();
            asked.check(front_end, &response);
        }
        start.elapsed()
    });
    let faster = took.into_iter().min().unwrap();
    let mut at_most = patience(PIPELINED);
    if at_most > PIPELINED {
        at_most += EMULATED * all.len() as u32;
    }
    assert!(
        faster < at_most || Network::is_impaired(),
        "{}: {} requests of {} bytes took {took:?}",
        front_end.name,
        all.len(),
        bytes.len()
    );
}

#[test]
fn clients_may_wait_before_they_send_a_body() {
    each(|front_end| {
        let mut wire = front_end.connect();
        for number in 0..24 {
            let kind = [Kind::ExpectRead, Kind::Expect][number / 3 % 2];
            let asked = Asked::new(kind, front_end.function(number), number);
            let bytes = asked.bytes();
            let (head, body) = bytes.split_at(bytes.len() - asked.body.len());
            wire.send(head).unwrap();
            let told = || format!("{}: {kind:?} {number}", front_end.name);
            if kind == Kind::ExpectRead {
                let interim = wire.any_response("POST").with_context(told).unwrap();
                assert_eq!(interim.status, 100, "{}: {interim:?}", told());
            } else {
                // The head of an answer is a sign too.
                let received = wire.receive().with_context(told).unwrap();
                assert!(received > 0, "{}: closed", told());
            }
            asked.check(front_end, &wire.ask(body, "POST").with_context(told).unwrap());
        }
    });
}

/// Asks as it is told to and prints a line for each answer, with how many connections were opened for it.
const CURL: [&str; 6] = [
    "--silent",
    "--show-error",
    "--create-dirs",
    "--write-out",
    "%{http_code} %{num_connects} %{size_download} %header{x-served-by}\\n",
    "--config",
];

#[test]
fn curl_asks_many_functions_on_one_connection() {
    each(|front_end| {
        let asked = (0..REQUESTS).map(|number| (number, front_end.function(number)));
        let lines = asked.clone().map(|(size, (function, _))| {
            let address = front_end.address;
            format!("url = http://{address}/function/{function}?size={size}\noutput = /run/answers/{size}\n")
        });
        fs::write(front_end.from.path("/run/urls"), lines.collect::<String>()).unwrap();
        let at_most = seconds(Duration::from_secs(15));
        let arguments = [&CURL[..], &["/run/urls", "--max-time", &at_most]].concat();
        let text = run(front_end, "curl", &arguments);
        assert_eq!(text.lines().count(), REQUESTS, "{}", front_end.name);
        for (line, (size, (_, served_by))) in text.lines().zip(asked) {
            let connects = u8::from(size == 0);
            assert_eq!(
                line,
                format!("200 {connects} {size} {served_by}"),
                "{}",
                front_end.name
            );
        }
    });
}

/// Opens one connection, never another, and compares all that comes.
const PYTHON: &str = r#"
import http.client, sys
host, port, count, timeout = sys.argv[1], *map(int, sys.argv[2:5])
functions = [pair.split("=") for pair in sys.argv[5:]]
connection = http.client.HTTPConnection(host, port, timeout=timeout)
connection.connect()
connection.auto_open = 0
for number in range(count):
    name, served_by = functions[number % len(functions)]
    body = f"{number} for {name}" * (number % 50)
    connection.request("POST" if body else "GET", f"/function/{name}/{number}", body=body or None)
    response = connection.getresponse()
    seen = (response.status, response.getheader("X-Served-By"), response.read().decode())
    wanted = (200, served_by, body or "echo\n")
    if seen != wanted:
        sys.exit(f"{number}: {seen}, not {wanted}")
"#;

#[test]
fn python_asks_many_functions_on_one_connection() {
    each(|front_end| {
        let (host, port) = (
            front_end.address.ip().to_string(),
            front_end.address.port().to_string(),
        );
        let pairs = front_end
            .functions
            .iter()
            .map(|(name, node)| format!("{name}={node}"));
        let at_most = seconds(Duration::from_secs(5));
        let mut arguments = ["-c", PYTHON, &host, &port, &REQUESTS.to_string(), &at_most]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(pairs);
        run(front_end, "python3", &arguments);
    });
}

/// Calls it for one place after the other, the simplest first. What fails for the platform itself is wrong here.
fn each(check: impl Fn(&FrontEnd)) {
    let _turn = turn();
    let front_ends = [
        FrontEnd::platform(),
        FrontEnd::data_plane_to(&[("near", "node1")]),
        FrontEnd::data_plane_to(&[("far", "node3")]),
        FrontEnd::data_plane(),
        FrontEnd::ipv6(),
    ];
    front_ends.iter().for_each(check);
}

/// Each size so many times.
fn sizes(times: usize) -> impl Iterator<Item = usize> {
    BYTES
        .into_iter()
        .chain([MANY_BYTES])
        .flat_map(move |size| std::iter::repeat_n(size, times))
}

/// How many seconds a client waits.
fn seconds(at_most: Duration) -> String {
    patience(at_most).as_secs().to_string()
}

/// Runs a client to its good end, and returns what it printed.
#[track_caller]
fn run<S: AsRef<std::ffi::OsStr>>(front_end: &FrontEnd, program: &str, arguments: &[S]) -> String {
    let output = front_end.from.output(program, arguments).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{} by {program}: {complaint}",
        front_end.name
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
