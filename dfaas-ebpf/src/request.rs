//! The first request of a connection: gathered, read, decided.

use aya_ebpf::bindings::TC_ACT_OK;
use dfaas_common::{
    decide::{self, Answer, Decision, Meter, Origin},
    extent::{Extent, Place},
    http::{HELD_BYTES, Head, NAME_BYTES, NODE_ID_BYTES, Progress, Span, Target as Path, Unframed},
    maps::{
        Client, Config, DATA_IN_SYN_FROM_ALL, DATA_IN_SYN_FROM_PEERS, FlowKey, Function, HEAD_PART,
        IS_CURRENT, IS_LOCAL, IS_NATURAL, NO_FUNCTION, Opening, PROXY, Pair, Phase, SYN_IS_PARTIAL, Upstream,
    },
    numbering::Numbering,
    packet::{ACK, Headers, Segment},
    pick::slot,
    tcp_options::{NO_WINDOW_SCALE, OUR_WINDOW_SCALE},
};

use crate::{
    Fault, ahead,
    client::is_partial,
    compose,
    connect::{self, UPSTREAM_SEGMENT_BYTES},
    count,
    ctx::{self, HelperFailed, Packet, swallow},
    maps::{self, Scratch},
    open,
    proxy::{self, Reason},
    release, scan,
};

/// How many servers may fail a request before its client is told.
const FAILURES_MAX: u8 = 3;
/// A head in more parts than these comes from somebody slow, whom the proxy waits for.
const HEAD_PARTS_MAX: u8 = 8;

/// The tokens of this moment.
struct Tokens {
    now_ns: u64,
}

impl Meter for Tokens {
    #[inline(always)]
    fn take_local(&mut self, function: &Function) -> bool {
        maps::take(&function.local, self.now_ns)
    }

    #[inline(always)]
    fn take_admission(&mut self, function: &Function, peer: u32) -> bool {
        let limit = maps::admission(&Pair {
            function: function.id,
            peer,
        });
        limit.is_some_and(|limit| maps::take(limit, self.now_ns))
    }

    #[inline(always)]
    fn draw(&mut self, function: &Function) -> u32 {
        function.slots[slot(maps::next_draw(function.id))].into()
    }

    #[inline(always)]
    fn take_cap(&mut self, function: &Function, index: u32) -> bool {
        let limit = maps::cap(&Pair {
            function: function.id,
            peer: index,
        });
        limit.is_some_and(|limit| maps::take(limit, self.now_ns))
    }
}

/// Handles a segment with data of a client whose request is not decided yet.
#[inline(always)]
pub(crate) fn handle(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let held = scratch.opening.held;
    let offset = headers
        .sequence
        .get()
        .wrapping_sub(scratch.opening.client_isn)
        .wrapping_sub(1);
    if offset < held {
        // Sent again, so our acknowledgment was lost.
        return acknowledge(packet, config, headers, scratch);
    }
    if held > 0 && maps::held(key).is_none() {
        // What its client believes to have arrived had to make room for others'. The stack says so with a reset.
        count::event(|events| &mut events.held_missing);
        open::forget(key, scratch);
        return Ok(TC_ACT_OK);
    }
    if offset > held {
        // Out of order: the client sends what is missing.
        count::event(|events| &mut events.out_of_handshake);
        return Ok(swallow());
    }
    // What does not fit into one segment towards a server is cut off, and comes again.
    let length = (held + u32::from(headers.payload_bytes())).min(UPSTREAM_SEGMENT_BYTES);
    gather(packet, headers, key, held, length, scratch)?;
    match read(length, scratch) {
        Progress::Malformed => refuse(packet, headers, key, Answer::Malformed, scratch),
        Progress::OtherProtocol => proxy::hand_over(packet, config, headers, key, Reason::NotHttp1, scratch),
        Progress::Incomplete => wait(packet, config, headers, key, scratch),
        Progress::Complete => complete(packet, config, headers, key, scratch),
    }
}

/// Reads the held bytes as a request's head.
#[inline(always)]
fn read(length: u32, scratch: &mut Scratch) -> Progress {
    let state = scan::dfaas_scan_request(length) as u8;
    Progress::from_state(state, &scratch.marks, &scratch.held.bytes, length as usize)
}

