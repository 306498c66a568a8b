//! What is to be sent, and how much of it the window lets out.

use std::collections::BTreeMap;

use crate::{MILLISECOND, Micros, segment::Segment};

/// `TCP_RTO_MIN`
const TIMEOUT: Micros = 200 * MILLISECOND;
/// `TCP_INIT_CWND`
const CONGESTION_WINDOW: u64 = 10;
/// Some 100 s, where Linux takes 15 (`tcp_retries2`).
const RETRIES: u32 = 9;
/// `TCP_MSS_DEFAULT`: only of a larger window no more than a half is sent at once (`tcp_bound_to_half_wnd`).
const SMALL_WINDOW: u32 = 536;
/// RFC 5681, section 3.2.
const DUPLICATES: u32 = 3;

/// What is to be done because time has passed.
pub(super) enum Due {
    Nothing,
    /// The window is closed: ask whether it still is.
    Probe,
    GiveUp,
}

#[derive(Clone, Debug)]
pub(super) struct Sender {
    isn: u32,
    /// All that was ever written; the first is byte 1.
    data: Vec<u8>,
    is_finished: bool,
    other_ended_first: bool,
    has_sent_end: bool,
    /// The first byte that is not acknowledged.
    acknowledged: u64,
    /// The next byte to be sent, less than the highest after a time-out.
    next: u64,
    /// Behind the last byte that was ever sent.
    highest: u64,
    window: u32,
    window_max: u32,
    scale: u8,
    /// Sequence and acknowledgment of the last change of the window (RFC 9293, section 3.10.7.4: SND.WL1).
    window_at: i64,
    segment_size: u32,
    congestion_window: u64,
    duplicates: u32,
    sacked: BTreeMap<u64, u64>,
    timer: Option<Micros>,
    retries: u32,
    /// The window has room for a part of a segment, and the time to send that has come.
    is_forced: bool,
    has_burst: bool,
}

impl Sender {
    pub(super) fn new(isn: u32, segment_size: u16) -> Self {
        Self {
            isn,
            data: Vec::new(),
            is_finished: false,
            other_ended_first: false,
            has_sent_end: false,
            acknowledged: 0,
            next: 1,
            highest: 1,
            window: 0,
            window_max: 0,
            scale: 0,
            window_at: 0,
            segment_size: segment_size.into(),
            congestion_window: CONGESTION_WINDOW,
            duplicates: 0,
            sacked: BTreeMap::new(),
            timer: None,
            retries: 0,
            is_forced: false,
            has_burst: false,
        }
    }

    /// Learns from a SYN or SYN-ACK, whose window is not scaled.
    pub(super) fn meet(&mut self, syn: &Segment, is_scaled: bool) {
        self.window = syn.window.into();
        self.window_max = self.window;
        self.scale = syn.options.scale.filter(|_| is_scaled).unwrap_or(0).min(14);
        let theirs = syn.options.segment_size.unwrap_or(536);
        self.segment_size = self.segment_size.min(theirs.into());
    }

    pub(super) fn open(&mut self) {
        self.acknowledged = self.acknowledged.max(1);
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        debug_assert!(!self.is_finished, "nothing is written behind an end");
        self.data.extend_from_slice(bytes);
    }

    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// The other side has ended; if this one has not yet, it has been the first.
    pub(super) fn note_other_end(&mut self) {
        if !self.has_sent_end {
            self.other_ended_first = true;
        }
    }

    pub(super) fn was_first_to_end(&self) -> bool {
        !self.other_ended_first
    }

