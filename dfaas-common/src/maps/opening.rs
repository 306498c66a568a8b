//! Connections whose request is not decided yet.

use crate::{
    decide::{ANSWERS, Failed},
    packet::{ACK, FIN, RST},
};

/// Bit of [`Opening::flags`]: the SYN's checksum was left to hardware.
pub const SYN_IS_PARTIAL: u8 = 1;
/// Bit of [`Opening::flags`]: the client takes selective acknowledgments.
pub const SYN_PERMITS_SACK: u8 = 2;
/// The bits of [`Opening::flags`] that the SYN has set.
pub const SYN_FLAGS: u8 = 15;
/// What each part of a head adds to [`Opening::flags`].
pub const HEAD_PART: u8 = 16;

/// [`Opening::reply`] of a connection that both sides have closed.
const CLOSED: u8 = u8::MAX;
/// [`Opening::reply`] of a connection that ended behind an answer of a server, and not of ours.
const ENDED: u8 = CLOSED - 1;
const _: () = assert!(2 * ANSWERS < ENDED as usize);

/// What a segment calls for whose sender has closed its connection, as have we.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It has not heard of our end: it is told once more.
    Again,
    /// It knows all.
    Over,
    /// It is an old one.
    Nothing,
}

/// What a SYN calls for on a connection that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It begins another one.
    Anew,
    /// It is told where both sides are (RFC 5961, section 4.2).
    Challenge,
    /// The same, by what was said last: an answer or an end of ours, which may not have been heard.
    Again,
}

/// A connection whose request is not decided yet, or that the data plane answered itself. Kernel only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Opening {
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// Ours.
    pub our_isn: u32,
    /// Bytes of the request that are held and acknowledged.
    pub held: u32,
    /// The acknowledgment number of our answer, if there was one.
    pub answered: u32,
    /// The client's window in its SYN.
    pub window: u16,
    /// The client's maximum segment size.
    pub segment_size: u16,
    /// The client's window scale, or `NO_WINDOW_SCALE`.
    pub window_scale: u8,
    /// `SYN_*`.
    pub flags: u8,
    /// One more than the number of our answer; 0 before it, and the largest where the connection has ended.
    pub reply: u8,
    /// How many servers have failed this request.
    pub failures: u8,
    /// Which.
    pub failed: Failed,
}

impl Opening {
    /// The sequence number that the client's next byte has.
    #[inline(always)]
    #[must_use]
    pub const fn next(&self) -> u32 {
        self.client_isn.wrapping_add(1).wrapping_add(self.held)
    }

    /// Whether a segment between these numbers brings nothing that has not come.
    #[inline(always)]
    #[must_use]
    pub const fn is_old(&self, sequence: u32, sequence_end: u32) -> bool {
        sequence != self.next() && sequence_end.wrapping_sub(self.next()) as i32 <= 0
    }