/// Brings what is held and what came now together, in the scratch space and in the packet behind its headers.
#[inline(always)]
fn gather(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    held_bytes: u32,
    length: u32,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let at = headers.payload_offset();
    if held_bytes > 0 {
        let Some(held) = maps::held(key) else {
            return Err(Fault::HELD_MISSING);
        };
        packet.read(at, scratch.copy.as_mut_ptr(), length - held_bytes)?;
        packet.resize(at + length)?;
        packet.write(at, held.bytes.as_ptr(), held_bytes)?;
        packet.write(at + held_bytes, scratch.copy.as_ptr(), length - held_bytes)?;
    }
    packet.read(at, scratch.held.bytes.as_mut_ptr(), length)?;
    scratch.held.length = length;
    Ok(())
}

/// Keeps a part of a head and asks for more.
#[inline(always)]
fn wait(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let length = scratch.held.length;
    if length >= u32::from(config.segment_size) {
        return proxy::hand_over(packet, config, headers, key, Reason::Head, scratch);
    }
    let has_proxy = config.flags & PROXY != 0;
    if has_proxy && scratch.opening.flags >= HEAD_PARTS_MAX * HEAD_PART {
        return proxy::hand_over(packet, config, headers, key, Reason::Slow, scratch);
    }
    if !maps::insert_held(key, &scratch.held) {
        return Err(Fault::MAP_FULL);
    }
    scratch.opening.held = length;
    scratch.opening.flags = scratch.opening.flags.saturating_add(HEAD_PART);
    open::keep(key, &scratch.opening);
    count::event(|events| &mut events.head_continued);
    acknowledge(packet, config, headers, scratch)
}

/// Acknowledges what is held and opens the window for as much as can be held.
///
/// All of it: a window that is smaller than what the client has left, and than a segment, it does not use before its
/// persist timer ends (RFC 9293, section 3.8.6.2.1), and a head that is too long would wait for it.
#[inline(always)]
fn acknowledge(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let opening = scratch.opening;
    let room = u32::from(config.segment_size).saturating_sub(opening.held);
    scratch.segment = Segment {
        sequence: opening.our_isn.wrapping_add(1),
        acknowledgment: opening.client_isn.wrapping_add(1).wrapping_add(opening.held),
        flags: ACK,
        window: window_of(room, &opening),
        ..headers.answer()
    };
    compose::bare(packet, is_partial(headers, &opening), scratch)?;
    Ok(packet.out())
}

/// A window of so many bytes in the unit that our SYN-ACK promised, rounded up.
#[inline(always)]
pub(crate) fn window_of(bytes: u32, opening: &Opening) -> u16 {
    let has_scale = opening.window_scale != NO_WINDOW_SCALE;
    let scale = if has_scale { u32::from(OUR_WINDOW_SCALE) } else { 0 };
    ((bytes + (1 << scale) - 1) >> scale) as u16
}

/// Decides about a request whose head is whole.
#[inline(always)]
fn complete(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let head = Head::from_marks(&scratch.held.bytes, &scratch.marks);
    if head.unframed != Unframed::No {
        let reason = Reason::of(head.unframed);
        return proxy::hand_over(packet, config, headers, key, reason, scratch);
    }
    let origin = origin(packet, headers, &head, scratch)?;
    let name = match head.target {
        Path::Function(name) => name,
        Path::Root if origin != Origin::Stranger => {
            return refuse(packet, headers, key, Answer::Root, scratch);
        }
        Path::Root | Path::Other if origin == Origin::Stranger => {
            return refuse(packet, headers, key, Answer::Stranger, scratch);
        }
        Path::Root | Path::Other => return refuse(packet, headers, key, Answer::Forbidden, scratch),
    };
    let function = find_function(packet, headers, name, scratch)?;
    let now_ns = ctx::now_ns();
    let decision = if scratch.opening.failures > FAILURES_MAX {
        count::event(|events| &mut events.upstream_failed);
        Decision::Refuse(Answer::Unavailable)
    } else {
        decide::decide(function, origin, &mut Tokens { now_ns })
    };
    let function_id = if let Some(function) = function {
        function.id
    } else {
        NO_FUNCTION
    };
    let target = match decision {
        Decision::Refuse(answer) => {
            count::refused(function_id, origin, answer);
            return answer_and_end(packet, headers, key, answer, scratch);
        }
        Decision::Local => 0,
        Decision::Forward(index) => index,
    };
    let read = scratch.held.length;
    if target != 0 {
        // Room for the stamp; the client sends the rest again.
        scratch.held.length = scratch.held.length.min(config.segment_size.into());
    }
    prepare(
        config,
        key,
        u64::from(head.length).wrapping_add(head.body),
        scratch,
    );
    ahead::hold_rest(packet, headers, key, read, scratch)?;
    let upstream = &mut scratch.upstream;
    upstream.decided_ns = now_ns;
    upstream.function = function_id;
    upstream.origin = if let Origin::Peer(peer) = origin { peer } else { 0 };
    upstream.target = target;
    upstream.response.begin(head.wants_no_body);
    if target == 0 {
        connect::local(packet, config, headers, key, scratch)
    } else {
        connect::peer(packet, config, headers, key, head.fields_start.into(), scratch)
    }
}

