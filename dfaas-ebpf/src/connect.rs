//! The way to a server: one that this connection has been to before, or a new one by a SYN that carries the request or
//! announces it, and what comes back.

use dfaas_common::{
    decide::{Answer, Origin},
    maps::{
        Client, Config, DATA_IN_SYN_LOCAL, FlowKey, Held, IS_CURRENT, IS_LOCAL, IS_NATURAL, IS_SPLICED,
        Known, Phase, SYN_PERMITS_SACK, TARGET_DATA_IN_SYN, Target, Upstream,
    },
    numbering::Numbers,
    packet::{FIN, Headers, SYN},
    tcp_options::{NO_WINDOW_SCALE, OUR_WINDOW_SCALE, SynOptions, rescale_window},
};

use crate::{
    Fault,
    client::{self, is_partial},
    compose, count,
    ctx::{HelperFailed, PASS, Packet, swallow},
    maps::{self, Locked, Scratch},
    open, port, release, request,
    upstream::window_behind,
};

/// The most that a segment carries over Ethernet.
pub(crate) const UPSTREAM_SEGMENT_BYTES: u32 = 1_460;

/// Sends the request to the local stack.
#[inline(always)]
pub(crate) fn local(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if let Some(upstream) = maps::upstream(key) {
        if upstream.client == *key && upstream.is_free() {
            scratch.server = *key;
            return reuse(packet, headers, key, upstream, scratch);
        }
    }
    if let Some(client) = maps::client(key) {
        request::park(client, &scratch.opening);
    }
    scratch.client.flags = 0;
    local_stack(packet, config, headers, key, scratch)
}

/// Opens a connection to the local stack. One that there is under the same addresses is reset: the reset and the SYN both
/// go by the stack's backlog, which keeps their order.
#[inline(always)]
pub(crate) fn local_stack(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let start = scratch.opening.client_isn.wrapping_add(1);
    let is_in_the_way = maps::upstream(key).is_some();
    if is_in_the_way {
        if maps::client(key).is_some_and(|client| client.has_decided(start)) {
            return Ok(left_to_another());
        }
        release::local(packet, key, scratch)?;
    }
    number(start, 0, scratch);
    scratch.client.flags |= IS_LOCAL;
    scratch.client.upstream = *key;
    scratch.upstream.flags |= IS_LOCAL;
    let with_data = config.flags & DATA_IN_SYN_LOCAL != 0;
    scratch.server = *key;
    let verdict = connect(packet, headers, with_data, key, scratch)?;
    let is_syn = verdict == PASS;
    Ok(if is_in_the_way && is_syn {
        packet.to_stack()
    } else {
        verdict
    })
}

/// Sends the request to a peer, stamped.
#[inline(always)]
pub(crate) fn peer(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    stamp_at: u32,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let index = scratch.upstream.target;
    let family = headers.family() as usize;
    let Some(target) = maps::target(index) else {
        return no_room(packet, headers, key, scratch);
    };
    if target.addresses[family].is_none() {
        // The peer left between the decision and now.
        return no_room(packet, headers, key, scratch);
    }
    let length = scratch.held.length;
    // What the client sees of its segment is without the stamp.
    scratch.upstream.numbering.stamp_at = stamp_at as u16;
    scratch.upstream.numbering.stamp_bytes = stamp(packet, headers, stamp_at, index, scratch)? as u16;
    scratch.client.first_bytes = length;
    let known = scratch.client.known[Known::place(index)];
    if u32::from(known.target) == index {
        scratch.server = FlowKey {
            remote: target.addresses[family],
            remote_port: target.port,
            local_port: known.port,
        };
        if let Some(upstream) = maps::upstream(&scratch.server) {
            if upstream.client == *key && upstream.is_free() {
                return reuse(packet, headers, key, upstream, scratch);
            }
        }
    }
    if let Some(client) = maps::client(key) {
        if client.has_decided(scratch.opening.client_isn.wrapping_add(1)) {
            return Ok(left_to_another());
        }
        request::park(client, &scratch.opening);
    }
    release::pushed_out(packet, key, index, scratch)?;
    new_peer(packet, headers, key, target, scratch)
}

/// Opens a connection to a peer.
#[inline(always)]
fn new_peer(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    target: &Target,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if port::dfaas_claim(headers.family()) == 0 {
        count::event(|events| &mut events.ports_exhausted);
        return no_room(packet, headers, key, scratch);
    }
    let index = scratch.upstream.target;
    let client = &mut scratch.client;
    client.known[Known::place(index)] = Known {
        target: index as u16,
        port: scratch.server.local_port,
    };
    client.flags = 0;
    client.upstream = scratch.server;
    // No data for the next server where the last one kept silent: something on the way may not like it in SYNs. None of a
    // request that may not run twice, as it might where the answer to the SYN is lost (RFC 9110, section 9.2.2).
    let with_data = target.flags & TARGET_DATA_IN_SYN != 0
        && client.may_repeat != 0
        && scratch.opening.failures == 0
        && maps::takes_data_in_syn(index);
    connect(packet, headers, with_data, key, scratch)
}

