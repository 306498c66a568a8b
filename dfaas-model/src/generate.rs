//! Scripts by chance.

use fastrand::Rng;

use crate::{
    MILLISECOND, Micros, SECOND, http,
    script::{
        Answer, Client, Ending, Framing, Function, Listening, Manner, Method, Network, Request, Script, Side,
    },
};

/// A request of a node's own limit: a longer head is refused.
const HEAD_BYTES_MAX: usize = 1_250;

/// The script of a seed.
#[must_use]
pub fn script(seed: u64) -> Script {
    let mut random = Rng::with_seed(seed);
    let random = &mut random;
    let peers = if one_in(random, 4) {
        random.u8(5..=10)
    } else {
        random.u8(1..=4)
    };
    let is_quiet = one_in(random, 3);
    let has_trouble = one_in(random, 2);
    let mut listening: Vec<Listening> = (0..=peers).map(|_| listening(random, has_trouble)).collect();
    if listening[0] == Listening::DropsEarly {
        // Nothing stands between the node and its own stack.
        listening[0] = Listening::Late;
    }
    let mut next_id = 1;
    let clients = (0..random.u8(1..=3))
        .map(|_| client(random, has_trouble, &mut next_id))
        .collect();
    Script {
        seed,
        peers,
        listening,
        servers: side(random),
        clients,
        networks: [network(random, is_quiet), network(random, is_quiet)],
        mishaps: None,
    }
}

fn one_in(random: &mut Rng, count: u32) -> bool {
    random.u32(0..count) == 0
}

fn side(random: &mut Rng) -> Side {
    Side {
        sack: !one_in(random, 4),
        is_scaled: !one_in(random, 6),
        quick_acks: one_in(random, 2),
    }
}

fn listening(random: &mut Rng, has_trouble: bool) -> Listening {
    if has_trouble && one_in(random, 12) {
        return if random.bool() {
            Listening::Refuses
        } else {
            Listening::DropsEarly
        };
    }
    if random.bool() {
        Listening::Early
    } else {
        Listening::Late
    }
}

fn network(random: &mut Rng, is_quiet: bool) -> Network {
    let rate = |random: &mut Rng, most: u32| if random.bool() { random.u32(0..most) } else { 0 };
    let mut network = Network {
        delay: [50, 200, 1_000, 2_500][random.usize(0..4)],
        cut: rate(random, 100),
        merged: rate(random, 400),
        ..Network::default()
    };
    if !is_quiet {
        network.lost = rate(random, 120);
        network.doubled = rate(random, 60);
        network.late = rate(random, 100);
        if one_in(random, 5) {
            network.delay = 20 * MILLISECOND;
        }
    }
    network
}

fn client(random: &mut Rng, has_trouble: bool, next_id: &mut u32) -> Client {
    let count = if one_in(random, 8) {
        random.u32(10..=30)
    } else {
        random.u32(1..=6)
    };
    let mut requests: Vec<Request> = (0..count)
        .map(|index| {
            let id = *next_id;
            *next_id += 1;
            request(random, id, index, has_trouble)
        })
        .collect();
    if let Some(last) = requests.iter().position(|request| request.says_close) {
        requests.truncate(last + 1);
    }
    let ending = match random.u32(0..10) {
        0 => Ending::HalfClose,
        1 => Ending::Reset(random.u64(0..100 * MILLISECOND)),
        2 => Ending::Linger(random.u64(0..4 * SECOND)),
        _ => Ending::Close,
    };
    Client {
        start: random.u64(0..50 * MILLISECOND),
        side: side(random),
        requests,
        ending,
    }
}

fn request(random: &mut Rng, id: u32, index: u32, has_trouble: bool) -> Request {
    let method = match random.u32(0..10) {
        0..=5 => Method::Get,
        6 => Method::Head,
        _ => Method::Post,
    };
    let function = match random.u32(0..20) {
        0..=6 => Function::Here,
        7..=13 => Function::Away,
        14..=16 => Function::Shared,
        17 => Function::Unknown,
        18 => Function::Full,
        _ => Function::Outside,
    };
    let is_served = matches!(function, Function::Here | Function::Away | Function::Shared);
    let mut request = Request {
        id,
        method,
        function,
        head_bytes: if random.bool() {
            0
        } else {
            random.usize(80..HEAD_BYTES_MAX)
        },
        body_bytes: if method == Method::Post && is_served {
            body_bytes(random)
        } else {
            0
        },
        cuts: Vec::new(),
        gap: pause(random),
        is_pipelined: index > 0 && one_in(random, 6),
        pause: pause(random),
        says_close: has_trouble && one_in(random, 25),
        answer: answer(random, has_trouble),
    };
    if !random.bool() {
        let length = http::request(&request).len();
        request.cuts = (0..random.u32(1..=5)).map(|_| random.usize(1..length)).collect();
        request.cuts.sort_unstable();
    }
    request
}

fn body_bytes(random: &mut Rng) -> usize {
    match random.u32(0..10) {
        0..=4 => random.usize(0..300),
        5..=8 => random.usize(0..4_000),
        _ => random.usize(0..40_000),
    }
}

fn pause(random: &mut Rng) -> Micros {
    match random.u32(0..8) {
        0..=3 => 0,
        4 | 5 => random.u64(0..5 * MILLISECOND),
        6 => random.u64(0..60 * MILLISECOND),
        _ => random.u64(0..SECOND),
    }
}

fn answer(random: &mut Rng, has_trouble: bool) -> Answer {
    let manner = match random.u32(0..100) {
        0..=2 if has_trouble => Manner::Close,
        3..=5 if has_trouble => Manner::Reset,
        6 if has_trouble => Manner::Silent,
        7..=9 if has_trouble => Manner::Refuse,
        10 | 11 if has_trouble => Manner::BreakOff,
        _ => Manner::Answer,
    };
    let framing = match random.u32(0..20) {
        0..=10 => Framing::Length,
        11 if has_trouble => Framing::End,
        _ => Framing::Chunks(random.usize(1..2_000)),
    };
    let mut body_bytes = body_bytes(random);
    if let Framing::Chunks(size) = framing {
        body_bytes = body_bytes.min(size * 60);
    }
    Answer {
        manner,
        delay: pause(random),
        framing,
        body_bytes,
        head_bytes: if one_in(random, 3) {
            random.usize(60..1_200)
        } else {
            0
        },
        writes: random.u8(1..=3),
        gap: pause(random) / 8,
        has_interim: one_in(random, 20),
        has_wrong_body: has_trouble && one_in(random, 60),
        says_close: has_trouble && one_in(random, 25),
        closes_after: (has_trouble && one_in(random, 12)).then(|| random.u64(0..25 * MILLISECOND)),
    }
}