/// Sets up the client's entry and that of a server that is not chosen yet, for a request of so many bytes.
#[inline(never)]
pub(crate) fn prepare(config: &Config, key: &FlowKey, request_bytes: u64, scratch: &mut Scratch) {
    let start = scratch.opening.client_isn.wrapping_add(1);
    if let Some(client) = maps::client(key) {
        scratch.client = *client;
    } else {
        scratch.client = Client::default();
    }
    let length = scratch.held.length;
    let client = &mut scratch.client;
    client.request = Extent::new(start, request_bytes);
    if let Place::Crossing(keep) = client.request.note(start, length) {
        // The next request begins in the same segment.
        scratch.held.length = keep;
        count::event(|events| &mut events.cut);
    }
    client.first_bytes = scratch.held.length;
    client.asking = scratch.opening;
    client.last_seen = config.tick;
    client.attempts = 1;
    scratch.upstream = Upstream {
        client: *key,
        last_seen: config.tick,
        next: client.request.end(),
        has_end: u8::from(client.request.is_end_within_reach()),
        flags: IS_CURRENT,
        ..Upstream::default()
    };
}

/// Who sent the request.
#[inline(always)]
fn origin(packet: &Packet, headers: &Headers, head: &Head, scratch: &mut Scratch) -> Result<Origin, Fault> {
    if !head.from_node {
        return Ok(Origin::User);
    }
    let Some(id) = head.node_id else {
        return Ok(Origin::Stranger);
    };
    if usize::from(id.length) > NODE_ID_BYTES {
        return Ok(Origin::Stranger);
    }
    scratch.peer.id = [0; NODE_ID_BYTES];
    let at = headers.payload_offset() + u32::from(id.start);
    packet.read_name(at, &mut scratch.peer.id, id.length.into())?;
    Ok(match maps::peer(&scratch.peer) {
        Some(peer) => Origin::Peer(peer.index),
        None => Origin::Stranger,
    })
}

/// The function of a name, if it is known.
#[inline(always)]
fn find_function(
    packet: &Packet,
    headers: &Headers,
    name: Span,
    scratch: &mut Scratch,
) -> Result<Option<&'static Function>, Fault> {
    if usize::from(name.length) > NAME_BYTES {
        return Ok(None);
    }
    scratch.function.name = [0; NAME_BYTES];
    let at = headers.payload_offset() + u32::from(name.start);
    packet.read_name(at, &mut scratch.function.name, name.length.into())?;
    Ok(maps::function(&scratch.function))
}

/// Counts an answer that concerns no function, and gives it.
#[inline(always)]
pub(crate) fn refuse(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    answer: Answer,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    count::answer(answer);
    answer_and_end(packet, headers, key, answer, scratch)
}

/// Turns the segment round into our answer. Servers of earlier requests are let go.
#[inline(always)]
pub(crate) fn answer_and_end(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    answer: Answer,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    note_answer(headers, key, answer as u32, scratch);
    if let Some(client) = maps::client(key) {
        park(client, &scratch.opening);
        // Nothing is current from here on.
        client.upstream = FlowKey::default();
        release::parked(packet, headers, key, client, scratch)?;
    }
    turn_round(packet, headers, answer as u32, scratch)?;
    Ok(packet.out())
}

#[inline(never)]
fn note_answer(headers: &Headers, key: &FlowKey, answer: u32, scratch: &mut Scratch) {
    if scratch.opening.held > 0 {
        maps::remove_held(key);
    }
    scratch.opening.reply = answer as u8 + 1;
    scratch.opening.answered = headers
        .sequence
        .get()
        .wrapping_add(headers.payload_bytes().into());
    open::keep(key, &scratch.opening);
}

