//! Frames through the real programs, by `BPF_PROG_TEST_RUN`: nothing is attached anywhere.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod again;
mod answers;
mod bench;
mod challenges;
mod damaged;
mod follow;
mod frame;
mod full;
mod guard;
mod handshake;
mod heads;
mod kept;
mod leaving;
mod log;
mod model;
mod onward;
mod over;
mod parts;
mod passing;
mod peers;
mod ports;
mod processors;
mod repeats;
mod segments;
mod states;
mod syns;
mod talk;
mod unanswered;
mod unread;
mod windows;