    /// Behind the last byte that is to be sent, an end included.
    fn end(&self) -> u64 {
        1 + self.data.len() as u64 + u64::from(self.is_finished)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.is_finished && self.acknowledged == self.end()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.acknowledged > self.data.len() as u64
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn number(&self, offset: u64) -> u32 {
        self.isn.wrapping_add(offset as u32)
    }

    pub(super) fn next_number(&self) -> u32 {
        self.number(self.highest)
    }

    pub(super) fn offset(&self, acknowledgment: u32) -> i64 {
        let expected = self.number(self.acknowledged);
        self.acknowledged as i64 + i64::from(acknowledgment.wrapping_sub(expected) as i32)
    }

    pub(super) fn bytes(&self, offset: u64, length: u32) -> Vec<u8> {
        let start = offset as usize - 1;
        self.data[start..start + length as usize].to_vec()
    }

    /// Notes an acknowledgment of bytes that were sent.
    pub(super) fn acknowledge(&mut self, now: Micros, segment: &Segment, acknowledged: i64, at: i64) {
        let window = u32::from(segment.window) << self.scale;
        let before = self.acknowledged as i64;
        let is_newer = acknowledged > before
            || (acknowledged == before
                && (at > self.window_at || (at == self.window_at && window > self.window)));
        let is_duplicate = acknowledged == before
            && segment.payload.is_empty()
            && window == self.window
            && self.highest > self.acknowledged;
        for &(start, end) in &segment.options.sacks {
            let (start, end) = (self.offset(start), self.offset(end));
            if start > before && end > start && end <= self.highest as i64 {
                let known = self.sacked.entry(start as u64).or_default();
                *known = (*known).max(end as u64);
            }
        }
        if is_newer {
            self.window = window;
            self.window_max = self.window_max.max(window);
            self.window_at = at;
        }
        if acknowledged > before {
            self.advance(now, acknowledged as u64);
        } else if is_duplicate {
            self.duplicates += 1;
            if self.duplicates == DUPLICATES {
                self.next = self.acknowledged;
                self.congestion_window = (self.congestion_window / 2).max(2);
            }
        }
    }

    fn advance(&mut self, now: Micros, acknowledged: u64) {
        self.acknowledged = acknowledged;
        self.next = self.next.max(acknowledged);
        self.sacked.retain(|_, end| *end > acknowledged);
        self.congestion_window += 1;
        self.duplicates = 0;
        self.retries = 0;
        self.timer = (self.highest > acknowledged).then_some(now + TIMEOUT);
    }

    /// The largest segment that Linux would send.
    fn piece_max(&self) -> u32 {
        let half = if self.window_max > SMALL_WINDOW {
            self.window_max / 2
        } else {
            self.window_max
        };
        self.segment_size.min(half.max(48))
    }

    /// The next piece to be sent: its first byte, its length, and whether the end follows it.
    pub(super) fn next_piece(&mut self, now: Micros) -> Option<(u64, u32, bool)> {
        let piece = self.find_piece();
        let Some((offset, length, is_end)) = piece else {
            self.has_burst = false;
            if self.timer.is_none() && self.next < self.end() {
                // Closed, or too small: the persist timer.
                self.timer = Some(now + (TIMEOUT << self.retries));
            }
            return None;
        };
        self.has_burst = true;
        self.is_forced = false;
        self.next = offset + u64::from(length) + u64::from(is_end);
        self.highest = self.highest.max(self.next);
        self.has_sent_end |= is_end;
        self.timer.get_or_insert(now + (TIMEOUT << self.retries));
        piece
    }

    fn find_piece(&mut self) -> Option<(u64, u32, bool)> {
        let mut offset = self.next;
        for (&start, &end) in &self.sacked {
            if start <= offset && offset < end {
                offset = end;
            }
        }
        let edge = self.acknowledged.max(1) + u64::from(self.window);
        if offset >= self.end() || offset >= edge {
            return None;
        }
        let flight = offset - self.acknowledged;
        if flight > 0 && flight >= self.congestion_window * u64::from(self.piece_max()) {
            return None;
        }
        let rest = (1 + self.data.len() as u64).saturating_sub(offset) as u32;
        let room = (edge - offset) as u32;
        let mut length = rest.min(self.piece_max());
        if room < length {
            // Less than a segment goes only behind others, or when nothing else has gone for a while.
            if !self.has_burst && !self.is_forced {
                return None;
            }
            length = room;
        }
        let is_end = self.is_finished && length == rest && (room > length || self.is_forced);
        (length > 0 || is_end).then_some((offset, length, is_end))
    }

    pub(super) fn deadline(&self) -> Option<Micros> {
        self.timer
    }

    pub(super) fn do_due(&mut self, now: Micros) -> Due {
        if self.timer.is_none_or(|at| now < at) {
            return Due::Nothing;
        }
        self.timer = None;
        let has_flight = self.highest > self.acknowledged && self.window > 0;
        if !has_flight && self.next >= self.end() {
            return Due::Nothing;
        }
        if self.retries == RETRIES {
            return Due::GiveUp;
        }
        self.retries += 1;
        self.timer = Some(now + (TIMEOUT << self.retries));
        self.is_forced = true;
        if self.window == 0 {
            return Due::Probe;
        }
        if has_flight {
            self.next = self.acknowledged;
            self.sacked.clear();
            self.congestion_window = 1;
        }
        Due::Nothing
    }
}
