//! Connections that end behind an answer: one that said so, or behind which come bytes that nobody asked for.
//!
//! The client gets our end once it has all of the answer, and its server is reset; what the client has sent ahead is
//! acknowledged and forgotten, so that it reads the answer instead of a reset (RFC 9112, section 9.6).

use aya_ebpf::bindings::__sk_buff;
use dfaas_common::{
    http::Stage,
    maps::{Client, FlowKey, IS_CLOSING, IS_LOCAL, IS_OVER, IS_PROXIED, Opening, Upstream},
    packet::{ACK, FIN, Headers, RST},
};

use crate::{
    Fault, Hook,
    client::is_partial,
    compose::{self, DRAIN_WINDOW},
    count,
    ctx::{HelperFailed, PASS, Packet, swallow},
    key_of_sender,
    maps::{self, Locked, Scratch},
    open, release, request,
};

/// Whether a client has all that it gets on this connection. It has more to ask if something of it is held, or is in this
/// packet.
#[inline(always)]
pub(crate) fn is_due(headers: &Headers, client: &Client, upstream: &Upstream, has_more: bool) -> bool {
    let acknowledgment = headers.acknowledgment.get();
    if upstream.is(IS_PROXIED) {
        return false;
    }
    if client.closing.has_begun() {
        return has_more && client.closing.has_heard(acknowledgment);
    }
    let response = &upstream.response;
    let is_final = client.is(IS_OVER) || (has_more && response.is_final());
    is_final
        && response.stage == Stage::Idle as u8
        && client.request.left == 0
        && acknowledgment == upstream.numbering.sequence_to_client(response.at)
}

/// Ends the connection of the client whose packet this is, which becomes our end.
///
/// By global functions, which the verifier looks at once, and one after another, because the stack is small.
#[inline(always)]
pub(crate) fn end(packet: &Packet, scratch: &mut Scratch) -> Result<i32, Fault> {
    packet.call(scratch, |_| dfaas_end())?;
    packet.call(scratch, |skb| dfaas_part(skb))?;
    packet.call(scratch, |skb| dfaas_tell_end(skb))?;
    Ok(packet.out())
}

/// Notes the end in the entry of the client whose packet is at hand. Returns whether that failed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_end() -> u32 {
    let (Some(seen), Some(scratch)) = (maps::seen(), maps::scratch()) else {
        return 1;
    };
    seen.key = key_of_sender(&seen.headers);
    let Some(client) = maps::client(&seen.key) else {
        return 1;
    };
    scratch.server = client.upstream;
    let Some(upstream) = maps::upstream(&scratch.server) else {
        return 1;
    };
    let next = upstream.numbering.sequence_to_client(upstream.response.at);
    let start = client.request.at;
    scratch.opening.await_request(start, next);
    request::park(client, &scratch.opening);
    // Without an end of its own, which comes again.
    let headers = &seen.headers;
    let at = headers
        .sequence
        .get()
        .wrapping_add(headers.payload_bytes().into());
    let has_ended = client.update(|client| client.end(&scratch.server, at, next));
    scratch.opening = client.asking;
    count::event(|events| &mut events.ended);
    (!has_ended).into()
}

/// Resets all servers of a client. The packet, which loses its payload, is made into each reset.
#[inline(always)]
pub(crate) fn part(packet: &Packet, key: &FlowKey, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    let seen = maps::seen().ok_or(HelperFailed)?;
    seen.key = *key;
    packet.call(scratch, |skb| dfaas_part(skb))
}

/// Resets all servers of the client whose key is beside the headers. Returns whether a helper failed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_part(skb: *mut __sk_buff) -> u32 {
    let (Some(seen), Some(scratch)) = (maps::seen(), maps::scratch()) else {
        return 1;
    };
    release::parked(&Packet::of(skb), &seen.key, scratch)
        .is_err()
        .into()
}

/// Makes the packet our end, of which its sender may have heard. Returns whether a helper failed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_tell_end(skb: *mut __sk_buff) -> u32 {
    let (Some(seen), Some(scratch)) = (maps::seen(), maps::scratch()) else {
        return 1;
    };
    let headers = &seen.headers;
    let our_end = scratch.opening.our_isn.wrapping_add(1);
    let has_heard = headers.acknowledgment.get() != our_end;
    compose::answer(headers, scratch);
    scratch.segment.sequence = our_end.wrapping_add(has_heard.into());
    scratch.segment.acknowledgment = scratch.opening.answered;
    scratch.segment.flags = if has_heard { ACK } else { ACK | FIN };
    scratch.segment.window = DRAIN_WINDOW;
    let partial = is_partial(headers, &scratch.opening);
    compose::bare(&Packet::of(skb), partial, scratch).is_err().into()
}