    /// Whether our answer leaves the connection open. All other fields are then those of the next request, as if a
    /// handshake had just ended where it begins.
    #[inline(always)]
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        self.reply as usize > ANSWERS && self.reply < ENDED
    }

    /// Ends behind an answer: our end stands at `our_next`, and what the client has sent up to `at` counts no more.
    #[inline(always)]
    pub const fn end(&mut self, at: u32, our_next: u32) {
        self.await_request(at, our_next);
        self.answered = at;
        self.reply = ENDED;
    }

    /// Whether the connection ended behind an answer of a server.
    #[inline(always)]
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.reply == ENDED
    }

    /// What a SYN with this number calls for, if no request is under way at a server.
    ///
    /// Behind an end only a number that follows begins another connection (RFC 9293, section 3.6.1): else a late double of
    /// the first SYN would have what was said last be forgotten.
    #[inline(always)]
    #[must_use]
    pub const fn greet(&self, isn: u32) -> Greeting {
        if self.reply == 0 {
            return if self.held > 0 {
                Greeting::Challenge
            } else {
                Greeting::Anew
            };
        }
        let has_ended = !self.goes_on() || self.is_closed();
        let (_, end) = self.last_words(0);
        if has_ended && isn.wrapping_sub(end) as i32 >= 0 {
            Greeting::Anew
        } else {
            Greeting::Again
        }
    }

    /// The sequence and the acknowledgment number of what was said last: an answer of so many bytes, or an end.
    #[inline(always)]
    #[must_use]
    pub const fn last_words(&self, answer_bytes: u32) -> (u32, u32) {
        if self.is_closed() {
            return (self.our_isn, self.next());
        }
        let start = self.our_isn.wrapping_add(1);
        let start = if self.goes_on() {
            start.wrapping_sub(answer_bytes)
        } else {
            start
        };
        (start, self.answered)
    }

    /// Awaits a request that begins at a number, behind what ends at another of ours.
    #[inline(always)]
    pub const fn await_request(&mut self, start: u32, our_next: u32) {
        self.client_isn = start.wrapping_sub(1);
        self.our_isn = our_next.wrapping_sub(1);
        self.held = 0;
        self.answered = 0;
        self.reply = 0;
        self.forget_failures();
        self.flags &= SYN_FLAGS;
    }

    /// Goes on to the next request, behind our answer of so many bytes.
    #[inline(always)]
    pub const fn go_on(&mut self, answer_bytes: u32) {
        self.client_isn = self.answered.wrapping_sub(1);
        self.our_isn = self.our_isn.wrapping_add(answer_bytes);
        self.held = 0;
        self.forget_failures();
    }

    /// Notes that a server has failed the request: a peer, by index, or this node (0).
    #[inline(always)]
    pub const fn fail(&mut self, target: u32) {
        self.failed.add(self.failures, target);
        self.failures = self.failures.saturating_add(1);
    }

    #[inline(always)]
    const fn forget_failures(&mut self) {
        self.failures = 0;
        self.failed = Failed::NONE;
    }

    /// Notes that the client has closed, and that we do in answer. Both initial numbers are then those of the ends.
    #[inline(always)]
    pub const fn close(&mut self) {
        self.client_isn = self.next();
        self.our_isn = self.our_isn.wrapping_add(1);
        self.held = 0;
        self.reply = CLOSED;
    }

    /// The same, where the client's end stands before this number.
    #[inline(always)]
    pub const fn close_at(&mut self, behind: u32) {
        self.client_isn = behind.wrapping_sub(2);
        self.held = 0;
        self.close();
    }

    /// Whether both sides have closed.
    #[inline(always)]
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.reply == CLOSED
    }

    /// What a segment calls for behind both ends.
    #[inline(always)]
    #[must_use]
    pub const fn farewell(&self, flags: u8, sequence_end: u32, acknowledgment: u32) -> Farewell {
        if sequence_end != self.next() {
            return Farewell::Nothing;
        }
        if flags & FIN != 0 {
            return Farewell::Again;
        }
        let has_heard = flags & ACK != 0 && acknowledgment == self.our_isn.wrapping_add(1);
        if has_heard || flags & RST != 0 {
            return Farewell::Over;
        }
        Farewell::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_takes_nothing_away() {
        let fresh = Opening {
            client_isn: 100,
            our_isn: 500,
            ..Opening::default()
        };
        assert_eq!(fresh.greet(100), Greeting::Anew);
        let in_head = Opening { held: 10, ..fresh };
        assert_eq!(in_head.greet(100), Greeting::Challenge);
        let mut kept = Opening {
            answered: 111,
            reply: ANSWERS as u8 + 1,
            ..fresh
        };
        assert!(kept.goes_on());
        kept.go_on(40);
        assert_eq!(kept.last_words(40), (501, 111), "the answer");
        for isn in [100, 111, 5_000] {
            assert_eq!(kept.greet(isn), Greeting::Again, "{isn}");
        }
        let refused = Opening {
            answered: 111,
            reply: 1,
            ..fresh
        };
        assert_eq!(refused.last_words(40), (501, 111));
        let mut ended = fresh;
        ended.end(111, 501);
        assert_eq!(ended.last_words(0), (501, 111));
        let mut closed = fresh;
        closed.close_at(111);
        assert_eq!(closed.last_words(0), (501, 111));
        for opening in [refused, ended, closed] {
            assert_eq!(opening.greet(100), Greeting::Again);
            assert_eq!(opening.greet(110), Greeting::Again);
            assert_eq!(opening.greet(111), Greeting::Anew);
        }
    }

    #[test]
    fn who_has_closed_is_told_until_it_has_heard() {
        let mut opening = Opening {
            client_isn: 100,
            our_isn: 500,
            held: 10,
            ..Opening::default()
        };
        assert!(!opening.is_closed());
        opening.close();
        assert!(opening.is_closed());
        let cases = [
            (FIN | ACK, 112, 501, Farewell::Again),
            (ACK, 112, 502, Farewell::Over),
            (RST, 112, 0, Farewell::Over),
            (ACK, 112, 501, Farewell::Nothing),
            (ACK, 111, 501, Farewell::Nothing),
            (FIN | ACK, 111, 501, Farewell::Nothing),
            (RST, 111, 0, Farewell::Nothing),
        ];
        for (flags, end, acknowledgment, want) in cases {
            let got = opening.farewell(flags, end, acknowledgment);
            assert_eq!(got, want, "{flags} {end} {acknowledgment}");
        }
    }
}
