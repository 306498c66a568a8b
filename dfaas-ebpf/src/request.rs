//! The first request of a connection: gathered, read, decided.

use dfaas_common::{
    decide::{self, Answer, Decision, Meter, Origin},
    flow::Role,
    http::{HELD_BYTES, Head, NAME_BYTES, NODE_ID_BYTES, Progress, Span, Target as Path, scan},
    maps::{
        Config, DATA_IN_SYN_FROM_ALL, DATA_IN_SYN_FROM_PEERS, Flow, FlowKey, Function, NO_FUNCTION, Opening,
        Pair,
    },
    packet::{ACK, Headers, Segment},
    pick::slot,
    tcp_options::{NO_WINDOW_SCALE, OUR_WINDOW_SCALE},
};

use crate::{
    Fault, compose, connect, count,
    ctx::{self, Packet, swallow},
    maps::{self, Scratch},
    open::FIRST_WINDOW,
};

/// How many servers may fail a request before its client is told.
const FAILURES_MAX: u8 = 3;

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
    opening: &mut Opening,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let offset = headers
        .sequence
        .get()
        .wrapping_sub(opening.client_isn)
        .wrapping_sub(1);
    if offset < opening.held {
        // Sent again, so our acknowledgment was lost.
        return acknowledge(packet, config, headers, opening);
    }
    if offset > opening.held {
        // Out of order: the client sends what is missing.
        count::event(|events| &mut events.out_of_handshake);
        return Ok(swallow());
    }
    let length = opening.held + u32::from(headers.payload_bytes());
    if length > u32::from(config.segment_size) || length > HELD_BYTES as u32 {
        return refuse(packet, headers, key, opening, Answer::HeadTooLong);
    }
    gather(packet, headers, key, opening.held, length, scratch)?;
    scratch.marks.clear();
    match scan(&scratch.held.bytes, length as usize, &mut scratch.marks) {
        Progress::Malformed => refuse(packet, headers, key, opening, Answer::Malformed),
        Progress::Incomplete => wait(packet, config, headers, key, opening, scratch),
        Progress::Complete => complete(packet, config, headers, key, opening, scratch),
    }
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
            count::event(|events| &mut events.held_missing);
            return Err(Fault::HeldMissing);
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
    opening: &mut Opening,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let length = scratch.held.length;
    if length >= u32::from(config.segment_size) {
        return refuse(packet, headers, key, opening, Answer::HeadTooLong);
    }
    if !maps::insert_held(key, &scratch.held) {
        return Err(Fault::MapFull);
    }
    opening.held = length;
    count::event(|events| &mut events.head_continued);
    acknowledge(packet, config, headers, opening)
}

/// Acknowledges what is held and opens the window for what is missing.
#[inline(always)]
fn acknowledge(packet: &Packet, config: &Config, headers: &Headers, opening: &Opening) -> Result<i32, Fault> {
    let room = u32::from(config.segment_size).saturating_sub(opening.held);
    let segment = Segment {
        sequence: opening.our_isn.wrapping_add(1),
        acknowledgment: opening.client_isn.wrapping_add(1).wrapping_add(opening.held),
        flags: ACK,
        window: window_of(room.min(FIRST_WINDOW.into()), opening),
        ..headers.answer()
    };
    compose::bare(packet, &segment, is_partial(headers, opening))?;
    Ok(packet.out())
}

/// A window of so many bytes in the unit that our SYN-ACK promised, rounded up.
#[inline(always)]
fn window_of(bytes: u32, opening: &Opening) -> u16 {
    let has_scale = opening.window_scale != NO_WINDOW_SCALE;
    let scale = if has_scale { u32::from(OUR_WINDOW_SCALE) } else { 0 };
    ((bytes + (1 << scale) - 1) >> scale) as u16
}

/// Whether the client's interface leaves checksums to hardware. The SYN and this segment must agree: by chance, a
/// whole checksum looks like a partial one in one packet of 65536.
#[inline(always)]
pub(crate) fn is_partial(headers: &Headers, opening: &Opening) -> bool {
    opening.partial != 0 && headers.has_partial_checksum()
}

