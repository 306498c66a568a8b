//! Segments as lines to read: numbers count from the SYN of their side, as far as it was seen.

use std::collections::BTreeMap;

use crate::{
    Micros,
    segment::{ACK, End, SYN, Segment},
};

/// Turns segments into lines.
#[derive(Debug, Default)]
pub struct Trace {
    is_on: bool,
    /// Where numbers begin, by place and direction.
    starts: BTreeMap<(bool, End, End), u32>,
    /// The lines.
    pub lines: Vec<String>,
}

impl Trace {
    /// A trace that keeps lines, or does not.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self {
            is_on,
            ..Self::default()
        }
    }

    /// Notes a segment: inside of the node, between programs and stack, or outside.
    pub fn note(&mut self, now: Micros, is_inside: bool, segment: &Segment, what: &str) {
        if !self.is_on {
            return;
        }
        let (from, to) = (segment.from, segment.to);
        if segment.has(SYN) {
            self.starts.insert((is_inside, from, to), segment.sequence);
        }
        let start = *self
            .starts
            .entry((is_inside, from, to))
            .or_insert_with(|| segment.sequence.wrapping_sub(1));
        let theirs = self.starts.get(&(is_inside, to, from)).copied();
        let acknowledgment = match (segment.has(ACK), theirs) {
            (false, _) => String::new(),
            (true, Some(theirs)) => format!(" ack {}", segment.acknowledgment.wrapping_sub(theirs) as i32),
            (true, None) => format!(" ack #{}", segment.acknowledgment),
        };
        let first: String = segment
            .payload
            .iter()
            .take(40)
            .map(|byte| char::from(*byte))
            .collect();
        self.lines.push(format!(
            "{:4}.{:06} {} {from} > {to} {:3} seq {}+{}{acknowledgment} win {} {}{what}{}",
            now / 1_000_000,
            now % 1_000_000,
            if is_inside { "stack" } else { "wire " },
            segment.letters(),
            segment.sequence.wrapping_sub(start) as i32,
            segment.payload.len(),
            segment.window,
            if segment.options.sacks.is_empty() {
                ""
            } else {
                "sack "
            },
            if first.is_empty() {
                String::new()
            } else {
                format!(" {:?}", first)
            },
        ));
    }

    /// Notes something else.
    pub fn say(&mut self, now: Micros, text: &str) {
        if self.is_on {
            self.lines
                .push(format!("{:4}.{:06} {text}", now / 1_000_000, now % 1_000_000));
        }
    }
}
