//! The kernel decides about any request, in any segments, as the host does.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use dfaas_common::{
    decide::{Answer, Decision, Failed, Meter, Origin, decide},
    extent::Extent,
    http::{HELD_BYTES, Head, Marks, NAME_BYTES, Progress, STATES, Span, Target, Unframed, read},
    maps::{FALLBACKS, Function, IS_LOCAL, IS_PROXIED, PROXY},
    meter::Limit,
    pick::{SELF, SLOTS},
};
use dfaas_oracle::heads::{self, KNOWN};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};

use crate::{
    bench::{Bench, PEER_ID, PEER_INDEX, PEER_TOKENS, SEGMENT_SIZE, Verdict},
    frame::{CLIENT_ISN, Segment, Sent},
    handshake::open,
};

/// A function that only the peer has room for; its name is as long as [`KNOWN`].
const AWAY: &str = "aside";
const CASES: u32 = 1_500;
/// More is not held of a request.
const HELD_MAX: usize = 1_460;
/// A head in more parts than these is the proxy's.
const PARTS_MAX: u32 = 8;

#[test]
fn requests_are_decided_as_the_host_decides() {
    let seen = run(0);
    assert!(
        seen.local > 50 && seen.forwarded > 20 && seen.waiting > 20,
        "{seen:?}"
    );
    assert!(seen.answered > 300 && seen.proxied == 0, "{seen:?}");
}

#[test]
fn what_cannot_be_framed_is_handed_over_as_the_host_says() {
    let seen = run(PROXY);
    assert!(
        seen.local > 20 && seen.proxied > 100 && seen.answered > 200,
        "{seen:?}"
    );
}

/// What becomes of a connection with its last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// So many bytes are acknowledged, and more is asked for.
    Waiting(usize),
    Answered(Answer),
    /// The proxy has it, counted under this name.
    Proxied(&'static str),
    /// A request of this extent is on its way.
    Local(Extent),
    Forwarded(Extent),
}

/// How many connections ended in which way.
#[derive(Clone, Debug, Default)]
struct Seen {
    waiting: u32,
    answered: u32,
    proxied: u32,
    local: u32,
    forwarded: u32,
    /// Why the proxy got some.
    reasons: BTreeSet<&'static str>,
}

impl Seen {
    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Waiting(_) => self.waiting += 1,
            Outcome::Answered(_) => self.answered += 1,
            Outcome::Proxied(reason) => {
                self.proxied += 1;
                self.reasons.insert(reason);
            }
            Outcome::Local(_) => self.local += 1,
            Outcome::Forwarded(_) => self.forwarded += 1,
        }
    }
}

fn run(flags: u32) -> Seen {
    let mut bench = Bench::with_flags(flags);
    bench.offer(AWAY, Limit::NONE, Limit::UNLIMITED);
    bench.offer(KNOWN, Limit::UNLIMITED, Limit::UNLIMITED);
    bench.admit(Limit::UNLIMITED);
    let (bench, port, seen) = (
        RefCell::new(bench),
        Cell::new(10_000),
        RefCell::new(Seen::default()),
    );
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let cases = (request(), parts());
    let result = runner.run(&cases, |(request, parts)| {
        port.set(port.get() + 1);
        let (want, got) = decide_both(&mut bench.borrow_mut(), port.get(), &request, &parts, flags);
        prop_assert_eq!(got, want, "{}", request.escape_ascii());
        seen.borrow_mut().note(want);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    seen.into_inner()
}

/// The lengths of the first segments.
fn parts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        vec(1usize..1_400, 0..4),
        vec(1usize..60, 0..8),
        vec(1usize..8, 10..14)
    ]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let requests = prop_oneof![9 => heads::any_request(), 1 => heads::long()];
    let named = (requests, select(vec![KNOWN, KNOWN, AWAY]));
    named.prop_map(|(request, name)| replaced(request, KNOWN.as_bytes(), name.as_bytes()))
}

fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = (0..bytes.len().saturating_sub(from.len() - 1))
        .filter(|&at| bytes[at..].starts_with(from))
        .collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

