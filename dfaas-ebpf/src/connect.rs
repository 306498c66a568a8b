//! The server's side of the handshake: the SYN that carries the request or announces it, and what comes back.

use aya_ebpf::bindings::TC_ACT_OK;
use dfaas_common::{
    decide::{Answer, Origin},
    flow::Role,
    maps::{Config, DATA_IN_SYN_LOCAL, Flow, FlowKey, Held, Opening, TARGET_DATA_IN_SYN, Target},
    packet::{ACK, Be16, HEADERS_BYTES, Headers, PSH, RST, SYN, Segment},
    tcp_options::{NO_WINDOW_SCALE, SynOptions, rescale_window},
};

use crate::{
    Fault, compose, count,
    ctx::{self, Packet, swallow},
    maps::{self, Scratch},
    open, request,
};

/// How many source ports are tried before a request is refused.
const PORT_TRIES: u32 = 4;

/// After so many SYNs with the request in them, one without is sent: something on the way may not like them.
const ATTEMPTS_WITH_DATA: u32 = 2;

/// After so many SYNs without an answer a request is decided again; once it was, after each. The client's
/// retransmissions drive this: they start at 0.2 s and double.
const ATTEMPTS_FIRST_SERVER: u32 = 2;
/// A request that could not be decided again is given up after so many.
const ATTEMPTS_MAX: u32 = 6;

/// Sends the request to the local stack.
#[inline(always)]
pub(crate) fn local(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    opening: &mut Opening,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if !maps::insert_held(key, &scratch.held) {
        return Err(Fault::MapFull);
    }
    if !maps::insert_flow(key, &scratch.flow) {
        count::event(|events| &mut events.flows_full);
        return no_room(packet, headers, key, opening, &scratch.flow);
    }
    let flow = scratch.flow;
    maps::remove_opening(key);
    let with_data = config.flags & DATA_IN_SYN_LOCAL != 0;
    send_syn(packet, headers, &flow, with_data, key, scratch)?;
    Ok(TC_ACT_OK)
}

/// Sends the request to a peer, stamped.
#[inline(always)]
pub(crate) fn peer(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    opening: &mut Opening,
    stamp_at: u32,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let Some(target) = maps::target(scratch.flow.target).filter(|target| target.address != [0; 4]) else {
        // The peer left between the decision and now.
        return no_room(packet, headers, key, opening, &scratch.flow);
    };
    let stamp_bytes = stamp(packet, headers, stamp_at, scratch)?;
    scratch.flow.stamp_bytes = stamp_bytes;
    let Some(port) = claim_port(config, key, &target, scratch) else {
        count::event(|events| &mut events.ports_exhausted);
        return no_room(packet, headers, key, opening, &scratch.flow);
    };
    let upstream = FlowKey {
        remote: target.address,
        local: config.address,
        remote_port: target.port,
        local_port: port,
    };
    scratch.flow.role = Role::ToPeer as u8;
    scratch.flow.source = config.address;
    scratch.flow.source_port = port;
    scratch.flow.destination = target.address;
    scratch.flow.destination_port = target.port;
    scratch.flow.other = upstream;
    if !maps::insert_held(key, &scratch.held) || !maps::insert_flow(key, &scratch.flow) {
        maps::remove_flow(&upstream);
        count::event(|events| &mut events.flows_full);
        return no_room(packet, headers, key, opening, &scratch.flow);
    }
    let flow = scratch.flow;
    maps::remove_opening(key);
    send_syn(
        packet,
        headers,
        &flow,
        target.flags & TARGET_DATA_IN_SYN != 0,
        key,
        scratch,
    )?;
    Ok(packet.route())
}

/// Refuses a request for which this node lacks what a connection takes, and counts it with its function.
#[inline(always)]
fn no_room(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    opening: &mut Opening,
    flow: &Flow,
) -> Result<i32, Fault> {
    let origin = if flow.origin == 0 {
        Origin::User
    } else {
        Origin::Peer(flow.origin)
    };
    count::refused(flow.function, origin, Answer::Unavailable);
    request::answer_and_end(packet, headers, key, opening, Answer::Unavailable)
}