#[inline(never)]
fn turn_round(
    packet: &Packet,
    headers: &Headers,
    answer: u32,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let partial = is_partial(headers, &scratch.opening);
    scratch.segment = Segment {
        sequence: scratch.opening.our_isn.wrapping_add(1),
        acknowledgment: scratch.opening.answered,
        ..headers.answer()
    };
    let reply = maps::reply_by_number(answer as u8).ok_or(HelperFailed)?;
    compose::write_reply(packet, reply, partial, scratch)
}

/// Notes what the server of the last request expects next.
#[inline(always)]
pub(crate) fn park(client: &Client, opening: &Opening) {
    if let Some(upstream) = maps::upstream(&client.upstream) {
        upstream.flags &= !IS_CURRENT;
        upstream.next = client
            .numbering
            .sequence_to_server(opening.client_isn.wrapping_add(1));
    }
}

/// Takes a request that came in a SYN, if its sender may send it so and the local platform has room for it.
///
/// The SYN then goes up the stack as it is; its data counts only if the listener takes it (RFC 7413).
#[inline(always)]
pub(crate) fn accept_syn(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<bool, Fault> {
    let length = u32::from(headers.payload_bytes());
    if config.flags & (DATA_IN_SYN_FROM_PEERS | DATA_IN_SYN_FROM_ALL) == 0 || length > HELD_BYTES as u32 {
        return Ok(false);
    }
    packet.read(headers.payload_offset(), scratch.held.bytes.as_mut_ptr(), length)?;
    if read(length, scratch) != Progress::Complete {
        return Ok(false);
    }
    let head = Head::from_marks(&scratch.held.bytes, &scratch.marks);
    let Path::Function(name) = head.target else {
        return Ok(false);
    };
    let request_bytes = u64::from(head.length).wrapping_add(head.body);
    if head.unframed != Unframed::No || request_bytes < u64::from(length) {
        return Ok(false);
    }
    let origin = origin(packet, headers, &head, scratch)?;
    let Some(function) = find_function(packet, headers, name, scratch)? else {
        return Ok(false);
    };
    let now_ns = ctx::now_ns();
    if function.hosted == 0 || !may_use_syn(config, headers, origin, function, now_ns, scratch) {
        return Ok(false);
    }
    let isn = headers.sequence.get();
    scratch.held.length = length;
    scratch.opening = Opening {
        client_isn: isn,
        window: headers.window.get(),
        segment_size: UPSTREAM_SEGMENT_BYTES as u16,
        window_scale: NO_WINDOW_SCALE,
        flags: if headers.has_partial_checksum() {
            SYN_IS_PARTIAL
        } else {
            0
        },
        ..Opening::default()
    };
    prepare(config, key, request_bytes, scratch);
    let client = &mut scratch.client;
    client.phase = Phase::Spliced as u8;
    client.flags = IS_LOCAL | IS_NATURAL;
    client.upstream = *key;
    client.numbering = Numbering {
        client: isn.wrapping_add(1),
        upstream: isn.wrapping_add(1),
        ..Numbering::default()
    };
    let upstream = &mut scratch.upstream;
    upstream.decided_ns = now_ns;
    upstream.function = function.id;
    upstream.origin = if let Origin::Peer(peer) = origin { peer } else { 0 };
    upstream.numbering = scratch.client.numbering;
    upstream.flags |= IS_LOCAL | IS_NATURAL;
    upstream.response.begin(head.wants_no_body);
    if !maps::insert_client(key, &scratch.client) || !maps::claim_upstream(key, &scratch.upstream) {
        maps::remove_client(key);
        count::event(|events| &mut events.flows_full);
        return Ok(false);
    }
    count::event(|events| &mut events.syn_accepted);
    Ok(true)
}

/// A handshake proves that the sender is where it says; without one, a peer's address has to be the known one.
#[inline(always)]
fn may_use_syn(
    config: &Config,
    headers: &Headers,
    origin: Origin,
    function: &Function,
    now_ns: u64,
    scratch: &Scratch,
) -> bool {
    let mut tokens = Tokens { now_ns };
    match origin {
        Origin::Stranger => false,
        Origin::User => config.flags & DATA_IN_SYN_FROM_ALL != 0 && tokens.take_local(function),
        Origin::Peer(index) => {
            let address = headers.source.raw().to_ne_bytes();
            maps::peer(&scratch.peer).is_some_and(|peer| peer.address == address)
                && tokens.take_admission(function, index)
        }
    }
}
