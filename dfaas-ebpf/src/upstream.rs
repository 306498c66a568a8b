//! Packets of the server that has a request, or had one: followed to the end of the response, and passed back.

use aya_ebpf::bindings::TC_ACT_OK;
use dfaas_common::{
    http::{CHUNK_LINE_BYTES, Gap, HELD_BYTES, Stage},
    maps::{
        Config, FlowKey, IS_CLOSING, IS_CURRENT, IS_LOCAL, IS_NATURAL, IS_PROXIED, IS_SPLICED, IS_TAKEN,
        Upstream,
    },
    packet::{ACK, FIN, Headers, RST, SYN},
    tcp_options::NO_WINDOW_SCALE,
};

use crate::{
    Fault, Hook,
    client::WINDOW_MAX,
    compose, connect, count,
    ctx::{HelperFailed, Packet, swallow},
    handshake,
    maps::{self, Scratch},
    release, scan,
    translate::{self, Whose, numbers},
};

/// So many heads may begin in one segment: interim ones, and the last.
const HEADS_MAX: u32 = 2;
/// So many chunks are followed in one segment; Go and Node write chunks of some kilobytes.
const CHUNK_STEPS_MAX: u32 = 48;

/// Handles a packet of a server.
#[inline(always)]
pub(crate) fn handle(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
    hook: Hook,
) -> Result<i32, Fault> {
    upstream.last_seen = config.tick;
    if !upstream.is(IS_SPLICED) || headers.flags & SYN != 0 {
        return handshake::answer(packet, config, headers, key, upstream, scratch, hook);
    }
    if !upstream.is(IS_CURRENT) {
        return parked(packet, headers, key, upstream, hook, scratch);
    }
    let ahead = headers.sequence.get().wrapping_sub(upstream.response.at) as i32;
    if !(ahead < WINDOW_MAX && ahead > -WINDOW_MAX) {
        count::event(|events| &mut events.out_of_window);
        return pass(packet, config, headers, upstream, scratch);
    }
    if headers.flags & RST != 0 {
        return reset(packet, config, headers, upstream, scratch);
    }
    let length = u32::from(headers.payload_bytes());
    if length > 0 {
        if !follow(packet, headers, length, upstream, scratch)? {
            return Ok(swallow());
        }
        if upstream.response.refused != 0 && !upstream.is(IS_TAKEN) && upstream.target != 0 {
            if let Some(verdict) = refused_by_peer(packet, headers, key, upstream, scratch)? {
                return Ok(verdict);
            }
        }
    }
    if !upstream.is(IS_TAKEN) {
        note_taken(headers, length, upstream);
    }
    if length > 0 {
        count::first_byte(upstream);
    }
    // As for a client: an end that stands elsewhere is nobody's, or comes again.
    if headers.flags & FIN != 0 && headers.sequence_end().wrapping_sub(1) != upstream.response.at {
        count::event(|events| &mut events.out_of_window);
        return Ok(swallow());
    }
    if headers.flags & FIN != 0 || upstream.is(IS_CLOSING) {
        return closing(packet, config, headers, upstream, scratch);
    }
    pass(packet, config, headers, upstream, scratch)
}

/// Counts a request once its server has acknowledged a part of it, or answers.
#[inline(always)]
pub(crate) fn note_taken(headers: &Headers, length: u32, upstream: &mut Upstream) {
    let taken = headers
        .acknowledgment
        .get()
        .wrapping_sub(upstream.numbering.upstream) as i32;
    if length > 0 || taken > 0 {
        upstream.flags |= IS_TAKEN;
        count::served(upstream);
    }
}

/// Passes a segment on to the client.
#[inline(always)]
fn pass(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    upstream.window = headers.window.get();
    if upstream.is(IS_NATURAL) && upstream.numbering.ours == upstream.numbering.server {
        return Ok(TC_ACT_OK);
    }
    translate::sacks(packet, headers, &upstream.numbering, Whose::Server, scratch)?;
    let mut numbers = upstream.numbering.to_client(numbers(headers));
    let segment_size = config.segment_size(headers.family());
    numbers.window = window_behind(segment_size, upstream, numbers.acknowledgment, numbers.window);
    if upstream.is(IS_LOCAL) {
        translate::renumber(packet, headers, &numbers)?;
        return Ok(TC_ACT_OK);
    }
    translate::readdress(packet, headers, &upstream.client, &numbers)?;
    Ok(packet.route())
}