/// Writes the stamp into the request, in the packet and in the scratch space. Returns its length.
#[inline(always)]
fn stamp(packet: &Packet, headers: &Headers, stamp_at: u32, scratch: &mut Scratch) -> Result<u32, Fault> {
    let stamp = maps::stamp().ok_or(Fault::Helper)?;
    let length = scratch.held.length;
    if stamp.length == 0 {
        return Ok(0);
    }
    let at = headers.payload_offset();
    packet.resize(at + length + stamp.length)?;
    packet.read(at + stamp_at, scratch.copy.as_mut_ptr(), length - stamp_at)?;
    packet.write(
        at + stamp_at + stamp.length,
        scratch.copy.as_ptr(),
        length - stamp_at,
    )?;
    packet.write_stamp(at + stamp_at, stamp)?;
    packet.read(at, scratch.held.bytes.as_mut_ptr(), length + stamp.length)?;
    scratch.held.length = length + stamp.length;
    Ok(stamp.length)
}

/// Claims a free source port by inserting the upstream's entry under it.
#[inline(always)]
fn claim_port(config: &Config, key: &FlowKey, target: &Target, scratch: &mut Scratch) -> Option<[u8; 2]> {
    let start = ctx::random();
    let mut tries = 0;
    scratch.flow.role = Role::ToClient as u8;
    scratch.flow.source = key.local;
    scratch.flow.source_port = key.local_port;
    scratch.flow.destination = key.remote;
    scratch.flow.destination_port = key.remote_port;
    scratch.flow.other = *key;
    while tries < PORT_TRIES {
        let port = Be16::new(config.nat_first + ((start.wrapping_add(tries)) as u16 & config.nat_mask));
        let port = port.raw().to_ne_bytes();
        scratch.flow.upstream_isn = sequence_start(config, target, port, scratch.flow.decided_ns);
        let upstream = FlowKey {
            remote: target.address,
            local: config.address,
            remote_port: target.port,
            local_port: port,
        };
        if maps::claim_flow(&upstream, &scratch.flow) {
            return Some(port);
        }
        tries += 1;
    }
    None
}

/// The initial sequence number of an upstream connection (RFC 9293, section 3.4.1: a clock and a secret), so that a
/// port can be used again while the peer still remembers its last connection.
#[inline(always)]
fn sequence_start(config: &Config, target: &Target, port: [u8; 2], now_ns: u64) -> u32 {
    let tuple =
        u32::from_ne_bytes(target.address) ^ u32::from(u16::from_ne_bytes(port)).wrapping_mul(0x9e37_79b1);
    let mixed = (tuple ^ config.secret).wrapping_mul(0x85eb_ca6b);
    ((now_ns >> 6) as u32).wrapping_add(mixed ^ (mixed >> 15))
}

/// What becomes of a client's packet while its server has not answered.
pub(crate) enum Waiting {
    /// The verdict is this.
    Verdict(i32),
    /// The request is undecided again; the packet brings it.
    Undecided,
}

