//! The first request of a connection: gathered, read, decided.

use dfaas_common::{
    decide::{self, Answer, Decision, FAILURES, Meter, Origin},
    extent::{Extent, Place},
    http::{HELD_BYTES, Head, NAME_BYTES, NODE_ID_BYTES, Progress, Span, Target as Path, Unframed},
    maps::{
        Client, Config, DATA_IN_SYN_FROM_ALL, DATA_IN_SYN_FROM_PEERS, FlowKey, Function, HEAD_PART,
        IS_CURRENT, IS_LAST, IS_LOCAL, IS_NATURAL, NO_FUNCTION, Opening, Peer, Phase, SYN_IS_PARTIAL,
        Upstream,
    },
    numbering::Numbering,
    packet::{ACK, FIN, Headers},
    pairing::TOKEN_BYTES,
    tcp_options::NO_WINDOW_SCALE,
};

use crate::{
    Fault, ahead,
    client::is_partial,
    compose,
    connect::{self, UPSTREAM_SEGMENT_BYTES},
    count,
    ctx::{self, HelperFailed, PASS, Packet, swallow},
    maps::{self, Scratch},
    open,
    proxy::{self, Reason},
    release, scan,
    tokens::Tokens,
};

/// A head in more parts than these comes from somebody slow, whom the proxy waits for.
const HEAD_PARTS_MAX: u8 = 8;

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
        acknowledge(packet, config, headers, scratch)?;
        return Ok(packet.out());
    }
    if held > 0 && maps::held(key).is_none_or(|known| known.length != held) {
        // What its client believes to have arrived had to make room for others'.
        count::event(|events| &mut events.held_missing);
        if maps::client(key).is_some() {
            let number = Answer::Unavailable.number(true);
            return answer_it(packet, headers, key, number, scratch);
        }
        // The stack says so with a reset.
        open::forget(key, scratch);
        return Ok(PASS);
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
        Progress::Malformed => refuse(packet, headers, key, Answer::Malformed, true, scratch),
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
    if length >= u32::from(config.segment_size(headers.family())) {
        return proxy::hand_over(packet, config, headers, key, Reason::Head, scratch);
    }
    let has_proxy = config.has_proxy(headers.family());
    if has_proxy && scratch.opening.flags >= HEAD_PARTS_MAX * HEAD_PART {
        return proxy::hand_over(packet, config, headers, key, Reason::Slow, scratch);
    }
    scratch.held.at = scratch.opening.client_isn.wrapping_add(1);
    if !maps::insert_held(key, &scratch.held) {
        return Err(Fault::MAP_FULL);
    }
    scratch.opening.held = length;
    scratch.opening.flags = scratch.opening.flags.saturating_add(HEAD_PART);
    if let Some(client) = maps::client(key) {
        // The server of the last request may not have heard yet that its client has the answer: it is told when it
        // sends that again.
        park(client, &scratch.opening);
    }
    open::keep(key, &scratch.opening);
    count::event(|events| &mut events.head_continued);
    acknowledge(packet, config, headers, scratch)?;
    Ok(packet.out())
}

