//! A server's answer to our SYN: its numbers are learnt, and it gets what it has not taken of the request yet.

use dfaas_common::{
    maps::{Client, Config, FlowKey, IS_NATURAL, IS_SPLICED, Phase, Upstream},
    packet::{ACK, Headers, PSH, RST, SYN},
    tcp_options::{NO_WINDOW_SCALE, rescale_window},
};

use crate::{
    Fault, Hook, compose, count,
    ctx::{self, PASS, Packet, swallow},
    maps::{self, Locked, Scratch},
    open,
    retry::ATTEMPTS_FIRST_SERVER,
    upstream,
};

/// Handles a server's answer to a SYN: of the local stack at its way out, of a peer at its way in.
#[inline(always)]
pub(crate) fn answer(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
    hook: Hook,
) -> Result<i32, Fault> {
    if upstream.is(IS_NATURAL) {
        return Ok(natural(headers, upstream));
    }
    let client_key = upstream.client;
    let Some(client) = maps::client(&client_key).filter(|client| client.upstream == *key) else {
        return Ok(swallow());
    };
    if headers.flags & RST != 0 {
        return Ok(refused(headers, client, upstream));
    }
    let partial = match hook {
        Hook::Ingress => is_partial_answer(packet, headers, scratch)?,
        Hook::Egress => headers.has_partial_checksum(),
    };
    let step = meet(packet, headers, key, client, upstream, scratch)?;
    if step == Step::Nothing {
        return Ok(swallow());
    }
    let numbering = &upstream.numbering;
    answer_server(headers, client, scratch);
    if step == Step::Reset {
        scratch.segment.sequence = headers.acknowledgment.get();
        scratch.segment.acknowledgment = 0;
        scratch.segment.flags = RST;
        compose::bare(packet, partial, scratch)?;
        return Ok(match hook {
            Hook::Ingress => packet.out(),
            Hook::Egress => packet.to_stack(),
        });
    }
    scratch.segment.sequence = numbering.upstream;
    scratch.segment.acknowledgment = numbering.server;
    if step == Step::Replay {
        replay(packet, &client_key, partial, scratch)?;
    } else {
        let sent = client.first_bytes.wrapping_add(numbering.stamp_bytes.into());
        scratch.segment.sequence = numbering.upstream.wrapping_add(sent);
        // Nothing finishes the checksum of what stays on this host.
        compose::bare(packet, partial && hook == Hook::Ingress, scratch)?;
    }
    if step != Step::Acknowledge {
        return Ok(match hook {
            Hook::Ingress => packet.out(),
            Hook::Egress => packet.to_stack(),
        });
    }
    // Without that its socket is not established, and some of what it writes waits (tcp_write_timer does nothing then).
    match hook {
        Hook::Ingress => packet.copy_out(),
        Hook::Egress => packet.copy_to_stack(),
    }
    compose::onward(headers, scratch);
    if hook == Hook::Ingress {
        upstream.client.readdress(&mut scratch.segment);
    }
    acknowledge_client(packet, config, client, upstream, partial, scratch)?;
    Ok(match hook {
        Hook::Ingress => packet.route(),
        Hook::Egress => PASS,
    })
}

/// The local stack's own handshake: nothing is translated, but its numbers are learnt.
#[inline(always)]
fn natural(headers: &Headers, upstream: &mut Locked<Upstream>) -> i32 {
    if headers.flags & (SYN | ACK) == SYN | ACK && !upstream.is(IS_SPLICED) {
        let first = headers.sequence.get().wrapping_add(1);
        upstream.numbering.ours = first;
        upstream.numbering.server = first;
        upstream.response.at = first;
        upstream.update(|upstream| upstream.flags |= IS_SPLICED);
        upstream::note_taken(headers, 0, upstream);
    }
    PASS
}

