//! Connections to servers.

use super::{FlowKey, IS_CLOSING, IS_CURRENT, IS_PROXIED, IS_SPLICED, IS_TAKEN};
use crate::{
    http::{Response, Stage},
    numbering::Numbering,
};

/// A connection to a server on behalf of a client. Kernel writes, agent sweeps.
///
/// The local stack's is found under the client's own key, a peer's under the peer's address and our source port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Upstream {
    /// When the current request was decided, in nanoseconds of the monotonic clock.
    pub decided_ns: u64,
    /// When the first byte of its answer passed; 0 before that.
    pub first_byte_ns: u64,
    /// The current response.
    pub response: Response,
    /// Towards the client.
    pub numbering: Numbering,
    /// The client's entry.
    pub client: FlowKey,
    /// Function id of the current request.
    pub function: u32,
    /// Peer index of who serves; 0 is this node.
    pub target: u32,
    /// Peer index of who sent the request; 0 is a user.
    pub origin: u32,
    /// [`Config::tick`] when a packet was seen last.
    pub last_seen: u32,
    /// While it is not current: the sequence number of the next byte to it. While it is: the client's number of the
    /// byte behind its request, if that is within reach.
    pub next: u32,
    /// The window that the server promised last, as it stands in its packets.
    pub window: u16,
    /// The link address of the next hop to the server.
    pub next_hop: [u16; 3],
    /// `IS_*`.
    pub flags: u8,
    /// 1 if the end of the current request is within reach.
    pub has_end: u8,
    /// 1 once the server has closed behind its last answer and its client was not told: the next request goes elsewhere.
    pub has_left: u8,
    /// 1 if the connection had a request before the current one.
    pub is_reused: u8,
    /// What the client was told last to have arrived, in its own numbers.
    pub acknowledged: u32,
}

impl Upstream {
    /// Whether a flag is set.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Notes what a segment of the server acknowledges, and how many bytes it brings. Returns whether the server begins
    /// to take the current request with it.
    #[inline(always)]
    pub const fn take(&mut self, acknowledgment: u32, length: u32) -> bool {
        let taken = acknowledgment.wrapping_sub(self.numbering.upstream) as i32;
        if self.is(IS_TAKEN) || (length == 0 && taken <= 0) {
            return false;
        }
        self.flags |= IS_TAKEN;
        true
    }

    /// Whether it has not answered all that it was asked, as far as anybody can tell.
    #[inline(always)]
    #[must_use]
    pub const fn owes_answer(&self) -> bool {
        !matches!(self.response.stage(), Stage::Idle | Stage::Unknown)
    }

    /// Whether the next request may go here: all is answered, as far as anybody can tell, and nobody closes.
    ///
    /// Of the current response, where it was not followed to its end, the client can tell, which asks for more when it has
    /// all of it.
    #[inline(always)]
    #[must_use]
    pub const fn is_free(&self) -> bool {
        let is_over = match self.response.stage() {
            Stage::Idle => true,
            Stage::Unknown => self.is(IS_CURRENT),
            Stage::Head | Stage::Length | Stage::ChunkLine | Stage::ChunkData | Stage::Endless => false,
        };
        is_over && self.has_left == 0 && self.flags & (IS_SPLICED | IS_CLOSING | IS_PROXIED) == IS_SPLICED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_request_may_go_where_all_is_answered() {
        let cases = [
            (Stage::Idle, true, false),
            (Stage::Head, false, true),
            (Stage::Length, false, true),
            (Stage::ChunkLine, false, true),
            (Stage::ChunkData, false, true),
            (Stage::Endless, false, true),
            (Stage::Unknown, true, false),
        ];
        for (stage, is_free, owes_answer) in cases {
            let mut upstream = Upstream {
                flags: IS_SPLICED | IS_CURRENT,
                ..Upstream::default()
            };
            upstream.response.stage = stage as u8;
            assert_eq!(
                (upstream.is_free(), upstream.owes_answer()),
                (is_free, owes_answer),
                "{stage:?}"
            );
            upstream.has_left = 1;
            assert!(!upstream.is_free(), "{stage:?}");
        }
        let mut parked = Upstream {
            flags: IS_SPLICED,
            ..Upstream::default()
        };
        assert!(parked.is_free());
        parked.response.stage = Stage::Unknown as u8;
        assert!(!parked.is_free(), "it may have more to say");
    }

    #[test]
    fn a_request_is_taken_once() {
        let mut upstream = Upstream::default();
        upstream.numbering.upstream = u32::MAX;
        assert!(!upstream.take(u32::MAX, 0), "of the request before");
        assert!(upstream.take(0, 0));
        assert!(!upstream.take(5, 10), "counted already");
        let mut upstream = Upstream::default();
        assert!(upstream.take(0, 1), "an answer before anything is acknowledged");
    }
}
