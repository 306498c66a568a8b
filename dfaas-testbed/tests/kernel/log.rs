//! What the programs log, and that they cannot where nobody has asked for it.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use aya_log::EbpfLogger;
use dfaas_common::{log::NOTHING, maps::NO_FUNCTION, meter::Limit};
use log::{Log, Metadata, Record};

use crate::{
    bench::{Bench, PEER_ID, PEER_TOKENS},
    frame::Sent,
    handshake::open,
    talk::{REQUEST, RESPONSE, Talk},
};

const INFO: u8 = aya_log::Level::Info as u8;
const DEBUG: u8 = aya_log::Level::Debug as u8;
/// The helpers that write to a ring begin so.
const HELPERS: &str = "bpf_ringbuf_";

#[test]
fn nothing_of_the_log_is_left_where_it_is_off() {
    let calls = |level| {
        let bench = Bench::with_log(level);
        ["ingress", "egress"].map(|name| bench.translated(name).matches(HELPERS).count())
    };
    assert_eq!(calls(NOTHING), [0, 0]);
    let (some, all) = (calls(INFO), calls(DEBUG));
    for program in [0, 1] {
        assert!(some[program] > 0, "{some:?}");
        assert!(all[program] > some[program], "{some:?} {all:?}");
    }
}

#[test]
fn without_a_word_from_the_loader_there_is_no_log() {
    assert_eq!(Bench::new().translated("ingress").matches(HELPERS).count(), 0);
}

#[test]
fn refusals_are_logged() {
    let mut bench = Bench::with_log(INFO);
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    bench.admit(Limit::NONE);
    let mut log = Reader::new(&mut bench);
    ask(
        &mut bench,
        40_901,
        "GET /function/nosuch HTTP/1.1\r\nHost: n\r\n\r\n",
    );
    assert_eq!(
        log.read(),
        [format!(
            "INFO Refused a request: function={NO_FUNCTION} peer=0 answer=4"
        )]
    );
    let of_peer = format!(
        "GET /function/known HTTP/1.1\r\nHost: n\r\nDFaaS-Node-ID: {}\r\nDFaaS-Node-Token: {}\r\n\r\n",
        PEER_ID, PEER_TOKENS[0]
    );
    ask(&mut bench, 40_902, &of_peer);
    assert_eq!(log.read(), ["INFO Refused a request: function=0 peer=1 answer=5"]);
}

#[test]
fn requests_are_logged_once_their_server_has_them() {
    let mut bench = Bench::with_log(DEBUG);
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let mut log = Reader::new(&mut bench);
    let mut talk = Talk::open(&mut bench, 40_903);
    talk.client_says(&mut bench, REQUEST);
    assert_eq!(log.read(), [""; 0]);
    talk.server_takes(&mut bench);
    talk.server_says(&mut bench, RESPONSE);
    assert_eq!(log.read(), ["DEBUG Served a request: function=0"]);
}

fn ask(bench: &mut Bench, port: u16, request: &str) {
    let our_isn = open(bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), request.as_bytes());
    bench.ingress(&sent.bytes());
}

/// Reads what the programs have logged, each line behind its level.
struct Reader {
    logger: EbpfLogger<Lines>,
    lines: Lines,
}

impl Reader {
    fn new(bench: &mut Bench) -> Self {
        let lines = Lines::default();
        Self {
            logger: bench.logger(lines.clone()),
            lines,
        }
    }

    fn read(&mut self) -> Vec<String> {
        self.logger.flush();
        mem::take(&mut *self.lines.0.lock().unwrap())
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}
