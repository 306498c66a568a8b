//! The end of a connection: which sides have closed, and whether both know it (RFC 9293, section 3.6).

use crate::packet::{ACK, FIN};

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

    /// Whether this is where the client's next byte would be, after `at` and its FIN if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn is_client_next(&self, sequence: u32, at: u32) -> bool {
        sequence == at || (self.marks & CLIENT_FIN != 0 && sequence == self.client_end)
    }

    /// Whether this is where the server's next byte would be, after `at` and its FIN if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn is_server_next(&self, sequence: u32, at: u32) -> bool {
        sequence == at || (self.marks & SERVER_FIN != 0 && sequence == self.server_end)
    }

    /// Whether the server has closed and this acknowledges it.
    #[inline(always)]
    #[must_use]
    pub const fn has_heard(&self, acknowledgment: u32) -> bool {
        self.marks & SERVER_FIN != 0 && acknowledgment == self.server_end
    }

    /// Where the server's next byte would be, after `at` and its FIN if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn server_next(&self, at: u32) -> u32 {
        if self.marks & SERVER_FIN != 0 {
            self.server_end
        } else {
            at
        }
    }

    /// Where the client's next byte would be, after `at` and its FIN if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn client_next(&self, at: u32) -> u32 {
        if self.marks & CLIENT_FIN != 0 {
            self.client_end
        } else {
            at
        }
    }

    /// Whether the server has closed.
    #[inline(always)]
    #[must_use]
    pub const fn has_server_end(&self) -> bool {
        self.marks & SERVER_FIN != 0
    }

    /// Whether either side has begun to close.
    #[inline(always)]
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.marks != 0
    }

    /// Whether both ends are closed.
    #[inline(always)]
    #[must_use]
    pub const fn has_both_ends(&self) -> bool {
        const BOTH: u32 = CLIENT_FIN | SERVER_FIN;
        self.marks & BOTH == BOTH
    }

    /// Whether both ends are closed and both sides know it.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.marks == CLIENT_FIN | SERVER_FIN | CLIENT_FIN_TAKEN | SERVER_FIN_TAKEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_byte_stands_behind_a_fin() {
        let mut closing = Closing::default();
        assert!(closing.is_client_next(100, 100) && closing.is_server_next(50, 50));
        assert!(!closing.is_client_next(101, 100) && !closing.is_server_next(51, 50));
        closing.client(FIN | ACK, 101, 50);
        assert!(closing.is_client_next(101, 100) && !closing.is_server_next(51, 50));
        assert!(closing.is_client_next(100, 100) && !closing.is_client_next(102, 100));
        closing.server(FIN | ACK, 51, 101);
        assert!(closing.is_server_next(51, 50) && !closing.is_server_next(52, 50));
        assert_eq!((closing.server_next(50), closing.client_next(100)), (51, 101));
        assert_eq!(Closing::default().client_next(100), 100);
    }

    #[test]
    fn a_connection_is_over_when_both_fins_are_acknowledged() {
        let mut closing = Closing::default();
        closing.client(ACK, 100, 50);
        assert!(!closing.has_begun());
        closing.client(FIN | ACK, 101, 50);
        closing.server(ACK, 50, 101);
        assert!(closing.has_begun() && !closing.is_over());
        assert!(!closing.has_both_ends());
        closing.server(FIN | ACK, 51, 101);
        assert!(closing.has_both_ends());
        assert!(!closing.is_over());
        closing.client(ACK, 101, 51);
        assert!(closing.is_over());
    }

    #[test]
    fn an_old_acknowledgment_ends_nothing() {
        let mut closing = Closing::default();
        closing.server(FIN | ACK, 51, 100);
        closing.client(FIN | ACK, 101, 50);
        closing.server(ACK, 51, 101);
        assert!(!closing.is_over(), "the server's FIN is not acknowledged");
        closing.client(ACK, 101, 51);
        assert!(closing.is_over());
    }
}