/// Sends the SYN to a server, once the client's entry is made or brought up to date: of processors that do so at the same
/// time, one succeeds. The server's key is in the scratch space; that of a peer has been claimed already.
#[inline(always)]
fn connect(
    packet: &Packet,
    headers: &Headers,
    with_data: bool,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    scratch.client.phase = Phase::Connecting as u8;
    scratch.client.numbering = scratch.upstream.numbering;
    let known = maps::client(key);
    let is_new = known.is_none();
    let is_entered = match known {
        Some(client) => decide(client, scratch),
        None => maps::claim_client(key, &scratch.client),
    };
    if !is_entered && maps::client(key).is_some() {
        if !scratch.client.is(IS_LOCAL) {
            maps::remove_upstream(&scratch.server);
        }
        return Ok(left_to_another());
    }
    let is_claimed = !scratch.client.is(IS_LOCAL) || maps::claim_upstream(&scratch.server, &scratch.upstream);
    if !is_entered || !is_claimed || !maps::insert_held(key, &scratch.held) {
        maps::remove_upstream(&scratch.server);
        if is_new {
            maps::remove_client(key);
        } else {
            open::keep(key, &scratch.opening);
        }
        count::event(|events| &mut events.flows_full);
        return no_room(packet, headers, key, scratch);
    }
    maps::remove_opening(key);
    send_syn(packet, headers, with_data, key, scratch)?;
    Ok(if scratch.client.is(IS_LOCAL) {
        PASS
    } else {
        packet.route()
    })
}

/// Brings the client's entry up to date, unless another processor has decided about its request.
#[inline(always)]
fn decide(client: &mut Locked<Client>, scratch: &Scratch) -> bool {
    let start = scratch.client.numbering.client;
    client.update(|client| client.decide(start, &scratch.client))
}

/// Drops a packet whose like another processor has just handled.
#[inline(always)]
fn left_to_another() -> i32 {
    count::event(|events| &mut events.decided_twice);
    swallow()
}

/// Numbers a request towards a server that is new to the connection; its own numbers are learnt from its SYN-ACK.
#[inline(always)]
pub(crate) fn number(upstream_start: u32, server_start: u32, scratch: &mut Scratch) {
    let numbering = &mut scratch.upstream.numbering;
    numbering.client = scratch.opening.client_isn.wrapping_add(1);
    numbering.upstream = upstream_start;
    numbering.ours = scratch.opening.our_isn.wrapping_add(1);
    numbering.server = server_start;
    numbering.promised_scale = if scratch.opening.window_scale == NO_WINDOW_SCALE {
        NO_WINDOW_SCALE
    } else {
        OUR_WINDOW_SCALE
    };
    numbering.server_scale = numbering.promised_scale;
    numbering.client_scale = scratch.opening.window_scale;
    numbering.heard_scale = scratch.opening.window_scale;
}

/// Sends the request to the server whose key is in the scratch space: this connection has been to it, and it has answered all
/// that it was asked.
#[inline(always)]
fn reuse(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let Some(client) = maps::client(key) else {
        return Ok(swallow());
    };
    let start = scratch.opening.client_isn.wrapping_add(1);
    let next = if client.upstream == scratch.server && upstream.is(IS_CURRENT) {
        client.numbering.sequence_to_server(start)
    } else {
        count::event(|events| &mut events.steered_again);
        request::park(client, &scratch.opening);
        upstream.next
    };
    number(next, upstream.response.at, scratch);
    scratch.upstream.numbering.server_scale = upstream.numbering.server_scale;
    scratch.upstream.numbering.heard_scale = upstream.numbering.heard_scale;
    let natural = upstream.flags & IS_NATURAL;
    scratch.client.phase = Phase::Spliced as u8;
    scratch.client.flags = natural | (upstream.flags & IS_LOCAL);
    scratch.client.upstream = scratch.server;
    scratch.client.numbering = scratch.upstream.numbering;
    let has_more = scratch.client.request.left > 0 && natural == 0;
    if !decide(client, scratch) {
        return Ok(left_to_another());
    }
    if scratch.opening.held > 0 {
        // The client sends no more than the last part of it again.
        let _full = maps::insert_held(key, &scratch.held);
    }
    let request = &scratch.upstream;
    upstream.update(|upstream| take_over(upstream, request, natural));
    let is_whole = scratch.opening.held == 0 && scratch.held.length == u32::from(headers.payload_bytes());
    // An end behind the request is noted when it comes again, alone.
    let is_plain = is_whole && headers.flags & FIN == 0;
    if is_plain && !has_more && upstream.is(IS_LOCAL) {
        return client::pass(packet, headers, client, scratch);
    }
    if has_more {
        open_window(packet, headers, upstream, scratch)?;
    }
    let numbers = Numbers {
        sequence: next,
        acknowledgment: client
            .numbering
            .acknowledgment_to_server(headers.acknowledgment.get()),
        window: client.numbering.window_to_server(headers.window.get()),
    };
    client::send(packet, headers, client, &numbers, scratch)
}

