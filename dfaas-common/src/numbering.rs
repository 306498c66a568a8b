//! The sequence numbers of a request: what each side calls the same byte.

use crate::{extent::WINDOW_MAX, tcp_options::rescale_window};

/// More bytes than a request can have before its stamp.
const STAMP_AT_MAX: u32 = 1 << 16;

/// The fields of a segment that differ between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Window field.
    pub window: u16,
}

/// How the numbers of a client translate into those of the server that has its request, and back.
///
/// It is made anew for each request; what was sent before keeps its translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Numbering {
    /// The first byte of the request as the client numbers it.
    pub client: u32,
    /// The same byte towards the server.
    pub upstream: u32,
    /// The first byte of the response towards the client.
    pub ours: u32,
    /// The same byte as the server numbers it.
    pub server: u32,
    /// Bytes of the request before the stamp.
    pub stamp_at: u16,
    /// Bytes of the stamp, which the client knows nothing of; 0 without one.
    pub stamp_bytes: u16,
    /// The server's window scale.
    pub server_scale: u8,
    /// The window scale that the client was promised.
    pub promised_scale: u8,
    /// The client's window scale.
    pub client_scale: u8,
    /// The scale in which the server reads the client's windows: none if its own SYN had none (RFC 7323, section 2.2).
    pub heard_scale: u8,
}

impl Numbering {
    /// A client's sequence number as the server expects it.
    ///
    /// A stamp belongs to the byte behind it: that byte's number is shifted.
    #[inline(always)]
    #[must_use]
    pub const fn sequence_to_server(&self, sequence: u32) -> u32 {
        let offset = sequence.wrapping_sub(self.client);
        let behind = offset.wrapping_sub(self.stamp_at as u32) as i32;
        let stamp = if behind > 0 { self.stamp_bytes as u32 } else { 0 };
        self.upstream.wrapping_add(offset).wrapping_add(stamp)
    }

    /// What a server acknowledges, in the client's numbers. A part of a stamp is nothing to the client.
    #[inline(always)]
    #[must_use]
    pub const fn acknowledgment_to_client(&self, acknowledgment: u32) -> u32 {
        let taken = acknowledgment.wrapping_sub(self.upstream);
        let of_stamp = taken.wrapping_sub(self.stamp_at as u32) as i32;
        let taken = if of_stamp <= 0 {
            taken
        } else if of_stamp >= self.stamp_bytes as i32 {
            taken.wrapping_sub(self.stamp_bytes as u32)
        } else {
            self.stamp_at as u32
        };
        self.client.wrapping_add(taken)
    }

    /// A server's sequence number as the client expects it.
    #[inline(always)]
    #[must_use]
    pub const fn sequence_to_client(&self, sequence: u32) -> u32 {
        sequence.wrapping_sub(self.server).wrapping_add(self.ours)
    }

    /// What a client acknowledges, in the server's numbers.
    #[inline(always)]
    #[must_use]
    pub const fn acknowledgment_to_server(&self, acknowledgment: u32) -> u32 {
        acknowledgment.wrapping_sub(self.ours).wrapping_add(self.server)
    }

    /// A client's segment as the server expects it.
    #[inline(always)]
    #[must_use]
    pub const fn to_server(&self, numbers: Numbers) -> Numbers {
        Numbers {
            sequence: self.sequence_to_server(numbers.sequence),
            acknowledgment: self.acknowledgment_to_server(numbers.acknowledgment),
            window: self.window_to_server(numbers.window),
        }
    }

    /// A client's window as the server reads it (RFC 7323, section 2.2).
    #[inline(always)]
    #[must_use]
    pub const fn window_to_server(&self, window: u16) -> u16 {
        rescale_window(window, self.client_scale, self.heard_scale)
    }

    /// A server's segment as the client expects it.
    #[inline(always)]
    #[must_use]
    pub const fn to_client(&self, numbers: Numbers) -> Numbers {
        Numbers {
            sequence: self.sequence_to_client(numbers.sequence),
            acknowledgment: self.acknowledgment_to_client(numbers.acknowledgment),
            window: rescale_window(numbers.window, self.server_scale, self.promised_scale),
        }
    }

    /// Leaves the stamp behind once its server must have it, because the client is at a number a window beyond it: else
    /// what comes two gigabytes later would stand before it again.
    ///
    /// Both ends of a window are less than 2^30 apart (RFC 7323, section 2.3).
    #[inline(always)]
    pub const fn leave_stamp(&mut self, at: u32) {
        if self.is_beyond_stamp(at) {
            self.upstream = self.sequence_to_server(at);
            self.client = at;
            self.stamp_at = 0;
            self.stamp_bytes = 0;
        }
    }

