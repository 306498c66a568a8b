//! A run of bytes of known length in a stream of sequence numbers (RFC 9293, section 3.4).

/// The largest window that TCP can promise, in bytes (RFC 7323, section 2.3).
pub const WINDOW_MAX: u32 = 1 << 30;

/// How much of a run has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Extent {
    /// Bytes still to come.
    pub left: u64,
    /// The sequence number behind the last byte that passed.
    pub at: u32,
    /// Bytes behind the run that have come already and are held until their turn.
    pub ahead: u32,
}

/// Where a segment lies in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of it has passed before.
    Old,
    /// It lies within the run.
    Within,
    /// It begins in the run, or before, and runs past it: so many of its bytes belong to the run.
    Crossing(u32),
    /// It begins right behind the run.
    Behind,
    /// It begins further behind: something between is missing.
    Beyond,
}

impl Extent {
    /// A run of `length` bytes from a sequence number.
    #[inline(always)]
    #[must_use]
    pub const fn new(start: u32, length: u64) -> Self {
        Self {
            left: length,
            at: start,
            ahead: 0,
        }
    }

    /// Notes a segment of `length` bytes, at least 1.
    #[inline(always)]
    pub const fn note(&mut self, sequence: u32, length: u32) -> Place {
        let offset = sequence.wrapping_sub(self.at) as i32;
        let advance = offset.wrapping_add(length as i32);
        if advance <= 0 {
            return Place::Old;
        }
        if advance as u64 <= self.left {
            self.at = self.at.wrapping_add(advance as u32);
            self.left -= advance as u64;
            return Place::Within;
        }
        // The rest is less than a segment's advance, so it fits.
        let left = self.left as i32;
        if offset < left {
            self.at = self.at.wrapping_add(left as u32);
            self.left = 0;
            Place::Crossing(left.wrapping_sub(offset) as u32)
        } else if offset == left {
            Place::Behind
        } else {
            Place::Beyond
        }
    }

    /// What of a segment of `length` bytes can be held behind a run that has passed, where `room` bytes in all can be:
    /// so many bytes into the segment it begins, and so many bytes long it is.
    #[inline(always)]
    #[must_use]
    pub const fn ahead_in(&self, sequence: u32, length: u32, room: u32) -> Option<(u32, u32)> {
        let skip = self.at.wrapping_add(self.ahead).wrapping_sub(sequence);
        if self.left != 0 || skip >= length || self.ahead >= room {
            return None;
        }
        let (more, room) = (length - skip, room - self.ahead);
        Some((skip, if more < room { more } else { room }))
    }

    /// Whether the number behind the run is one that no other byte can have meanwhile.
    #[inline(always)]
    #[must_use]
    pub const fn is_end_within_reach(&self) -> bool {
        self.left < WINDOW_MAX as u64
    }

    /// The sequence number behind the run, if it is within reach.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.at.wrapping_add(self.left as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_fill_a_run() {
        let mut run = Extent::new(u32::MAX - 1, 10);
        assert_eq!(run.note(u32::MAX - 1, 4), Place::Within);
        assert_eq!((run.at, run.left), (2, 6));
        assert_eq!(run.note(u32::MAX - 1, 4), Place::Old);
        assert_eq!(run.note(u32::MAX, 4), Place::Within, "partly old");
        assert_eq!((run.at, run.left), (3, 5));
        assert_eq!(run.note(3, 5), Place::Within);
        assert_eq!(run.note(8, 1), Place::Behind);
    }

    #[test]
    fn what_runs_past_is_cut() {
        let mut run = Extent::new(100, 10);
        assert_eq!(run.note(104, 20), Place::Crossing(6));
        assert_eq!((run.at, run.left), (110, 0));
        let mut run = Extent::new(100, 10);
        assert_eq!(run.note(90, 40), Place::Crossing(20));
    }

    #[test]
    fn a_hole_within_a_run_is_the_servers_matter() {
        let mut run = Extent::new(100, 10);
        assert_eq!(run.note(105, 5), Place::Within);
        assert_eq!(run.note(100, 5), Place::Old);
        assert_eq!(run.note(111, 5), Place::Beyond);
    }

    #[test]
    fn what_comes_behind_a_run_is_held_in_order_and_once() {
        let mut run = Extent::new(u32::MAX - 9, 10);
        assert_eq!(run.ahead_in(0, 5, 100), None, "the run has not passed");
        assert_eq!(run.note(u32::MAX - 9, 30), Place::Crossing(10));
        assert_eq!(run.ahead_in(u32::MAX - 9, 30, 100), Some((10, 20)));
        run.ahead = 20;
        assert_eq!(run.ahead_in(u32::MAX - 9, 30, 100), None, "sent again");
        assert_eq!(run.ahead_in(21, 5, 100), None, "a byte is missing");
        assert_eq!(run.ahead_in(20, 5, 100), Some((0, 5)));
        assert_eq!(run.ahead_in(15, 10, 100), Some((5, 5)), "partly sent again");
        assert_eq!(
            run.ahead_in(20, 100, 100),
            Some((0, 80)),
            "no more than there is room for"
        );
        assert_eq!(run.ahead_in(20, 100, 20), None);
    }

    #[test]
    fn long_runs_are_longer_than_sequence_numbers() {
        let mut run = Extent::new(0, 5_000_000_000);
        for _ in 0..5_000 {
            let at = run.at;
            assert_eq!(run.note(at, 1_000_000), Place::Within);
        }
        assert_eq!(run.note(run.at, 1), Place::Behind);
    }
}
