//! Connections of clients.

use super::{FlowKey, IS_PROXIED, Opening};
use crate::{closing::Closing, extent::Extent, numbering::Numbering};

/// What a client's connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The client for (more of) a request, or for the end of an answer of ours.
    Asking = 0,
    /// A server for our SYN.
    Connecting = 1,
    /// Nobody: segments pass.
    Spliced = 2,
}

/// How many peers a client's connection can have at once: the current one and those that are kept for later.
pub const KNOWN: usize = 16;

/// A server that a client's connection has been to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Known {
    /// Peer index; 0 for none.
    pub target: u16,
    /// Our source port to it.
    pub port: [u8; 2],
}

impl Known {
    /// The place of the peer with this index, from which it pushes out who is there.
    #[inline(always)]
    #[must_use]
    pub const fn place(target: u32) -> usize {
        target as usize % KNOWN
    }
}

/// A client's connection whose first request was decided. Kernel writes, agent sweeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Client {
    /// The current request.
    pub request: Extent,
    /// What an undecided request needs, and what a server is told of the client.
    pub asking: Opening,
    /// Towards the current server.
    pub numbering: Numbering,
    /// The current server's entry.
    pub upstream: FlowKey,
    /// Which ends are closed, in the client's numbers.
    pub closing: Closing,
    /// [`Config::tick`] when a packet was seen last.
    pub last_seen: u32,
    /// Bytes of the current request that are held until its server has answered.
    pub first_bytes: u32,
    /// [`Phase`] as a number.
    pub phase: u8,
    /// `IS_*`.
    pub flags: u8,
    /// How often the current upstream SYN was sent; behind its answer, the first segment of the request.
    pub attempts: u8,
    /// 1 if the request may run twice: its method is idempotent.
    pub may_repeat: u8,
    /// Peers that this connection has been to, each in its [`Known::place`].
    pub known: [Known; KNOWN],
    /// The version of IP, as an index.
    pub family: u16,
    /// The window that it promised last, as it stands in its packets.
    pub window: u16,
    /// What it has acknowledged of the current response, in its own numbers.
    pub acknowledged: u32,
    /// When the current request came, or came again and counted, in milliseconds of the monotonic clock.
    pub asked_ms: u32,
}

/// What comes again sooner was doubled on its way: Linux sends nothing again within 200 ms.
const RETRANSMISSION_MS: u32 = 150;

const fn milliseconds(now_ns: u64) -> u32 {
    (now_ns / 1_000_000) as u32
}