    /// Whether [`Self::leave_stamp`] has something to do.
    #[inline(always)]
    #[must_use]
    pub const fn is_beyond_stamp(&self, at: u32) -> bool {
        self.stamp_bytes != 0
            && at.wrapping_sub(self.client).wrapping_sub(STAMP_AT_MAX) as i32 > WINDOW_MAX as i32
    }

    /// Where in a client's segment the stamp has to be put in, if it belongs there.
    #[inline(always)]
    #[must_use]
    pub const fn stamp_within(&self, sequence: u32, length: u32) -> Option<u32> {
        let ahead = self
            .client
            .wrapping_add(self.stamp_at as u32)
            .wrapping_sub(sequence);
        if self.stamp_bytes != 0 && ahead < length {
            Some(ahead)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamped() -> Numbering {
        Numbering {
            client: 1_001,
            upstream: 500_001,
            ours: 70_001,
            server: 9_001,
            stamp_at: 20,
            stamp_bytes: 68,
            server_scale: 7,
            promised_scale: 7,
            client_scale: 7,
            heard_scale: 7,
        }
    }

    #[test]
    fn bytes_behind_the_stamp_are_shifted() {
        let numbering = stamped();
        assert_eq!(numbering.sequence_to_server(1_001), 500_001);
        assert_eq!(
            numbering.sequence_to_server(1_021),
            500_021,
            "the stamp comes first"
        );
        assert_eq!(numbering.sequence_to_server(1_022), 500_090);
        assert_eq!(numbering.sequence_to_server(901), 499_901, "earlier requests");
    }

    #[test]
    fn a_part_of_the_stamp_is_nothing_to_the_client() {
        let numbering = stamped();
        for (acknowledgment, want) in [
            (500_001, 1_001),
            (500_021, 1_021),
            (500_060, 1_021),
            (500_089, 1_021),
            (500_090, 1_022),
        ] {
            assert_eq!(
                numbering.acknowledgment_to_client(acknowledgment),
                want,
                "{acknowledgment}"
            );
        }
    }

    #[test]
    fn a_stamp_goes_into_the_segment_that_has_its_place() {
        let numbering = stamped();
        assert_eq!(numbering.stamp_within(1_001, 100), Some(20));
        assert_eq!(numbering.stamp_within(1_011, 100), Some(10));
        assert_eq!(numbering.stamp_within(1_021, 100), Some(0));
        assert_eq!(numbering.stamp_within(1_022, 100), None);
        assert_eq!(numbering.stamp_within(1_001, 20), None);
        assert_eq!(Numbering::default().stamp_within(0, 100), None);
    }

    proptest! {
        #[test]
        fn what_is_acknowledged_is_what_was_sent(
            client: u32, upstream: u32, stamp_at in 10u16..1_332, stamp_bytes in 0u16..128, offset in 0u32..100_000,
        ) {
            let numbering = Numbering { client, upstream, stamp_at, stamp_bytes, ..Numbering::default() };
            let sequence = client.wrapping_add(offset);
            let there = numbering.sequence_to_server(sequence);
            prop_assert_eq!(numbering.acknowledgment_to_client(there), sequence);
        }

        #[test]
        fn a_body_may_be_longer_than_the_numbers(
            client: u32, upstream: u32, stamp_at in 10u16..1_332, stamp_bytes in 1u16..128,
            steps in proptest::collection::vec(1u32..500_000_000, 1..40),
        ) {
            let mut numbering = Numbering { client, upstream, stamp_at, stamp_bytes, ..Numbering::default() };
            let mut at = 0u64;
            for step in steps {
                at += u64::from(step);
                let sequence = client.wrapping_add(at as u32);
                // What the other direction has not left behind yet means the same.
                let before = numbering;
                numbering.leave_stamp(sequence);
                let stamp = if at > u64::from(stamp_at) { u64::from(stamp_bytes) } else { 0 };
                let there = upstream.wrapping_add((at + stamp) as u32);
                for numbering in [before, numbering] {
                    prop_assert_eq!(numbering.sequence_to_server(sequence), there, "{}", at);
                    prop_assert_eq!(numbering.acknowledgment_to_client(there), sequence, "{}", at);
                }
                if at > 1 << 31 {
                    prop_assert_eq!(numbering.stamp_within(sequence, 60_000), None, "{}", at);
                }
            }
        }

        #[test]
        fn responses_come_back(ours: u32, server: u32, offset: u32) {
            let numbering = Numbering { ours, server, ..Numbering::default() };
            let sequence = server.wrapping_add(offset);
            let there = numbering.sequence_to_client(sequence);
            prop_assert_eq!(numbering.acknowledgment_to_server(there), sequence);
        }
    }
}