/// Gives a server's entry the next request.
#[inline(always)]
fn take_over(upstream: &mut Upstream, request: &Upstream, natural: u8) {
    let at = upstream.response.at;
    upstream.decided_ns = request.decided_ns;
    upstream.first_byte_ns = 0;
    upstream.is_reused = 1;
    upstream.response = request.response;
    upstream.response.at = at;
    upstream.numbering = request.numbering;
    upstream.function = request.function;
    upstream.origin = request.origin;
    upstream.last_seen = request.last_seen;
    upstream.next = request.next;
    upstream.acknowledged = request.acknowledged;
    upstream.has_end = request.has_end;
    upstream.flags = (upstream.flags & IS_LOCAL) | natural | IS_SPLICED | request.flags;
}

/// Lets the client send the rest of its request: between requests it had the window of one segment.
#[inline(always)]
fn open_window(
    packet: &Packet,
    headers: &Headers,
    upstream: &Upstream,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let numbering = &upstream.numbering;
    let window = rescale_window(upstream.window, numbering.server_scale, numbering.promised_scale);
    let config = maps::config().ok_or(Fault::HELPER)?;
    compose::answer(headers, scratch);
    scratch.segment.acknowledgment = numbering.client;
    let segment_size = config.segment_size(headers.family());
    scratch.segment.window = window_behind(segment_size, upstream, numbering.client, window);
    compose::bare(packet, is_partial(headers, &scratch.opening), scratch)?;
    packet.copy_out();
    Ok(())
}

/// Refuses a request for which this node lacks what a connection takes, and counts it with its function.
#[inline(always)]
fn no_room(packet: &Packet, headers: &Headers, key: &FlowKey, scratch: &mut Scratch) -> Result<i32, Fault> {
    let origin = if scratch.upstream.origin == 0 {
        Origin::User
    } else {
        Origin::Peer(scratch.upstream.origin)
    };
    count::refused(scratch.upstream.function, origin, Answer::Unavailable);
    maps::remove_held(key);
    request::answer_it(packet, headers, key, Answer::Unavailable.number(true), scratch)
}

/// Writes the stamp for a target into a segment of as many bytes as the held ones, in the packet and in the scratch space. Returns
/// its length.
#[inline(always)]
pub(crate) fn stamp(
    packet: &Packet,
    headers: &Headers,
    stamp_at: u32,
    target: u32,
    scratch: &mut Scratch,
) -> Result<u32, Fault> {
    let before = scratch.held.length;
    write_stamp(packet, headers, stamp_at, target, scratch)?;
    Ok(scratch.held.length - before)
}

#[inline(never)]
fn write_stamp(
    packet: &Packet,
    headers: &Headers,
    stamp_at: u32,
    target: u32,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let stamp = maps::stamp(target).ok_or(HelperFailed)?;
    let length = scratch.held.length;
    if stamp.length == 0 {
        return Ok(());
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
    Ok(())
}

/// Makes the packet the upstream SYN.
#[inline(never)]
pub(crate) fn send_syn(
    packet: &Packet,
    headers: &Headers,
    with_data: bool,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let client = &scratch.client;
    let segment = &mut scratch.segment;
    headers.onward(segment);
    if !client.is(IS_LOCAL) {
        client.upstream.readdress(segment);
    }
    segment.sequence = client.numbering.upstream.wrapping_sub(1);
    segment.acknowledgment = 0;
    segment.flags = SYN;
    segment.window = client.asking.window;
    let options = SynOptions {
        segment_size: client.asking.segment_size,
        window_scale: client.asking.window_scale,
        permits_sack: client.asking.flags & SYN_PERMITS_SACK != 0,
    }
    .write();
    let partial = is_partial(headers, &client.asking);
    let held: Option<&Held> = if with_data {
        maps::held(key).map(|held| &*held)
    } else {
        None
    };
    compose::syn(packet, &options, held, partial, scratch)
}