/// Acknowledges what is held and opens the window for as much as can be held.
///
/// All of it: a window that is smaller than what the client has left, and than a segment, it does not use before its
/// persist timer ends (RFC 9293, section 3.8.6.2.1), and a head that is too long would wait for it.
///
/// It shows what we know of the connection, too: who has lost it, or has reset it, answers with a reset that stands where it
/// must (RFC 5961, sections 3.2 and 4.2).
#[inline(never)]
pub(crate) fn acknowledge(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let opening = scratch.opening;
    let segment_size = u32::from(config.segment_size(headers.family()));
    // Linux sends segments of half of the largest window, and none in a smaller one: it would wait for its persist timer.
    let room = segment_size.saturating_sub(opening.held).max(segment_size / 2);
    compose::answer(headers, scratch);
    scratch.segment.sequence = opening.our_isn.wrapping_add(1);
    scratch.segment.acknowledgment = opening.client_isn.wrapping_add(1).wrapping_add(opening.held);
    scratch.segment.flags = ACK;
    scratch.segment.window = open::window_of(room, &opening);
    compose::bare(packet, is_partial(headers, &opening), scratch)
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
    let ends = !may_go_on(headers, &head, key, scratch);
    if let Some(answer) = origin.refusal() {
        return refuse(packet, headers, key, answer, ends, scratch);
    }
    let name = match head.target {
        Path::Function(name) => name,
        Path::Root => return refuse(packet, headers, key, Answer::Root, ends, scratch),
        Path::Other => return refuse(packet, headers, key, Answer::Forbidden, ends, scratch),
    };
    let function = find_function(packet, headers, name, scratch)?;
    let now_ns = ctx::now_ns();
    let decision = if scratch.opening.failures as usize >= FAILURES {
        count::event(|events| &mut events.upstream_failed);
        Decision::Refuse(Answer::Unavailable)
    } else {
        let mut tokens = Tokens::new(config, now_ns);
        decide::decide(function, origin, scratch.opening.failed, &mut tokens)
    };
    let function_id = function.map_or(NO_FUNCTION, |function| function.id);
    let target = match decision {
        Decision::Refuse(answer) => {
            count::refused(function_id, origin, answer);
            return answer_it(packet, headers, key, answer.number(ends), scratch);
        }
        Decision::Local => 0,
        Decision::Forward(index) => index,
    };
    if let Some(reason) = hindrance(config, headers, target, head.length) {
        return proxy::hand_over(packet, config, headers, key, reason, scratch);
    }
    let read = scratch.held.length;
    if target != 0 {
        // Room for the stamp; the client sends the rest again.
        scratch.held.length = scratch
            .held
            .length
            .min(config.segment_size(headers.family()).into());
    }
    prepare(
        config,
        headers,
        key,
        u64::from(head.length).wrapping_add(head.body),
        scratch,
    );
    ahead::hold_rest(packet, headers, key, read, scratch)?;
    decided(function_id, origin, now_ns, head.wants_no_body, scratch);
    (scratch.client.may_repeat, scratch.upstream.target) = (head.is_idempotent.into(), target);
    scratch.upstream.flags |= u8::from(head.closes) * IS_LAST;
    if target == 0 {
        connect::local(packet, config, headers, key, scratch)
    } else {
        connect::peer(packet, headers, key, head.fields_start.into(), scratch)
    }
}

/// Notes for the entries what was decided.
#[inline(always)]
fn decided(function: u32, origin: Origin, now_ns: u64, wants_no_body: bool, scratch: &mut Scratch) {
    scratch.client.ask(now_ns);
    let upstream = &mut scratch.upstream;
    upstream.decided_ns = now_ns;
    upstream.function = function;
    upstream.origin = if let Origin::Peer(peer) = origin { peer } else { 0 };
    upstream.response.begin(wants_no_body);
}

/// Why a request with a head of so many bytes cannot go to a target from here, if it cannot.
#[inline(always)]
fn hindrance(config: &Config, headers: &Headers, target: u32, head_bytes: u16) -> Option<Reason> {
    if !reaches(config, headers, target) {
        return Some(Reason::Family);
    }
    // With the stamp it has to fit into a segment.
    (target != 0 && head_bytes > config.segment_size(headers.family())).then_some(Reason::Head)
}

/// Whether a server takes connections of the client's version of IP.
#[inline(always)]
fn reaches(config: &Config, headers: &Headers, target: u32) -> bool {
    if target == 0 {
        return config.has_local(headers.family());
    }
    maps::target(target).is_none_or(|target| !target.addresses[headers.family() as usize].is_none())
}

/// Sets up the client's entry and that of a server that is not chosen yet, for a request of so many bytes.
#[inline(never)]
pub(crate) fn prepare(
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    request_bytes: u64,
    scratch: &mut Scratch,
) {
    let start = scratch.opening.client_isn.wrapping_add(1);
    if let Some(client) = maps::client(key) {
        *scratch.client = **client;
    } else {
        ctx::clear(&mut scratch.client);
    }
    scratch.held.at = start;
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
    client.family = headers.family() as u16;
    client.attempts = 1;
    *scratch.upstream = Upstream {
        client: *key,
        last_seen: config.tick,
        next: client.request.end(),
        has_end: u8::from(client.request.is_end_within_reach()),
        acknowledged: scratch.opening.next(),
        flags: IS_CURRENT,
        ..Upstream::default()
    };
}

