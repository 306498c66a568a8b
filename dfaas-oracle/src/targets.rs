//! What the fuzz targets do with a run of bytes. The seeds in `fuzz/seeds` are run through them in every test run.

use std::time::Instant;

use dfaas_control::StrategyKind;

use crate::{frames, gossip, requests, responses};

/// A target's name, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 4] = [
    ("request", request),
    ("response", response),
    ("message", message),
    ("packet", packet),
];

/// A request's bytes.
pub fn request(bytes: &[u8]) {
    requests::check(bytes);
}

/// Three letters, and a response's bytes: what was asked (`H` for HEAD), and the lengths of the segments in turn.
pub fn response(bytes: &[u8]) {
    if let [method, first, second, stream @ ..] = bytes {
        let parts = [part(*first), part(*second)];
        responses::check(stream, *method == b'H', &parts);
    }
}

/// From `a` for one byte; most letters stand for more than that.
fn part(letter: u8) -> usize {
    let number = usize::from(letter.wrapping_sub(b'a'));
    1 + number * number % 1_459
}

/// A letter, `w` for water-filling, and messages between [`gossip::SEPARATOR`]s.
#[expect(
    clippy::disallowed_methods,
    reason = "only the time that passes from here counts"
)]
pub fn message(bytes: &[u8]) {
    if let [letter, bodies @ ..] = bytes {
        let strategy = if *letter == b'w' {
            StrategyKind::WaterFilling
        } else {
            StrategyKind::Recalc
        };
        gossip::check(bodies, strategy, Instant::now());
    }
}

/// A frame, whose end is a segment's options, too.
pub fn packet(bytes: &[u8]) {
    frames::check(bytes);
    frames::check_options(
        bytes
            .get(dfaas_common::packet::HEADERS_BYTES_MIN..)
            .unwrap_or(bytes),
    );
}