/// The client's window: behind a request there is room for one segment, which can be held, so that the next request is
/// decided before the rest of it comes.
///
/// A segment is a whole number of units: less than a segment would make the client wait for its persist timer.
#[inline(always)]
pub(crate) fn window_behind(segment_size: u16, upstream: &Upstream, acknowledgment: u32, window: u16) -> u16 {
    if upstream.has_end == 0 || upstream.is(IS_NATURAL | IS_PROXIED | IS_CLOSING) {
        return window;
    }
    let promised = upstream.numbering.promised_scale;
    let scale = if promised == NO_WINDOW_SCALE {
        0
    } else {
        u32::from(promised & 15)
    };
    let room = upstream
        .next
        .wrapping_sub(acknowledgment)
        .wrapping_add(segment_size.into());
    (room >> scale).min(window.into()) as u16
}

/// Follows the response through a segment. Returns whether the segment may pass.
#[inline(never)]
fn follow(
    packet: &Packet,
    headers: &Headers,
    length: u32,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
) -> Result<bool, HelperFailed> {
    let mut start = upstream.response.at.wrapping_sub(headers.sequence.get());
    if (start as i32) < 0 {
        if !passes_gap(start.wrapping_neg(), upstream) {
            count::event(|events| &mut events.gap);
            return Ok(false);
        }
        start = 0;
    }
    if start >= length {
        // Sent again.
        return Ok(true);
    }
    let at = headers.payload_offset();
    // In memory, so that the verifier forgets what it knows of it: else every path through a loop is one of its own.
    scratch.offset = start;
    let mut heads = 0;
    while heads < HEADS_MAX {
        heads += 1;
        if upstream.response.stage != Stage::Head as u8 || scratch.offset >= length {
            break;
        }
        follow_head(packet, at, length, upstream, scratch)?;
    }
    let mut step = 0;
    while step < CHUNK_STEPS_MAX {
        step += 1;
        if scratch.offset >= length || !follow_step(packet, at, length, upstream, scratch)? {
            break;
        }
    }
    if scratch.offset < length {
        let stage = upstream.response.stage;
        if stage == Stage::Idle as u8 {
            // Nobody asked for this: there is no telling what the server means by it.
            upstream.response.stage = Stage::Endless as u8;
        } else if stage != Stage::Endless as u8 && stage != Stage::Unknown as u8 {
            count::event(|events| &mut events.response_unknown);
            upstream.response.give_up();
        }
    }
    upstream.response.at = upstream.response.at.wrapping_add(length - start);
    Ok(true)
}

#[inline(always)]
fn follow_head(
    packet: &Packet,
    at: u32,
    length: u32,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let rest = (length - scratch.offset).min(HELD_BYTES as u32);
    packet.read(at + scratch.offset, scratch.copy.as_mut_ptr(), rest)?;
    let state = scan::dfaas_scan_response(rest, upstream.response.state.into()) as u8;
    let Some(bytes) = scratch.copy.first_chunk::<HELD_BYTES>() else {
        return Err(HelperFailed);
    };
    scratch.offset += upstream
        .response
        .note_head(bytes, rest as usize, state, &scratch.marks);
    Ok(())
}