/// Sends a request in segments of these lengths, until there is a decision. Returns the host's and the kernel's.
fn decide_both(
    bench: &mut Bench,
    port: u16,
    request: &[u8],
    parts: &[usize],
    flags: u32,
) -> (Outcome, Outcome) {
    let our_isn = open(bench, port);
    let (mut at, mut waits) = (0, 0);
    let (mut want, mut got) = (Outcome::Waiting(0), Outcome::Waiting(0));
    let lengths = parts.iter().copied().chain([usize::MAX, usize::MAX]);
    for length in lengths {
        let part = length.min(request.len() - at).min(SEGMENT_SIZE.into());
        if part == 0 {
            break;
        }
        let held = at;
        at += part;
        let sent = Sent {
            sequence: CLIENT_ISN + 1 + u32::try_from(held).unwrap(),
            ..Sent::data(port, our_isn.wrapping_add(1), &request[held..at])
        };
        want = on_host(&request[..at.min(HELD_MAX)], waits, flags & PROXY != 0);
        got = in_kernel(bench, &sent);
        waits += 1;
        if got != want || !matches!(want, Outcome::Waiting(_)) {
            break;
        }
    }
    (want, got)
}

/// What the host makes of the bytes that a connection brought, after waiting so often.
fn on_host(bytes: &[u8], waits: u32, has_proxy: bool) -> Outcome {
    let mut buffer = [0xaa; HELD_BYTES];
    buffer[..bytes.len()].copy_from_slice(bytes);
    let mut marks = Marks([7; STATES]);
    let or_proxied = |answer, event| {
        if has_proxy {
            Outcome::Proxied(event)
        } else {
            Outcome::Answered(answer)
        }
    };
    match read(&buffer, bytes.len(), &mut marks) {
        Progress::Malformed => Outcome::Answered(Answer::Malformed),
        Progress::OtherProtocol => or_proxied(Answer::Malformed, "proxied_not_http1"),
        Progress::Incomplete if bytes.len() >= SEGMENT_SIZE.into() => {
            or_proxied(Answer::HeadTooLong, "proxied_head")
        }
        Progress::Incomplete if has_proxy && waits >= PARTS_MAX => Outcome::Proxied("proxied_slow"),
        Progress::Incomplete => Outcome::Waiting(bytes.len()),
        Progress::Complete => {
            let head = Head::from_marks(&buffer, &marks);
            match head.unframed {
                Unframed::No => {
                    let decided = decided(bytes, &head);
                    if decided == Outcome::Answered(Answer::HeadTooLong) {
                        or_proxied(Answer::HeadTooLong, "proxied_head")
                    } else {
                        decided
                    }
                }
                Unframed::Coding => or_proxied(Answer::NotImplemented, "proxied_chunked"),
                Unframed::Upgrade => or_proxied(Answer::NotImplemented, "proxied_upgrade"),
                Unframed::Length => or_proxied(Answer::Malformed, "proxied_lengths"),
            }
        }
    }
}

