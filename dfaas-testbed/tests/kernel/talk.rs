//! What a client and the local stack say to each other, in whose numbers.

use dfaas_common::meter::Limit;

use crate::{
    bench::{Bench, Seen},
    frame::{CLIENT_ISN, Sent},
    handshake::open,
    onward::of_stack,
};

pub(crate) const REQUEST: &str = "GET /function/known HTTP/1.1\r\nHost: n\r\n\r\n";
pub(crate) const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const SERVER_ISN: u32 = 5_000;

/// A client's connection to the local stack.
pub(crate) struct Talk {
    /// What the client sent last that had a payload.
    pub(crate) sent: Sent,
    pub(crate) client_next: u32,
    pub(crate) our_next: u32,
    server_next: u32,
}

impl Talk {
    /// A client that has opened its connection.
    pub(crate) fn open(bench: &mut Bench, port: u16) -> Self {
        let our_next = open(bench, port).wrapping_add(1);
        Self {
            sent: Sent::data(port, our_next, b""),
            client_next: CLIENT_ISN + 1,
            our_next,
            server_next: SERVER_ISN,
        }
    }

    /// A client whose request has been passed to the stack, and taken by nobody yet.
    pub(crate) fn asked(port: u16, request: &str) -> (Bench, Self) {
        let mut bench = Bench::new();
        bench.offer("known", Limit::UNLIMITED, Limit::NONE);
        let mut talk = Self::open(&mut bench, port);
        talk.client_says(&mut bench, request);
        talk.server_takes(&mut bench);
        (bench, talk)
    }

    /// The client's next segment.
    pub(crate) fn client(&mut self, flags: &'static str, payload: &str) -> Sent {
        let sent = Sent {
            sequence: self.client_next,
            acknowledgment: self.our_next,
            flags,
            payload: payload.into(),
            ..self.sent.clone()
        };
        self.client_next = self.client_next.wrapping_add(payload.len() as u32);
        sent
    }

    /// The client sends (a part of) a request.
    pub(crate) fn client_says(&mut self, bench: &mut Bench, request: &str) -> Seen {
        self.sent = self.client("AP", request);
        bench.ingress(&self.sent.bytes())
    }

    /// The client sends its last segment again.
    pub(crate) fn client_again(&self) -> Sent {
        Sent {
            acknowledgment: self.our_next,
            ..self.sent.clone()
        }
    }

    /// The server takes the connection of a client that had sent so many bytes of its request before its last segment.
    pub(crate) fn server_takes_from(&mut self, bench: &mut Bench, before: u32) -> Seen {
        let greeting = Sent {
            acknowledgment: self.sent.sequence - before,
            ..self.server_sent("SA", "")
        };
        self.server_next += 1;
        bench.egress(&greeting.bytes_to(self.sent.source))
    }

    /// The server takes the connection, and gets the request.
    pub(crate) fn server_takes(&mut self, bench: &mut Bench) -> Seen {
        self.server_takes_with(bench, &[])
    }

    /// The same with these options in its SYN.
    pub(crate) fn server_takes_with(&mut self, bench: &mut Bench, options: &[u8]) -> Seen {
        let greeting = Sent {
            acknowledgment: self.sent.sequence,
            options: options.to_vec(),
            ..self.server_sent("SA", "")
        };
        self.server_next += 1;
        bench.egress(&greeting.bytes_to(self.sent.source))
    }

    /// Whether the server has taken the connection.
    pub(crate) fn is_met(&self) -> bool {
        self.server_next != SERVER_ISN
    }

    /// The server sends (a part of) its answer.
    pub(crate) fn server_says(&mut self, bench: &mut Bench, response: &str) -> Seen {
        let seen = bench.egress(&self.server("AP", response));
        self.server_next += response.len() as u32;
        self.our_next = self.our_next.wrapping_add(response.len() as u32);
        seen
    }

    /// The server's next segment, which acknowledges all that was sent so far.
    pub(crate) fn server(&self, flags: &'static str, payload: &str) -> Vec<u8> {
        self.server_sent(flags, payload).bytes_to(self.sent.source)
    }

    /// The same, to be changed.
    pub(crate) fn server_sent(&self, flags: &'static str, payload: &str) -> Sent {
        Sent {
            sequence: self.server_next,
            acknowledgment: self.client_next,
            flags,
            payload: payload.into(),
            ..of_stack(&self.sent)
        }
    }
}