impl Client {
    /// What the connection waits for.
    #[inline(always)]
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.phase {
            1 => Phase::Connecting,
            2 => Phase::Spliced,
            _ => Phase::Asking,
        }
    }

    /// Whether a flag is set.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether it is decided what becomes of the request that begins at this number.
    #[inline(always)]
    #[must_use]
    pub const fn has_decided(&self, start: u32) -> bool {
        self.phase != Phase::Asking as u8 && self.numbering.client == start
    }

    /// Becomes what was made of it for a request that begins at this number, unless another processor was faster.
    #[inline(always)]
    pub fn decide(&mut self, start: u32, decided: &Self) -> bool {
        if self.has_decided(start) {
            return false;
        }
        self.become_decided(decided);
        true
    }

    /// Becomes another part by part: as a whole, all of it is on a program's stack on its way.
    #[inline(always)]
    const fn become_decided(&mut self, decided: &Self) {
        let Self {
            request,
            asking,
            numbering,
            upstream,
            closing,
            last_seen,
            first_bytes,
            phase,
            flags,
            attempts,
            may_repeat,
            known,
            family,
            window,
            acknowledged,
            asked_ms,
        } = decided;
        self.request = *request;
        self.asking = *asking;
        self.numbering = *numbering;
        self.upstream = *upstream;
        self.closing = *closing;
        self.last_seen = *last_seen;
        self.first_bytes = *first_bytes;
        self.phase = *phase;
        self.flags = *flags;
        self.attempts = *attempts;
        self.may_repeat = *may_repeat;
        self.known = *known;
        self.family = *family;
        self.acknowledged = *acknowledged;
        self.window = *window;
        self.asked_ms = *asked_ms;
    }

    /// Notes when its request came.
    #[inline(always)]
    pub const fn ask(&mut self, now_ns: u64) {
        self.asked_ms = milliseconds(now_ns);
    }

    /// Whether the client has sent again what it asks, so that it counts.
    #[inline(always)]
    pub const fn asks_again(&mut self, now_ns: u64) -> bool {
        let now_ms = milliseconds(now_ns);
        let is_again = now_ms.wrapping_sub(self.asked_ms) >= RETRANSMISSION_MS;
        if is_again {
            self.asked_ms = now_ms;
        }
        is_again
    }

    /// Takes the request back from a server, a peer by its index or this node (0), if it is there and the connection waits
    /// for this: it is asked again.
    /// Not from the proxy, which is the last resort. What of it the client believes to have arrived stays held.
    #[inline(always)]
    pub fn take_back(&mut self, server: &FlowKey, target: u32, waits_for: Phase) -> bool {
        let is_there = self.phase == waits_for as u8 && self.upstream == *server;
        if !is_there || self.is(IS_PROXIED) {
            return false;
        }
        self.asking.fail(target);
        // Its end was not taken with it, and comes again.
        self.closing = Closing::default();
        self.phase = Phase::Asking as u8;
        true
    }

    /// Whether a segment that begins at this number has bytes of a request whose head came in parts.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_parts(&self, sequence: u32) -> bool {
        self.asking.held != 0 && sequence.wrapping_sub(self.numbering.client) < self.first_bytes
    }

    /// Whether it is at this server, all of whose request has gone there, and nobody closes.
    #[inline(always)]
    #[must_use]
    pub fn has_asked(&self, server: &FlowKey) -> bool {
        let is_there = self.phase == Phase::Spliced as u8 && self.upstream == *server;
        is_there && self.request.left == 0 && !self.closing.has_begun()
    }

    /// Whether it has asked this server for nothing that is not answered, once the server has answered its request.
    #[inline(always)]
    #[must_use]
    pub fn awaits_none_of(&self, server: &FlowKey) -> bool {
        self.has_asked(server) && self.request.ahead == 0
    }

    /// Goes on without its server, which goes, if it has all that it has asked for: as if a handshake had just ended
    /// where its next request begins, and its next byte from us is `next`.
    #[inline(always)]
    pub fn outlive(&mut self, server: &FlowKey, next: u32) -> bool {
        if !self.awaits_none_of(server) || self.acknowledged != next {
            return false;
        }
        self.asking.await_request(self.request.at, next);
        self.phase = Phase::Asking as u8;
        self.upstream = FlowKey::default();
        true
    }

    /// Ends with our end at `next`, behind all it was sent, if it is at this server; what it has sent up to `at` counts no
    /// more.
    #[inline(always)]
    pub fn end(&mut self, server: &FlowKey, at: u32, next: u32) -> bool {
        if self.phase != Phase::Spliced as u8 || self.upstream != *server {
            return false;
        }
        self.asking.end(at, next);
        self.request.ahead = 0;
        self.phase = Phase::Asking as u8;
        self.upstream = FlowKey::default();
        true
    }

    /// Is answered by us in the place of its server, whose response would begin at `next`, if it waits for that one, be it
    /// with its own side closed. The connection ends with the answer, which has this number.
    #[inline(always)]
    pub fn answer_for(&mut self, server: &FlowKey, next: u32, number: u8) -> bool {
        let is_there = self.phase == Phase::Spliced as u8 && self.upstream == *server;
        if !is_there || self.is(IS_PROXIED) || self.closing.has_server_end() {
            return false;
        }
        self.asking.await_request(self.request.at, next);
        self.asking.answered = self.closing.client_next(self.request.at);
        self.asking.reply = number + 1;
        self.phase = Phase::Asking as u8;
        self.upstream = FlowKey::default();
        true
    }

    /// Whether it waits for nothing but the client's next request.
    #[inline(always)]
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        match self.phase() {
            Phase::Asking => self.asking.held == 0 && self.asking.failures == 0,
            Phase::Connecting => false,
            Phase::Spliced => !self.closing.has_begun(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_decided_once() {
        let spliced = |start| {
            let mut client = Client {
                phase: Phase::Spliced as u8,
                ..Client::default()
            };
            client.numbering.client = start;
            client
        };
        let mut client = spliced(100);
        assert!(client.decide(200, &spliced(200)));
        assert!(!client.decide(200, &spliced(200)), "another processor was faster");
        let server = FlowKey::default();
        assert!(!client.take_back(&server, 3, Phase::Connecting));
        assert!(client.take_back(&server, 3, Phase::Spliced));
        assert_eq!((client.phase(), client.asking.failures), (Phase::Asking, 1));
        assert!(client.asking.failed.has(3) && !client.asking.failed.has(4));
        assert!(!client.take_back(&server, 3, Phase::Spliced), "it was taken back");
        assert!(client.decide(200, &spliced(200)), "it is asked again");
    }

    #[test]
    fn who_has_ended_is_asked_nothing_more() {
        let server = FlowKey::default();
        let mut client = Client {
            phase: Phase::Spliced as u8,
            ..Client::default()
        };
        assert!(client.end(&server, 150, 700));
        assert_eq!(client.phase(), Phase::Asking);
        assert!(client.asking.is_ended() && !client.asking.goes_on() && !client.asking.is_closed());
        assert_eq!((client.asking.answered, client.asking.our_isn), (150, 699));
        assert!(!client.end(&server, 150, 700), "once");
    }

    #[test]
    fn who_has_closed_its_side_is_answered_for() {
        let mut client = Client {
            phase: Phase::Spliced as u8,
            ..Client::default()
        };
        client.request.at = 50;
        client.closing.client(crate::packet::FIN, 51, 700);
        let server = FlowKey::default();
        let mut taken_back = client;
        assert!(taken_back.take_back(&server, 0, Phase::Spliced));
        assert!(!taken_back.closing.has_begun(), "its end comes again");
        let mut told = client;
        assert!(told.answer_for(&server, 700, 3));
        assert_eq!((told.asking.answered, told.asking.our_isn), (51, 699));
        client.closing.server(crate::packet::FIN, 701, 51);
        assert!(
            !client.answer_for(&server, 700, 3),
            "its server has said so itself"
        );
    }

    #[test]
    fn what_comes_at_once_was_doubled() {
        const MS: u64 = 1_000_000;
        // The clock of 32 bits may wrap.
        for start in [0, MS * u64::from(u32::MAX)] {
            let mut client = Client::default();
            client.ask(start);
            assert!(!client.asks_again(start));
            assert!(!client.asks_again(start + 149 * MS));
            assert!(client.asks_again(start + 150 * MS));
            assert!(!client.asks_again(start + 299 * MS), "it has just counted");
            assert!(client.asks_again(start + 300 * MS));
        }
    }

    #[test]
    fn a_request_is_not_taken_back_from_elsewhere() {
        let other = FlowKey {
            remote_port: [1, 1],
            ..FlowKey::default()
        };
        let proxied = Client {
            flags: IS_PROXIED,
            ..Client::default()
        };
        let (mut elsewhere, mut proxied) = (Client::default(), proxied);
        assert!(!elsewhere.take_back(&other, 3, Phase::Asking));
        assert!(!proxied.take_back(&FlowKey::default(), 3, Phase::Asking));
    }

    #[test]
    fn a_head_in_parts_is_known_by_its_numbers() {
        let mut client = Client {
            first_bytes: 10,
            ..Client::default()
        };
        client.numbering.client = u32::MAX;
        assert!(!client.is_of_parts(0), "it came as a whole");
        client.asking.held = 4;
        assert!(client.is_of_parts(u32::MAX) && client.is_of_parts(8));
        assert!(!client.is_of_parts(9) && !client.is_of_parts(u32::MAX - 1));
        assert!(client.take_back(&FlowKey::default(), 3, Phase::Asking));
        assert_eq!(client.asking.held, 4, "the client does not send it again");
    }

    #[test]
    fn a_client_that_has_all_outlives_its_server() {
        let mut idle = Client {
            phase: Phase::Spliced as u8,
            acknowledged: 700,
            ..Client::default()
        };
        idle.request.at = 50;
        let server = FlowKey::default();
        let mut client = idle;
        assert!(client.outlive(&server, 700));
        assert_eq!((client.phase(), client.asking.next()), (Phase::Asking, 50));
        assert_eq!(client.asking.our_isn.wrapping_add(1), 700);
        assert!(client.is_idle());
        let mut waiting = idle;
        waiting.request.left = 1;
        let mut ahead = idle;
        ahead.request.ahead = 1;
        let mut closing = idle;
        closing.closing.client(crate::packet::FIN, 51, 700);
        for mut client in [waiting, ahead, closing] {
            assert!(!client.outlive(&server, 700));
        }
        assert!(!idle.outlive(&server, 701), "a byte may come again");
    }
}
