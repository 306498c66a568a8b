//! What has come.

use std::collections::BTreeMap;

use super::DELAYED_ACK;
use crate::Micros;

/// How much it takes at once, in bytes.
pub(super) const WINDOW: u32 = 64_128;
/// RFC 2018, section 3: so many blocks fit, with room for other options.
const BLOCKS: usize = 3;

#[derive(Clone, Debug)]
pub(super) struct Receiver {
    isn: u32,
    /// The first byte that is missing.
    next: u64,
    end: Option<u64>,
    /// What came behind that.
    pieces: BTreeMap<u64, Vec<u8>>,
    unread: Vec<u8>,
    /// Bytes since the last acknowledgment.
    owed_segments: u32,
    pub(super) ack_due: Option<Micros>,
    sack: bool,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            isn: 0,
            next: 0,
            end: None,
            pieces: BTreeMap::new(),
            unread: Vec::new(),
            owed_segments: 0,
            ack_due: None,
            sack: false,
        }
    }

    /// Learns the other side's initial sequence number.
    pub(super) fn meet(&mut self, isn: u32, sack: bool) {
        self.isn = isn;
        self.next = 1;
        self.sack = sack;
    }

    /// The offset of a sequence number that is not far off.
    pub(super) fn offset(&self, sequence: u32) -> i64 {
        let expected = self.isn.wrapping_add(self.next as u32);
        self.next as i64 + i64::from(sequence.wrapping_sub(expected) as i32)
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn acknowledgment(&self) -> u32 {
        self.isn.wrapping_add(self.next as u32)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some_and(|end| self.next > end)
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    pub(super) fn read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    pub(super) fn owes_many(&mut self) -> bool {
        let is_due = self.owed_segments >= 2;
        if is_due {
            self.owed_segments = 0;
        }
        is_due
    }

    /// Takes bytes. Returns whether they are the next ones, with nothing missing behind them.
    pub(super) fn take(&mut self, at: u64, bytes: &[u8], is_end: bool, now: Micros) -> bool {
        let before = self.next;
        if is_end {
            self.end = Some(at + bytes.len() as u64);
        }
        if !bytes.is_empty() && at + bytes.len() as u64 > self.next {
            let known = self.pieces.entry(at).or_default();
            if known.len() < bytes.len() {
                *known = bytes.to_vec();
            }
        }
        while let Some((&start, _)) = self.pieces.first_key_value()
            && start <= self.next
        {
            let bytes = self.pieces.remove(&start).unwrap_or_default();
            let known = (self.next - start) as usize;
            if known < bytes.len() {
                self.unread.extend_from_slice(&bytes[known..]);
                self.next = start + bytes.len() as u64;
            }
        }
        if self.end == Some(self.next) {
            self.next += 1;
        }
        let is_next = self.next > before && self.pieces.is_empty();
        if is_next {
            self.owed_segments += 1;
            self.ack_due.get_or_insert(now + DELAYED_ACK);
        }
        is_next
    }

    /// What is to be acknowledged selectively.
    pub(super) fn blocks(&self) -> Vec<(u32, u32)> {
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        for (&start, bytes) in &self.pieces {
            let end = start + bytes.len() as u64;
            match blocks.last_mut() {
                Some(last) if last.1 >= start => last.1 = last.1.max(end),
                _ => blocks.push((start, end)),
            }
        }
        let number = |offset: u64| self.isn.wrapping_add(offset as u32);
        blocks.truncate(BLOCKS);
        blocks
            .into_iter()
            .map(|(start, end)| (number(start), number(end)))
            .collect()
    }
}