/// Sends the upstream SYN again, takes the request back from a server that does not answer, or keeps what a client
/// sends before the server has answered.
#[inline(always)]
pub(crate) fn waiting(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    flow: &mut Flow,
    scratch: &mut Scratch,
) -> Result<Waiting, Fault> {
    if headers.flags & RST != 0 {
        end(key, flow);
        count::event(|events| &mut events.reset);
        return Ok(Waiting::Verdict(swallow()));
    }
    if headers.payload_bytes() == 0 {
        return Ok(Waiting::Verdict(swallow()));
    }
    if !flow.is_first(headers.sequence.get()) {
        return keep_more(packet, headers, key, flow, scratch).map(Waiting::Verdict);
    }
    let is_whole = u32::from(headers.payload_bytes()) == flow.first_bytes;
    let patience = if flow.failures == 0 {
        ATTEMPTS_FIRST_SERVER
    } else {
        1
    };
    if flow.attempts >= patience && is_whole {
        take_back(key, flow)?;
        return Ok(Waiting::Undecided);
    }
    if flow.attempts >= ATTEMPTS_MAX {
        take_back(key, flow)?;
        count::event(|events| &mut events.upstream_failed);
        let opening = maps::opening(key).ok_or(Fault::MapFull)?;
        return request::answer_and_end(packet, headers, key, opening, Answer::Unavailable)
            .map(Waiting::Verdict);
    }
    flow.attempts += 1;
    count::event(|events| &mut events.upstream_retried);
    let with_data = flow.attempts <= ATTEMPTS_WITH_DATA && config.flags & DATA_IN_SYN_LOCAL != 0;
    let copy = *flow;
    send_syn(packet, headers, &copy, with_data, key, scratch)?;
    Ok(Waiting::Verdict(if flow.role() == Role::Local {
        TC_ACT_OK
    } else {
        packet.route()
    }))
}

/// Makes a flow an undecided connection again.
#[inline(always)]
fn take_back(key: &FlowKey, flow: &Flow) -> Result<(), Fault> {
    let opening = Opening {
        client_isn: flow.client_isn,
        our_isn: flow.our_isn,
        window: flow.window,
        segment_size: flow.segment_size,
        window_scale: flow.client_scale,
        partial: flow.partial as u8,
        failures: flow.failures as u8 + 1,
        ..Opening::default()
    };
    if !maps::insert_opening(key, &opening) {
        return Err(Fault::MapFull);
    }
    count::event(|events| &mut events.decided_again);
    end(key, flow);
    Ok(())
}

/// Appends a segment to the held bytes; it goes with them once the server has answered.
#[inline(always)]
fn keep_more(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    flow: &Flow,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let Some(held) = maps::held(key) else {
        count::event(|events| &mut events.held_missing);
        return Ok(swallow());
    };
    let offset = headers
        .sequence
        .get()
        .wrapping_sub(flow.client_isn)
        .wrapping_sub(1);
    let more = u32::from(headers.payload_bytes());
    let length = held.length;
    // The whole has to fit into one segment of the upstream.
    if offset.wrapping_add(flow.stamp_bytes) != length || length + more > UPSTREAM_SEGMENT_BYTES {
        return Ok(swallow());
    }
    let at = headers.payload_offset();
    packet.read(at, scratch.copy.as_mut_ptr(), more)?;
    packet.resize(at + length + more)?;
    packet.write(at, held.bytes.as_ptr(), length)?;
    packet.write(at + length, scratch.copy.as_ptr(), more)?;
    packet.read(at, held.bytes.as_mut_ptr(), length + more)?;
    held.length = length + more;
    Ok(swallow())
}

/// The most that a segment carries over Ethernet.
const UPSTREAM_SEGMENT_BYTES: u32 = 1_460;

/// Makes the packet the upstream SYN.
#[inline(always)]
fn send_syn(
    packet: &Packet,
    headers: &Headers,
    flow: &Flow,
    with_data: bool,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let is_forwarded = flow.role() == Role::ToPeer;
    let direction = if is_forwarded {
        flow.readdress(headers.onward())
    } else {
        headers.onward()
    };
    let segment = Segment {
        sequence: flow.upstream_isn,
        acknowledgment: 0,
        flags: SYN,
        window: flow.window,
        ..direction
    };
    let options = SynOptions {
        segment_size: flow.segment_size,
        window_scale: flow.client_scale,
    }
    .write();
    let partial = flow.partial != 0;
    let held: Option<&Held> = if with_data {
        maps::held(key).map(|held| &*held)
    } else {
        None
    };
    Ok(compose::syn(packet, &segment, &options, held, partial, scratch)?)
}