/// Follows a body, a chunk or its line as far as it goes. Returns whether there was one.
#[inline(always)]
fn follow_step(
    packet: &Packet,
    at: u32,
    length: u32,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
) -> Result<bool, HelperFailed> {
    let rest = length - scratch.offset;
    let stage = upstream.response.stage;
    if stage == Stage::Length as u8 || stage == Stage::ChunkData as u8 {
        scratch.offset += upstream.response.follow_body(rest);
    } else if stage == Stage::ChunkLine as u8 {
        let part = rest.min(CHUNK_LINE_BYTES as u32);
        packet.read_line(at + scratch.offset, &mut scratch.line, part)?;
        scratch.response = upstream.response;
        scratch.offset += scan::dfaas_follow_chunk_line(part);
        upstream.response = scratch.response;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Whether a segment may pass before missing bytes have come.
///
/// A lost end of a response harms only who has asked for more already: others ask when they have all of it.
#[inline(always)]
fn passes_gap(missing: u32, upstream: &mut Upstream) -> bool {
    match upstream.response.skip(missing) {
        Gap::Passed => true,
        Gap::Needed => false,
        Gap::Unframed => {
            if maps::client(&upstream.client).is_some_and(|client| client.request.ahead > 0) {
                return false;
            }
            count::event(|events| &mut events.response_unknown);
            upstream.response.give_up();
            upstream.response.at = upstream.response.at.wrapping_add(missing);
            true
        }
    }
}

/// A peer has refused the request, and nothing of that has reached the client: its next retransmission is decided
/// again. The peer's packet becomes a reset.
#[inline(always)]
fn refused_by_peer(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    upstream: &Upstream,
    scratch: &mut Scratch,
) -> Result<Option<i32>, Fault> {
    let client_key = upstream.client;
    let Some(client) = maps::client(&client_key) else {
        return Ok(None);
    };
    if !connect::take_back(&client_key, client) {
        return Ok(None);
    }
    count::event(|events| &mut events.refused_by_peer);
    compose::answer(headers, scratch);
    scratch.segment.flags = RST | ACK;
    maps::remove_upstream(key);
    compose::bare(packet, headers.has_partial_checksum(), scratch)?;
    Ok(Some(packet.out()))
}

/// The server resets the connection.
#[inline(always)]
fn reset(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let key = upstream.client;
    let Some(client) = maps::client(&key) else {
        return Ok(swallow());
    };
    let numbering = &upstream.numbering;
    let is_next = client.closing.is_server_next(
        numbering.sequence_to_client(headers.sequence.get()),
        numbering.sequence_to_client(upstream.response.at),
    );
    if !is_next {
        count::event(|events| &mut events.out_of_window);
        return pass(packet, config, headers, upstream, scratch);
    }
    // A server that closed just when the request was on its way has not begun to serve it (RFC 9112, 9.3.1).
    let is_untouched = upstream.response.stage == Stage::Head as u8 && !upstream.is(IS_TAKEN | IS_PROXIED);
    if is_untouched && connect::take_back(&key, client) {
        count::event(|events| &mut events.upstream_refused);
        return Ok(swallow());
    }
    count::event(|events| &mut events.reset);
    let verdict = pass(packet, config, headers, upstream, scratch)?;
    release::forget(&key, client, scratch);
    Ok(verdict)
}

/// Passes a segment of a connection that a side has begun to close.
#[inline(always)]
fn closing(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    upstream: &mut Upstream,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let client_key = upstream.client;
    let numbering = upstream.numbering;
    upstream.flags |= IS_CLOSING;
    let verdict = pass(packet, config, headers, upstream, scratch)?;
    if let Some(client) = maps::client(&client_key) {
        client.closing.server(
            headers.flags,
            numbering.sequence_to_client(headers.sequence_end()),
            numbering.acknowledgment_to_client(headers.acknowledgment.get()),
        );
        if client.closing.is_over() {
            count::event(|events| &mut events.closed);
            release::forget(&client_key, client, scratch);
        }
    }
    Ok(verdict)
}

/// Answers a server that is kept for later: it may send again what its client has, but not anything new.
#[inline(always)]
fn parked(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    upstream: &Upstream,
    hook: Hook,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if headers.flags & RST != 0 {
        if headers.sequence.get() == upstream.response.at {
            maps::remove_upstream(key);
        }
        return Ok(swallow());
    }
    let is_new = headers.sequence_end().wrapping_sub(upstream.response.at) as i32 > 0;
    let is_probe = headers.sequence.get() != upstream.response.at;
    if !is_new && !is_probe {
        return Ok(swallow());
    }
    compose::answer(headers, scratch);
    scratch.segment.sequence = upstream.next;
    scratch.segment.acknowledgment = upstream.response.at;
    scratch.segment.flags = if is_new { RST | ACK } else { ACK };
    scratch.segment.window = upstream.window;
    if is_new {
        count::event(|events| &mut events.upstream_dropped);
        maps::remove_upstream(key);
    }
    compose::bare(packet, headers.has_partial_checksum(), scratch)?;
    Ok(match hook {
        Hook::Ingress => packet.out(),
        Hook::Egress => packet.to_stack(),
    })
}
