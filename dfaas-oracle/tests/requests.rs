//! Whatever request we frame, httparse takes with the same method, target, end and length; and what it refuses, we
//! refuse.

use std::cell::Cell;

use dfaas_oracle::{
    heads,
    requests::{Reading, check, read},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// At least so many; `PROPTEST_CASES` asks for more.
const CASES: u32 = 2_000;

#[test]
fn valid_requests_are_read_as_httparse_reads_them() {
    let seen = run(heads::valid(), |bytes| match check(bytes) {
        Reading::Malformed | Reading::OtherProtocol => panic!("{}", bytes.escape_ascii()),
        reading @ (Reading::Framed(_) | Reading::Unframed(_) | Reading::Awaited) => reading,
    });
    assert!(seen.framed > 200 && seen.unframed > 200, "{seen:?}");
}

#[test]
fn hostile_requests_are_never_taken_alone() {
    let seen = run(heads::hostile(), check);
    assert!(
        seen.framed > 20 && seen.unframed > 20 && seen.refused > 200,
        "{seen:?}"
    );
}

#[test]
fn damaged_requests_are_never_taken_alone() {
    let seen = run(heads::damaged(), check);
    assert!(seen.framed > 100 && seen.refused > 200, "{seen:?}");
}

#[test]
fn of_http_2_only_its_preface_is_awaited() {
    // The first was found by chance.
    for (bytes, want) in [
        ("PRI / HTTP/2.0\r\n\r\n", Reading::OtherProtocol),
        ("PRI * HTTP/2.0\r\n\r\n", Reading::Awaited),
        ("PRI * HTTP/2.0\r\n\r\nGET", Reading::OtherProtocol),
    ] {
        assert_eq!(check(bytes.as_bytes()), want, "{}", bytes.escape_debug());
    }
}

proptest! {
    #[test]
    fn bytes_without_meaning_are_never_taken_alone(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn a_head_is_whole_at_its_last_byte_and_not_before(bytes in heads::any_request()) {
        let (Reading::Framed(head) | Reading::Unframed(head)) = read(&bytes) else {
            return Ok(());
        };
        let end = usize::from(head.length);
        prop_assert_eq!(read(&bytes[..end]), read(&bytes));
        for cut in 0..end {
            prop_assert_eq!(read(&bytes[..cut]), Reading::Awaited);
        }
    }

    #[test]
    fn what_is_refused_stays_refused(bytes in heads::any_request(), more in "[ -~\r\n]{0,40}") {
        let reading = read(&bytes);
        if reading == Reading::Malformed || reading == Reading::OtherProtocol {
            prop_assert_eq!(read(&[&bytes, more.as_bytes()].concat()), reading);
        }
    }
}

/// How many requests were read in which way.
#[derive(Debug, Default)]
struct Seen {
    framed: u32,
    unframed: u32,
    refused: u32,
}

fn run(requests: impl Strategy<Value = Vec<u8>>, check: impl Fn(&[u8]) -> Reading) -> Seen {
    let seen = Cell::new(Seen::default());
    let mut runner = TestRunner::new(Config {
        cases: CASES.max(Config::default().cases),
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&requests, |bytes| {
        let reading = check(&bytes);
        let mut sums = seen.take();
        match reading {
            Reading::Framed(_) => sums.framed += 1,
            Reading::Unframed(_) => sums.unframed += 1,
            Reading::Malformed | Reading::OtherProtocol => sums.refused += 1,
            Reading::Awaited => {}
        }
        seen.set(sums);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    seen.take()
}
