//! The numbers of a spliced connection: what each side calls the same byte, and when both are done.

use crate::{
    maps::Flow,
    packet::{ACK, Be16, Be32, FIN, Segment},
    tcp_options::{NO_WINDOW_SCALE, OUR_WINDOW_SCALE, rescale_window},
};

/// What an entry of the flow table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// A client's packets, served by the local stack.
    Local = 0,
    /// A client's packets, sent on to a peer.
    ToPeer = 1,
    /// A peer's packets, sent on to the client.
    ToClient = 2,
    /// Packets that go up the local stack as they came: the request was in the SYN.
    Passed = 3,
}

impl Role {
    /// Whether the local stack is the server.
    #[inline(always)]
    #[must_use]
    pub const fn is_served_here(self) -> bool {
        matches!(self, Self::Local | Self::Passed)
    }
}

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

impl Flow {
    /// The window scale that the client was promised.
    #[inline(always)]
    #[must_use]
    pub const fn promised_scale(&self) -> u8 {
        if self.client_scale == NO_WINDOW_SCALE {
            NO_WINDOW_SCALE
        } else {
            OUR_WINDOW_SCALE
        }
    }

    /// A client's segment as the server expects it.
    ///
    /// The stamp lies within the first bytes, so what follows them is shifted by its length.
    #[inline(always)]
    #[must_use]
    pub const fn to_server(&self, numbers: Numbers) -> Numbers {
        let offset = numbers.sequence.wrapping_sub(self.client_isn);
        let is_behind_stamp = (offset.wrapping_sub(1).wrapping_sub(self.first_bytes) as i32) >= 0;
        let stamp = if is_behind_stamp { self.stamp_bytes } else { 0 };
        Numbers {
            sequence: self.upstream_isn.wrapping_add(offset).wrapping_add(stamp),
            acknowledgment: numbers
                .acknowledgment
                .wrapping_sub(self.our_isn)
                .wrapping_add(self.server_isn),
            window: numbers.window,
        }
    }

    /// A server's segment as the client expects it.
    ///
    /// While the server has acknowledged only a part of the stamped first bytes, the client learns of none.
    #[inline(always)]
    #[must_use]
    pub const fn to_client(&self, numbers: Numbers) -> Numbers {
        let taken = numbers.acknowledgment.wrapping_sub(self.upstream_isn);
        let has_first_bytes = (taken
            .wrapping_sub(1)
            .wrapping_sub(self.first_bytes)
            .wrapping_sub(self.stamp_bytes) as i32)
            >= 0;
        let taken = if self.stamp_bytes == 0 {
            taken
        } else if has_first_bytes {
            taken.wrapping_sub(self.stamp_bytes)
        } else {
            1
        };
        Numbers {
            sequence: numbers
                .sequence
                .wrapping_sub(self.server_isn)
                .wrapping_add(self.our_isn),
            acknowledgment: self.client_isn.wrapping_add(taken),
            window: rescale_window(numbers.window, self.server_scale, self.promised_scale()),
        }
    }

    /// Gives a segment the addresses of packets that leave in this direction.
    #[inline(always)]
    #[must_use]
    pub const fn readdress(&self, segment: Segment) -> Segment {
        Segment {
            source: Be32::from_raw(u32::from_ne_bytes(self.source)),
            destination: Be32::from_raw(u32::from_ne_bytes(self.destination)),
            source_port: Be16::from_raw(u16::from_ne_bytes(self.source_port)),
            destination_port: Be16::from_raw(u16::from_ne_bytes(self.destination_port)),
            ..segment
        }
    }

    /// Whether a client's segment at `sequence` begins within the first bytes, which have to be sent with the stamp.
    #[inline(always)]
    #[must_use]
    pub const fn is_first(&self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.client_isn).wrapping_sub(1) < self.first_bytes
    }

    /// How many of the upstream's first bytes a SYN-ACK acknowledges, or `None` if it does not answer our SYN.
    #[inline(always)]
    #[must_use]
    pub const fn taken_by(&self, acknowledgment: u32) -> Option<u32> {
        let taken = acknowledgment.wrapping_sub(self.upstream_isn).wrapping_sub(1);
        if taken <= self.first_bytes + self.stamp_bytes {
            Some(taken)
        } else {
            None
        }
    }
}

/// Which ends of a connection are closed, in the client's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Closing {
    /// `CLIENT_FIN` and its like.
    pub marks: u32,
    /// The number behind the client's FIN.
    pub client_end: u32,
    /// The number behind the server's FIN.
    pub server_end: u32,
}

const CLIENT_FIN: u32 = 1;
const SERVER_FIN: u32 = 2;
const CLIENT_FIN_TAKEN: u32 = 4;
const SERVER_FIN_TAKEN: u32 = 8;

impl Closing {
    /// Notes a segment of the client.
    #[inline(always)]
    pub const fn client(&mut self, flags: u8, sequence_end: u32, acknowledgment: u32) {
        if flags & FIN != 0 {
            self.marks |= CLIENT_FIN;
            self.client_end = sequence_end;
        }
        if self.marks & SERVER_FIN != 0 && flags & ACK != 0 && acknowledgment == self.server_end {
            self.marks |= SERVER_FIN_TAKEN;
        }
    }

    /// Notes a segment of the server.
    #[inline(always)]
    pub const fn server(&mut self, flags: u8, sequence_end: u32, acknowledgment: u32) {
        if flags & FIN != 0 {
            self.marks |= SERVER_FIN;
            self.server_end = sequence_end;
        }
        if self.marks & CLIENT_FIN != 0 && flags & ACK != 0 && acknowledgment == self.client_end {
            self.marks |= CLIENT_FIN_TAKEN;
        }
    }

    /// Whether either side has begun to close.
    #[inline(always)]
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.marks != 0
    }

    /// Whether both ends are closed and both sides know it.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.marks == CLIENT_FIN | SERVER_FIN | CLIENT_FIN_TAKEN | SERVER_FIN_TAKEN
    }
}

#[cfg(test)]
mod tests;