/// What is decided about a request that is framed.
fn decided(bytes: &[u8], head: &Head) -> Outcome {
    let text = |span: Span| &bytes[usize::from(span.start)..][..usize::from(span.length)];
    let token = head.token.map(text);
    let is_token = |token: &[u8]| PEER_TOKENS.map(str::as_bytes).contains(&token);
    let origin = match head.node_id.map(text) {
        Some(id) if id == PEER_ID.as_bytes() && token.is_some_and(is_token) => Origin::Peer(PEER_INDEX),
        Some(id) if id == PEER_ID.as_bytes() => Origin::Forged,
        Some(_) => Origin::Stranger,
        None if head.from_node => Origin::Stranger,
        None if token.is_some() => Origin::Forged,
        None => Origin::User,
    };
    if let Some(answer) = origin.refusal() {
        return Outcome::Answered(answer);
    }
    let name = match head.target {
        Target::Function(name) => text(name),
        Target::Root => return Outcome::Answered(Answer::Root),
        Target::Other => return Outcome::Answered(Answer::Forbidden),
    };
    let function = [(KNOWN, Limit::UNLIMITED), (AWAY, Limit::NONE)]
        .into_iter()
        .find(|(known, _)| name.len() <= NAME_BYTES && name == known.as_bytes())
        .map(|(_, local)| function(local));
    // Of a request for a peer only so much is held that there is room for the stamp, and no head is cut.
    let (held, is_local) = match decide(function.as_ref(), origin, Failed::NONE, &mut Plenty) {
        Decision::Refuse(answer) => return Outcome::Answered(answer),
        Decision::Local => (bytes.len(), true),
        Decision::Forward(index) => {
            assert_eq!(index, PEER_INDEX);
            if head.length > SEGMENT_SIZE {
                return Outcome::Answered(Answer::HeadTooLong);
            }
            (bytes.len().min(SEGMENT_SIZE.into()), false)
        }
    };
    let mut extent = Extent::new(CLIENT_ISN + 1, u64::from(head.length) + head.body);
    extent.note(CLIENT_ISN + 1, u32::try_from(held).unwrap());
    if extent.left == 0 {
        // The rest is held until its turn.
        extent.ahead = u32::try_from(bytes.len()).unwrap() - (extent.at - CLIENT_ISN - 1);
    }
    if is_local {
        Outcome::Local(extent)
    } else {
        Outcome::Forwarded(extent)
    }
}

fn function(local: Limit) -> Function {
    Function {
        id: 0,
        hosted: 1,
        local,
        slots: [PEER_INDEX as u16; SLOTS],
        fallbacks: [SELF; FALLBACKS],
    }
}

/// Buckets that never run dry, but where there is none.
struct Plenty;

impl Meter for Plenty {
    fn take_local(&mut self, function: &Function) -> bool {
        function.local != Limit::NONE
    }

    fn take_admission(&mut self, _: &Function, peer: u32) -> bool {
        peer == PEER_INDEX
    }

    fn draw(&mut self, function: &Function) -> u32 {
        function.slots[0].into()
    }

    fn take_cap(&mut self, _: &Function, index: u32) -> bool {
        index == PEER_INDEX
    }
}

/// What the programs make of a segment.
fn in_kernel(bench: &mut Bench, sent: &Sent) -> Outcome {
    let before = bench.events();
    let seen = bench.ingress(&sent.bytes());
    assert_ne!(seen.verdict, Verdict::Drop, "{:?}", bench.events());
    if let Some(client) = bench.client(&sent.key()) {
        let upstream = bench.upstream(&client.upstream).unwrap();
        assert_eq!(upstream.client, sent.key());
        if client.is(IS_PROXIED) {
            assert_eq!(seen.verdict, Verdict::Pass);
            return Outcome::Proxied(proxied_since(&before, bench));
        }
        return if client.is(IS_LOCAL) {
            assert_eq!(seen.verdict, Verdict::Pass);
            Outcome::Local(client.request)
        } else {
            assert_eq!(seen.verdict, Verdict::Redirect);
            Outcome::Forwarded(client.request)
        };
    }
    let answer = Segment::read(&seen.frame);
    let text = answer.text();
    if text.is_empty() {
        let acknowledged = answer.tcp.acknowledgment_number - CLIENT_ISN - 1;
        return Outcome::Waiting(acknowledged as usize);
    }
    let is_it = |answer: &Answer| answer.response() == text || answer.kept_response().concat() == text;
    let known = Answer::ALL.into_iter().find(is_it);
    Outcome::Answered(known.unwrap_or_else(|| panic!("no answer of ours: {text}")))
}

/// The one reason that was counted since then.
fn proxied_since(before: &BTreeMap<&'static str, u64>, bench: &mut Bench) -> &'static str {
    let now = bench.events();
    let is_new = |(name, count): &(&&'static str, &u64)| {
        name.starts_with("proxied_") && before.get(**name).copied().unwrap_or(0) < **count
    };
    let new: Vec<&'static str> = now.iter().filter(is_new).map(|(name, _)| *name).collect();
    match new[..] {
        [reason] => reason,
        _ => panic!("not one reason: {new:?}"),
    }
}