/// Handles the answer of the local stack to our SYN, at its way out.
#[inline(always)]
pub(crate) fn local_answer(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    flow: &mut Flow,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if headers.flags & RST != 0 {
        return Ok(refused(flow));
    }
    let partial = headers.has_partial_checksum();
    match meet(packet, headers, key, flow, scratch)? {
        Next::Nothing => Ok(swallow()),
        Next::Acknowledge => {
            acknowledge_client(packet, headers, flow, headers.onward(), partial)?;
            Ok(TC_ACT_OK)
        }
        // Both are made in the client's numbers, and translated when they come in like any packet of its own.
        Next::Replay => {
            let segment = Segment {
                sequence: flow.client_isn.wrapping_add(1),
                acknowledgment: flow.our_isn.wrapping_add(1),
                ..upstream_segment(headers, flow)
            };
            replay(packet, key, &segment, partial, scratch)?;
            Ok(packet.back_in())
        }
        Next::Complete => {
            let segment = Segment {
                sequence: flow.client_isn.wrapping_add(1).wrapping_add(flow.first_bytes),
                acknowledgment: flow.our_isn.wrapping_add(1),
                ..upstream_segment(headers, flow)
            };
            compose::bare(packet, &segment, partial)?;
            Ok(packet.back_in())
        }
    }
}

/// Handles a peer's answer to our SYN, at its way in. `upstream` is the entry that it found.
#[inline(always)]
pub(crate) fn peer_answer(
    packet: &Packet,
    headers: &Headers,
    upstream: &mut Flow,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let key = upstream.other;
    let Some(flow) = maps::flow(&key) else {
        return Ok(swallow());
    };
    let to_client = upstream.readdress(headers.onward());
    if headers.flags & RST != 0 {
        if headers.flags & ACK == 0 || flow.taken_by(headers.acknowledgment.get()).is_none() {
            count::event(|events| &mut events.out_of_handshake);
            return Ok(swallow());
        }
        return Ok(refused(flow));
    }
    let partial = is_partial_answer(packet, headers, scratch)?;
    let next = meet(packet, headers, &key, flow, scratch)?;
    upstream.server_isn = flow.server_isn;
    upstream.server_scale = flow.server_scale;
    upstream.spliced = flow.spliced;
    match next {
        Next::Nothing => Ok(swallow()),
        Next::Acknowledge => {
            acknowledge_client(packet, headers, flow, to_client, partial)?;
            Ok(packet.route())
        }
        Next::Replay => {
            let segment = Segment {
                sequence: flow.upstream_isn.wrapping_add(1),
                acknowledgment: flow.server_isn.wrapping_add(1),
                ..upstream_segment(headers, flow)
            };
            replay(packet, &key, &segment, partial, scratch)?;
            Ok(packet.out())
        }
        Next::Complete => {
            let taken = flow.first_bytes.wrapping_add(flow.stamp_bytes);
            let segment = Segment {
                sequence: flow.upstream_isn.wrapping_add(1).wrapping_add(taken),
                acknowledgment: flow.server_isn.wrapping_add(1),
                ..upstream_segment(headers, flow)
            };
            compose::bare(packet, &segment, partial)?;
            Ok(packet.out())
        }
    }
}

/// What a SYN-ACK calls for.
enum Next {
    /// It answers no SYN of ours.
    Nothing,
    /// The server has the request: tell the client.
    Acknowledge,
    /// The server wants (more of) the request.
    Replay,
    /// The server has the request but waits for the handshake to end: end it.
    Complete,
}