/// Who sent the request.
#[inline(always)]
fn origin(packet: &Packet, headers: &Headers, head: &Head, scratch: &mut Scratch) -> Result<Origin, Fault> {
    if !head.from_node {
        // A user's own token would follow ours in the request, and a peer reads the last.
        let is_plain = head.token.is_none();
        return Ok(if is_plain { Origin::User } else { Origin::Forged });
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
    scratch.token = [0; NODE_ID_BYTES];
    if let Some(token) = head.token
        && usize::from(token.length) == TOKEN_BYTES
    {
        let at = headers.payload_offset() + u32::from(token.start);
        packet.read_name(at, &mut scratch.token, TOKEN_BYTES as u32)?;
    }
    Ok(match scan::dfaas_sender() {
        scan::STRANGER => Origin::Stranger,
        scan::FORGED => Origin::Forged,
        index => Origin::Peer(index),
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

/// Whether another request may follow an answer of ours to this one: all of it is here, and nothing else.
#[inline(always)]
fn may_go_on(headers: &Headers, head: &Head, key: &FlowKey, scratch: &Scratch) -> bool {
    let is_all = headers.flags & FIN == 0
        && u64::from(head.length).wrapping_add(head.body) == u64::from(scratch.held.length);
    // Our answers have a body, which one to HEAD must not have.
    let is_framed = is_all && !head.closes && !head.wants_no_body;
    is_framed && maps::client(key).is_none_or(|client| client.request.ahead == 0)
}

/// Counts an answer that concerns no function, and gives it.
#[inline(always)]
pub(crate) fn refuse(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    answer: Answer,
    ends: bool,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    count::answer(answer);
    answer_it(packet, headers, key, answer.number(ends), scratch)
}

/// Turns the segment round into the answer of a number. If it ends the connection, servers of earlier requests are let
/// go.
#[inline(always)]
pub(crate) fn answer_it(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    number: u8,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let start = scratch.opening.client_isn.wrapping_add(1);
    if maps::client(key).is_some_and(|client| client.has_decided(start)) {
        count::event(|events| &mut events.decided_twice);
        return Ok(swallow());
    }
    note_answer(headers, key, number.into(), scratch);
    if let Some(client) = maps::client(key) {
        park(client, &scratch.opening);
        // Nothing is current from here on.
        client.upstream = FlowKey::default();
        if !scratch.opening.goes_on() {
            release::parked(packet, key, scratch)?;
        }
    }
    turn_round(packet, headers, key, scratch)?;
    Ok(packet.out())
}

#[inline(never)]
fn note_answer(headers: &Headers, key: &FlowKey, number: u32, scratch: &mut Scratch) {
    if scratch.opening.held > 0 {
        maps::remove_held(key);
    }
    scratch.opening.reply = number as u8 + 1;
    scratch.opening.answered = headers
        .sequence
        .get()
        .wrapping_add(headers.payload_bytes().into());
}

#[inline(never)]
fn turn_round(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let partial = is_partial(headers, &scratch.opening);
    let reply = maps::reply_by_number(scratch.opening.reply.wrapping_sub(1)).ok_or(HelperFailed)?;
    compose::answer(headers, scratch);
    scratch.segment.sequence = scratch.opening.our_isn.wrapping_add(1);
    scratch.segment.acknowledgment = scratch.opening.answered;
    open::give(packet, reply, partial, scratch)?;
    if scratch.opening.goes_on() {
        scratch.opening.go_on(reply.length);
    }
    open::keep(key, &scratch.opening);
    Ok(())
}

/// Notes what the server of the last request expects next.
#[inline(always)]
pub(crate) fn park(client: &Client, opening: &Opening) {
    let start = opening.client_isn.wrapping_add(1);
    if client.has_decided(start) {
        return;
    }
    if let Some(upstream) = maps::upstream(&client.upstream) {
        upstream.update(|upstream| upstream.flags &= !IS_CURRENT);
        upstream.next = client.numbering.sequence_to_server(start);
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
    if function.hosted == 0
        || !reaches(config, headers, 0)
        || !may_use_syn(config, headers, origin, function, now_ns, scratch)
    {
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
    prepare(config, headers, key, request_bytes, scratch);
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
    upstream.numbering = scratch.client.numbering;
    upstream.flags |= IS_LOCAL | IS_NATURAL;
    decided(function.id, origin, now_ns, head.wants_no_body, scratch);
    if !claim_both(key, scratch) {
        count::event(|events| &mut events.flows_full);
        return Ok(false);
    }
    count::event(|events| &mut events.syn_accepted);
    Ok(true)
}

/// Enters a client and the local stack, which is its server, under the same key.
#[inline(always)]
fn claim_both(key: &FlowKey, scratch: &Scratch) -> bool {
    if !maps::claim_upstream(key, &scratch.upstream) {
        return false;
    }
    let is_entered = maps::claim_client(key, &scratch.client);
    if !is_entered {
        maps::remove_upstream(key);
    }
    is_entered
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
    let mut tokens = Tokens::new(config, now_ns);
    match origin {
        Origin::Stranger | Origin::Forged => false,
        Origin::User => config.flags & DATA_IN_SYN_FROM_ALL != 0 && tokens.take_local(function),
        Origin::Peer(index) => {
            let is_known = |peer: &Peer| peer.addresses[headers.family() as usize] == headers.source;
            maps::peer(&scratch.peer).is_some_and(is_known) && tokens.take_admission(function, index)
        }
    }
}