/// What a SYN-ACK calls for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It answers no SYN of ours.
    Nothing,
    /// The server takes it for another connection: end that (RFC 9293, section 3.10.7.3).
    Reset,
    /// The server has the request: end the handshake, and tell the client.
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
    client: &mut Locked<Client>,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
) -> Result<Step, Fault> {
    let is_syn_ack = headers.flags & (SYN | ACK) == SYN | ACK;
    let sent = client
        .first_bytes
        .wrapping_add(upstream.numbering.stamp_bytes.into());
    let taken = headers
        .acknowledgment
        .get()
        .wrapping_sub(upstream.numbering.upstream);
    let first = headers.sequence.get().wrapping_add(1);
    let is_again = upstream.is(IS_SPLICED);
    if !is_syn_ack || taken > sent || (is_again && upstream.numbering.server != first) {
        count::event(|events| &mut events.out_of_handshake);
        let is_old = !is_again && headers.flags & ACK != 0 && taken > sent;
        return Ok(if is_old { Step::Reset } else { Step::Nothing });
    }
    if !is_again {
        let options = open::read_options(packet, headers, scratch)?;
        upstream.numbering.server = first;
        if client.asking.window_scale != NO_WINDOW_SCALE {
            upstream.numbering.server_scale = options.window_scale;
        } else {
            upstream.numbering.server_scale = NO_WINDOW_SCALE;
        }
        if upstream.numbering.server_scale == NO_WINDOW_SCALE {
            upstream.numbering.heard_scale = NO_WINDOW_SCALE;
        }
        upstream.response.at = first;
        upstream.next_hop = headers.ethernet_source;
        upstream.window = rescale_window(headers.window.get(), 0, upstream.numbering.server_scale);
        if client.attempts > 1 && taken == 0 {
            maps::note_syn_data_lost(upstream.target);
        }
        let numbering = &upstream.numbering;
        let is_awaited = client.update(|client| {
            let is_awaited = client.phase == Phase::Connecting as u8 && client.upstream == *key;
            if is_awaited {
                client.numbering = *numbering;
                client.phase = Phase::Spliced as u8;
                client.attempts = 1;
            }
            is_awaited
        });
        if !is_awaited {
            // Another processor has just taken the request back, or met the server.
            return Ok(Step::Nothing);
        }
        upstream.update(|upstream| upstream.flags |= IS_SPLICED);
        upstream::note_taken(headers, 0, upstream);
    }
    let held_bytes = held_bytes(upstream);
    if taken < sent || held_bytes > sent {
        count::event(|events| &mut events.replayed);
        return Ok(Step::Replay);
    }
    if is_again {
        return Ok(Step::Complete);
    }
    count::event(|events| &mut events.data_in_syn);
    Ok(Step::Acknowledge)
}

/// How many bytes are held of the server's request; those of a part of the next one may be held by now.
#[inline(always)]
fn held_bytes(upstream: &Upstream) -> u32 {
    let start = upstream.numbering.client;
    let held = maps::held(&upstream.client).filter(|held| held.at == start);
    held.map_or(0, |held| held.length)
}

/// Sets up the common part of what we send to the server on the client's behalf.
#[inline(always)]
fn answer_server(headers: &Headers, client: &Client, scratch: &mut Scratch) {
    compose::answer(headers, scratch);
    scratch.segment.flags = ACK;
    scratch.segment.window = rescale_window(client.asking.window, 0, client.numbering.heard_scale);
}

/// Sends the held bytes, all of them: what the server has already, it drops.
#[inline(always)]
fn replay(packet: &Packet, key: &FlowKey, partial: bool, scratch: &mut Scratch) -> Result<(), Fault> {
    let Some(held) = maps::held(key) else {
        count::event(|events| &mut events.held_missing);
        return Err(Fault::HELD_MISSING);
    };
    scratch.segment.flags = ACK | PSH;
    Ok(compose::data(packet, held, partial, scratch)?)
}

/// Tells the client, to whom the segment in the scratch space is on its way, that its first bytes have arrived, and how
/// large the server's window is.
#[inline(always)]
fn acknowledge_client(
    packet: &Packet,
    config: &Config,
    client: &Client,
    upstream: &mut Upstream,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let acknowledgment = client.numbering.client.wrapping_add(client.first_bytes);
    upstream.acknowledged = acknowledgment;
    // The window of a SYN-ACK is not scaled (RFC 7323, section 2.2).
    let segment = &mut scratch.segment;
    let window = rescale_window(segment.window, 0, client.numbering.promised_scale);
    let segment_size = config.segment_size(segment.family());
    segment.sequence = client.numbering.ours;
    segment.acknowledgment = acknowledgment;
    segment.flags = ACK;
    segment.window = upstream::window_behind(segment_size, upstream, acknowledgment, window);
    Ok(compose::bare(packet, partial, scratch)?)
}

/// Notes a refusal. The client's next retransmission, which is at most moments away, is decided again; a platform
/// that was restarted meanwhile serves it.
#[inline(always)]
fn refused(headers: &Headers, client: &mut Client, upstream: &Upstream) -> i32 {
    let sent = client
        .first_bytes
        .wrapping_add(upstream.numbering.stamp_bytes.into());
    let taken = headers
        .acknowledgment
        .get()
        .wrapping_sub(upstream.numbering.upstream);
    if headers.flags & ACK == 0 || taken > sent {
        count::event(|events| &mut events.out_of_handshake);
        return swallow();
    }
    count::event(|events| &mut events.upstream_refused);
    if !upstream.is(IS_SPLICED) {
        client.attempts = client.attempts.max(ATTEMPTS_FIRST_SERVER);
    }
    swallow()
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
    let mut sum = headers.pseudo_sum() + headers.tcp().sum();
    if options > 0 {
        packet.read(headers.options_offset(), scratch.copy.as_mut_ptr(), options)?;
        sum += u64::from(ctx::sum(&mut scratch.copy, options));
    }
    Ok(dfaas_common::packet::fold(sum) != 0xffff)
}
