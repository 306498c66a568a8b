//! What the programs log, with names in place of the kernel's numbers.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use clap::ValueEnum;
use dfaas_common::{
    decide::Answer,
    log::{LEVEL, NOTHING, RING},
    maps::NO_FUNCTION,
};
use log::{Level, Log, Metadata, Record};
use tracing::field::display;

use super::names::Names;

/// Where these lines come from, as filters of the log have it.
pub(crate) const TARGET: &str = "dfaas_agent::programs";
/// A line takes 256 bytes of the ring, so this is room for some 4 000 until the agent looks again; those that find none are
/// lost.
const RING_BYTES: u32 = 1 << 20;
/// The least that a ring can have; the loader rounds it up to a page.
const RING_BYTES_OFF: u32 = 1;

/// Up to which level the programs log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
pub(crate) enum ProgramLevel {
    Off = NOTHING,
    Error = aya_log::Level::Error as u8,
    Warn = aya_log::Level::Warn as u8,
    Info = aya_log::Level::Info as u8,
    Debug = aya_log::Level::Debug as u8,
    Trace = aya_log::Level::Trace as u8,
}

impl ProgramLevel {
    /// As filters of the log have it, if there is a log.
    pub(crate) fn directive(self) -> Option<String> {
        let level = self.to_possible_value()?;
        (self != Self::Off).then(|| format!("{TARGET}={}", level.get_name()))
    }
}

/// Has the programs log up to a level, a [`ProgramLevel`] as a byte: the verifier takes out of them what is above.
pub(super) fn set_up<'a>(loader: &mut EbpfLoader<'a>, level: &'a u8) {
    let ring = if *level == NOTHING {
        RING_BYTES_OFF
    } else {
        RING_BYTES
    };
    loader.map_max_entries(RING, ring);
    loader.override_global(LEVEL, level, true);
}

/// The ring that the programs write to.
pub(super) struct ProgramLog {
    logger: EbpfLogger<Lines>,
    lines: Lines,
}

impl ProgramLog {
    /// Takes the ring out of the object whose programs are loaded.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self> {
        let lines = Lines::default();
        let logger =
            EbpfLogger::init_with_logger(ebpf, lines.clone()).context("opening the log of the programs")?;
        Ok(Self { logger, lines })
    }

    /// Puts what was logged since the last call into the agent's log.
    pub(super) fn follow(&mut self, names: &Names) {
        self.logger.flush();
        for (level, text) in self.lines.take() {
            tell(level, &Line::read(&text, names));
        }
    }
}

/// What came out of the ring and is not told yet.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Lines {
    fn take(&self) -> Vec<(Level, String)> {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Level, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.lock().push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

/// A line of the programs as the agent tells it.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    message: &'a str,
    function: Option<String>,
    peer: Option<String>,
    answer: Option<String>,
}

impl<'a> Line<'a> {
    /// Reads `message: function=1 peer=2 answer=5`. What is not of this form is all message.
    fn read(text: &'a str, names: &Names) -> Self {
        Self::with_names(text, names).unwrap_or(Self {
            message: text,
            function: None,
            peer: None,
            answer: None,
        })
    }

    fn with_names(text: &'a str, names: &Names) -> Option<Self> {
        let (message, numbers) = text.split_once(": ")?;
        let mut line = Self {
            message,
            function: None,
            peer: None,
            answer: None,
        };
        for word in numbers.split(' ') {
            let (what, number) = word.split_once('=')?;
            let number = number.parse().ok()?;
            match what {
                "function" => line.function = function(number, names),
                "peer" => line.peer = peer(number, names),
                "answer" => line.answer = Some(answer(number)),
                _ => return None,
            }
        }
        Some(line)
    }
}

/// The function's name, or its number if that is nobody's any more.
fn function(number: u32, names: &Names) -> Option<String> {
    if number == NO_FUNCTION {
        return None;
    }
    let name = names.functions.key(number);
    Some(name.map_or_else(|| number.to_string(), ToString::to_string))
}

fn peer(number: u32, names: &Names) -> Option<String> {
    if number == 0 {
        return None;
    }
    let id = names.peers.key(number);
    Some(id.map_or_else(|| number.to_string(), ToString::to_string))
}

/// What is answered, as in `429 Too Many Requests`.
fn answer(number: u32) -> String {
    let answer = Answer::ALL.get(number as usize);
    let line = answer.and_then(|answer| answer.response().lines().next());
    let status = line.and_then(|line| line.split_once(' '));
    status.map_or_else(|| number.to_string(), |(_, status)| status.to_owned())
}

fn tell(level: Level, line: &Line<'_>) {
    let (function, peer, answer) = (
        line.function.as_ref().map(display),
        line.peer.as_ref().map(display),
        line.answer.as_ref().map(display),
    );
    let message = line.message;
    match level {
        Level::Error => tracing::error!(target: TARGET, function, peer, answer, "{message}"),
        Level::Warn => tracing::warn!(target: TARGET, function, peer, answer, "{message}"),
        Level::Info => tracing::info!(target: TARGET, function, peer, answer, "{message}"),
        Level::Debug => tracing::debug!(target: TARGET, function, peer, answer, "{message}"),
        Level::Trace => tracing::trace!(target: TARGET, function, peer, answer, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use dfaas_control::{FunctionName, NodeId};

    use super::*;

    #[test]
    fn numbers_become_names() {
        check(
            "Refused a request: function=0 peer=1 answer=5",
            (
                "Refused a request",
                Some("figlet"),
                Some("node-b"),
                Some("429 Too Many Requests"),
            ),
        );
        check(
            "Forwarded a request: function=0 peer=1",
            ("Forwarded a request", Some("figlet"), Some("node-b"), None),
        );
    }

    #[test]
    fn neither_this_node_nor_an_unknown_function_has_a_name() {
        let text = format!("Refused a request: function={NO_FUNCTION} peer=0 answer=4");
        check(&text, ("Refused a request", None, None, Some("404 Not Found")));
    }

    #[test]
    fn a_number_that_is_nobodys_any_more_stays_a_number() {
        check(
            "Refused a request: function=7 peer=8 answer=99",
            ("Refused a request", Some("7"), Some("8"), Some("99")),
        );
    }

    #[test]
    fn what_has_another_form_is_told_as_it_is() {
        for text in ["", "one: two", "one: function=x", "one: function=0 other=1"] {
            check(text, (text, None, None, None));
        }
    }

    #[test]
    fn a_filter_lets_through_what_is_asked_for() {
        assert_eq!(ProgramLevel::Off.directive(), None);
        let debug = ProgramLevel::Debug.directive();
        assert_eq!(debug.as_deref(), Some("dfaas_agent::programs=debug"));
    }

    #[track_caller]
    fn check(text: &str, want: (&str, Option<&str>, Option<&str>, Option<&str>)) {
        let mut names = Names::new();
        names.functions.claim(&FunctionName::new("figlet").unwrap());
        names.peers.claim(&NodeId::new("node-b").unwrap());
        let line = Line::read(text, &names);
        let got = (
            line.message,
            line.function.as_deref(),
            line.peer.as_deref(),
            line.answer.as_deref(),
        );
        assert_eq!(got, want);
    }
}