/// Decides about a request whose head is whole.
#[inline(always)]
fn complete(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    opening: &mut Opening,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let head = Head::from_marks(&scratch.marks);
    let origin = origin(packet, headers, &head, scratch)?;
    let name = match head.target {
        Path::Function(name) => name,
        Path::Root if origin != Origin::Stranger => {
            return refuse(packet, headers, key, opening, Answer::Root);
        }
        Path::Root | Path::Other if origin == Origin::Stranger => {
            return refuse(packet, headers, key, opening, Answer::Stranger);
        }
        Path::Root | Path::Other => return refuse(packet, headers, key, opening, Answer::Forbidden),
    };
    let function = find_function(packet, headers, name, scratch)?;
    let now_ns = ctx::now_ns();
    let decision = if opening.failures > FAILURES_MAX {
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
    scratch.flow = new_flow(config, headers, opening, function_id, origin, now_ns);
    match decision {
        Decision::Local => connect::local(packet, config, headers, key, opening, scratch),
        Decision::Forward(index) => {
            scratch.flow.target = index;
            connect::peer(
                packet,
                config,
                headers,
                key,
                opening,
                head.fields_start.into(),
                scratch,
            )
        }
        Decision::Refuse(answer) => {
            count::refused(function_id, origin, answer);
            answer_and_end(packet, headers, key, opening, answer)
        }
    }
}

/// A flow as far as it is known before a server is chosen.
#[inline(always)]
fn new_flow(
    config: &Config,
    headers: &Headers,
    opening: &Opening,
    function: u32,
    origin: Origin,
    now_ns: u64,
) -> Flow {
    Flow {
        decided_ns: now_ns,
        role: Role::Local as u8,
        client_scale: opening.window_scale,
        server_scale: opening.window_scale,
        last_seen: config.tick,
        function,
        origin: if let Origin::Peer(peer) = origin { peer } else { 0 },
        client_isn: opening.client_isn,
        our_isn: opening.our_isn,
        upstream_isn: opening.client_isn,
        first_bytes: opening.held + u32::from(headers.payload_bytes()),
        attempts: 1,
        failures: opening.failures.into(),
        window: opening.window,
        segment_size: opening.segment_size,
        partial: u32::from(is_partial(headers, opening)),
        ..Flow::default()
    }
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
fn refuse(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    opening: &mut Opening,
    answer: Answer,
) -> Result<i32, Fault> {
    count::answer(answer);
    answer_and_end(packet, headers, key, opening, answer)
}

/// Turns the segment round into our answer.
#[inline(always)]
pub(crate) fn answer_and_end(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    opening: &mut Opening,
    answer: Answer,
) -> Result<i32, Fault> {
    let acknowledgment = headers
        .sequence
        .get()
        .wrapping_add(headers.payload_bytes().into());
    opening.reply = answer as u8 + 1;
    opening.answered = acknowledgment;
    if opening.held > 0 {
        maps::remove_held(key);
    }
    let sequence = opening.our_isn.wrapping_add(1);
    let segment = Segment {
        sequence,
        acknowledgment,
        ..headers.answer()
    };
    compose::answer(packet, &segment, answer, is_partial(headers, opening))?;
    Ok(packet.out())
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
    scratch.marks.clear();
    if scan(&scratch.held.bytes, length as usize, &mut scratch.marks) != Progress::Complete {
        return Ok(false);
    }
    let head = Head::from_marks(&scratch.marks);
    let Path::Function(name) = head.target else {
        return Ok(false);
    };
    let origin = origin(packet, headers, &head, scratch)?;
    let Some(function) = find_function(packet, headers, name, scratch)? else {
        return Ok(false);
    };
    let now_ns = ctx::now_ns();
    if function.hosted == 0 || !may_use_syn(config, headers, origin, function, now_ns, scratch) {
        return Ok(false);
    }
    let isn = headers.sequence.get();
    scratch.flow = Flow {
        decided_ns: now_ns,
        role: Role::Passed as u8,
        spliced: 1,
        last_seen: config.tick,
        function: function.id,
        origin: if let Origin::Peer(peer) = origin { peer } else { 0 },
        client_isn: isn,
        upstream_isn: isn,
        ..Flow::default()
    };
    if !maps::insert_flow(key, &scratch.flow) {
        count::event(|events| &mut events.flows_full);
        return Ok(false);
    }
    count::served(&scratch.flow);
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