/// Learns the server's numbers from its SYN-ACK.
#[inline(always)]
fn meet(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    flow: &mut Flow,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    let is_syn_ack = headers.flags & (SYN | ACK) == SYN | ACK;
    let taken = flow.taken_by(headers.acknowledgment.get());
    let is_again = flow.spliced != 0;
    if !is_syn_ack || taken.is_none() || (is_again && flow.server_isn != headers.sequence.get()) {
        count::event(|events| &mut events.out_of_handshake);
        return Ok(Next::Nothing);
    }
    let taken = taken.unwrap_or_default();
    let options = open::read_options(packet, headers, scratch)?;
    flow.server_isn = headers.sequence.get();
    flow.server_scale = if flow.client_scale == NO_WINDOW_SCALE {
        NO_WINDOW_SCALE
    } else {
        options.window_scale
    };
    flow.spliced = 1;
    if !is_again {
        count::served(flow);
    }
    let sent = flow.first_bytes.wrapping_add(flow.stamp_bytes);
    let held_bytes = maps::held(key).map_or(0, |held| held.length);
    if taken < sent || held_bytes > sent {
        count::event(|events| &mut events.replayed);
        return Ok(Next::Replay);
    }
    if is_again {
        return Ok(Next::Complete);
    }
    count::event(|events| &mut events.data_in_syn);
    Ok(Next::Acknowledge)
}

/// The common part of what we send to the server on the client's behalf.
#[inline(always)]
fn upstream_segment(headers: &Headers, flow: &Flow) -> Segment {
    let scale = if flow.client_scale == NO_WINDOW_SCALE {
        0
    } else {
        flow.client_scale
    };
    Segment {
        flags: ACK,
        window: rescale_window(flow.window, 0, scale),
        ..headers.answer()
    }
}

/// Sends the held bytes, all of them: what the server has already, it drops.
#[inline(always)]
fn replay(
    packet: &Packet,
    key: &FlowKey,
    segment: &Segment,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let Some(held) = maps::held(key) else {
        count::event(|events| &mut events.held_missing);
        return Err(Fault::HeldMissing);
    };
    let segment = Segment {
        flags: ACK | PSH,
        ..*segment
    };
    Ok(compose::data(packet, &segment, held, partial, scratch)?)
}

/// Tells the client that its first bytes have arrived, and how large the server's window is.
#[inline(always)]
fn acknowledge_client(
    packet: &Packet,
    headers: &Headers,
    flow: &Flow,
    direction: Segment,
    partial: bool,
) -> Result<(), Fault> {
    let segment = Segment {
        sequence: flow.our_isn.wrapping_add(1),
        acknowledgment: flow.client_isn.wrapping_add(1).wrapping_add(flow.first_bytes),
        flags: ACK,
        // The window of a SYN-ACK is not scaled (RFC 7323, section 2.2).
        window: rescale_window(headers.window.get(), 0, flow.promised_scale()),
        ..direction
    };
    Ok(compose::bare(packet, &segment, partial)?)
}

/// Notes a refusal. The client's next retransmission, which is at most moments away, is decided again; a platform
/// that was restarted meanwhile serves it.
#[inline(always)]
fn refused(flow: &mut Flow) -> i32 {
    count::event(|events| &mut events.upstream_refused);
    if flow.spliced == 0 {
        flow.attempts = flow.attempts.max(ATTEMPTS_FIRST_SERVER);
    }
    swallow()
}

/// Forgets a flow, both entries of it.
#[inline(always)]
pub(crate) fn end(key: &FlowKey, flow: &Flow) {
    let is_forwarded = !flow.role().is_served_here();
    let other = flow.other;
    maps::remove_held(key);
    if is_forwarded {
        maps::remove_held(&other);
        maps::remove_flow(&other);
    }
    maps::remove_flow(key);
}

/// Whether a peer's SYN-ACK leaves its checksum to hardware.
///
/// A whole checksum can look like a partial one; then it is verified, because the same SYN-ACK would come again.
#[inline(always)]
fn is_partial_answer(packet: &Packet, headers: &Headers, scratch: &mut Scratch) -> Result<bool, Fault> {
    if !headers.has_partial_checksum() {
        return Ok(false);
    }
    let options = u32::from(headers.options_bytes());
    let mut sum = headers.pseudo_sum() + headers.tcp_sum();
    if options > 0 {
        packet.read(HEADERS_BYTES as u32, scratch.copy.as_mut_ptr(), options)?;
        sum += ctx::sum(&mut scratch.copy, options);
    }
    Ok(dfaas_common::packet::fold(sum) != 0xffff)
}