/// Whether all of a server's segment stands behind an answer, and nobody has asked for it.
#[inline(always)]
pub(crate) fn is_surplus(headers: &Headers, upstream: &Upstream) -> bool {
    upstream.response.stage == Stage::Idle as u8
        && !upstream.is(IS_CLOSING)
        && headers.sequence.get() == upstream.response.at
}

/// Notes that there are bytes behind a response that nobody has asked for.
#[inline(always)]
pub(crate) fn note(client_key: &FlowKey, server: &FlowKey) {
    if let Some(client) = maps::client(client_key) {
        client.update(|client| {
            if client.upstream == *server {
                client.flags |= IS_OVER;
            }
        });
    }
}

/// Handles a segment that stands behind an answer: it becomes our end to the client, if that has the answer. Else the
/// server sends it again, unless the client has acknowledged the answer before.
#[inline(always)]
pub(crate) fn surplus(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
    hook: Hook,
) -> Result<i32, Fault> {
    let client_key = upstream.client;
    upstream.update(|upstream| upstream.response.note_surplus());
    note(&client_key, key);
    let next = upstream.numbering.sequence_to_client(upstream.response.at);
    let is_local = upstream.is(IS_LOCAL);
    let Some(client) = maps::client(&client_key) else {
        return Ok(swallow());
    };
    let has_ended = client.update(|client| {
        let has_all = client.awaits_none_of(key) && client.acknowledged == next;
        has_all && client.end(key, client.request.at, next)
    });
    if !has_ended {
        return Ok(swallow());
    }
    count::event(|events| &mut events.ended);
    let acknowledgment = client.asking.answered;
    maps::remove_upstream(key);
    let partial = headers.has_partial_checksum();
    compose::reset(packet, headers, scratch)?;
    if hook == Hook::Egress {
        packet.copy_to_stack();
    } else {
        packet.copy_out();
    }
    compose::onward(headers, scratch);
    scratch.segment.sequence = next;
    scratch.segment.acknowledgment = acknowledgment;
    scratch.segment.flags = ACK | FIN;
    scratch.segment.window = DRAIN_WINDOW;
    if !is_local {
        client_key.readdress(&mut scratch.segment);
    }
    compose::bare(packet, partial, scratch)?;
    Ok(if is_local { PASS } else { packet.route() })
}

/// Handles a packet of a client whose connection has ended.
#[inline(always)]
pub(crate) fn ended(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let Opening {
        our_isn, answered, ..
    } = scratch.opening;
    if headers.flags & RST != 0 {
        // Where what was drained ends is not known: what is in the window is next.
        if headers.sequence.get().wrapping_sub(answered) <= DRAIN_WINDOW.into() {
            open::forget(key, scratch);
        }
        return Ok(swallow());
    }
    let heard = headers.acknowledgment.get().wrapping_sub(our_isn).wrapping_sub(1);
    if heard > 1 {
        count::event(|events| &mut events.out_of_handshake);
        return Ok(swallow());
    }
    let is_end = headers.flags & FIN != 0;
    if heard == 1 && !is_end && headers.payload_bytes() == 0 {
        return Ok(swallow());
    }
    if is_end {
        open::forget(key, scratch);
    }
    if is_end && heard == 0 {
        let behind = headers.sequence_end();
        scratch.opening.close_at(behind);
        let _full = maps::insert_opening(key, &scratch.opening);
        return open::end(packet, headers, scratch);
    }
    if !is_end && headers.payload_bytes() > 0 {
        count::event(|events| &mut events.drained);
    }
    compose::answer(headers, scratch);
    scratch.segment.sequence = our_isn.wrapping_add(1).wrapping_add(heard);
    scratch.segment.flags = if heard == 1 { ACK } else { ACK | FIN };
    scratch.segment.window = DRAIN_WINDOW;
    compose::bare(packet, is_partial(headers, &scratch.opening), scratch)?;
    Ok(packet.out())
}
