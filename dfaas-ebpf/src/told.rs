//! Servers that end before they have answered: their clients are told so in their place (RFC 9110, section 15.6.3).
//!
//! A server that closes says so again until it is acknowledged, and each time its client is told once more, because nobody
//! else would send an answer again that was lost. Once the client has heard it, the server is reset.

use dfaas_common::{
    decide::Answer,
    maps::{Client, FlowKey, IS_CURRENT, IS_LOCAL, Phase, Upstream},
    packet::{ACK, FIN, Headers, PSH, RST},
};

use crate::{
    Fault, compose, count,
    ctx::{HelperFailed, PASS, Packet},
    maps::{self, Locked, Scratch},
    over, release,
};

/// The answer.
const NUMBER: u8 = Answer::NotAnswered.number(true);

/// Makes the packet with which a server ends before it has answered the answer to its client.
///
/// Not that of a server that had requests before: its end may only have crossed the request, and a client that sees such
/// an end asks again where that does no harm (RFC 9112, section 9.3.1). An answer of ours would keep it from that.
#[inline(always)]
pub(crate) fn answer_for(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
) -> Result<Option<i32>, Fault> {
    if !upstream.response.is_all_to_come() || upstream.is_reused != 0 {
        return Ok(None);
    }
    let client_key = upstream.client;
    let is_local = upstream.is(IS_LOCAL);
    let next = upstream.numbering.sequence_to_client(upstream.response.at);
    let Some(client) = maps::client(&client_key) else {
        return Ok(None);
    };
    if !client.update(|client| client.answer_for(key, next, NUMBER)) {
        return Ok(None);
    }
    count::answer(Answer::NotAnswered);
    if headers.flags & RST == 0 {
        // It is kept until its client has heard, and not let go with the others.
        client.upstream = *key;
        upstream.next = upstream.numbering.sequence_to_server(client.asking.answered);
        upstream.update(|upstream| upstream.flags &= !IS_CURRENT);
    } else {
        maps::remove_upstream(key);
    }
    // The answer is the connection's last.
    release::parked(packet, &client_key, scratch)?;
    tell(packet, headers, &client_key, client, is_local, scratch).map(Some)
}

/// Makes the end that a server sends once more the answer to its client, if that is about to get it.
#[inline(always)]
pub(crate) fn again(
    packet: &Packet,
    headers: &Headers,
    upstream: &Upstream,
    scratch: &mut Scratch,
) -> Result<Option<i32>, Fault> {
    if headers.flags & FIN == 0 || headers.payload_bytes() > 0 {
        return Ok(None);
    }
    let client_key = upstream.client;
    let Some(client) = maps::client(&client_key) else {
        return Ok(None);
    };
    if client.phase() != Phase::Asking || client.asking.reply != NUMBER + 1 {
        return Ok(None);
    }
    tell(
        packet,
        headers,
        &client_key,
        client,
        upstream.is(IS_LOCAL),
        scratch,
    )
    .map(Some)
}

#[inline(always)]
fn tell(
    packet: &Packet,
    headers: &Headers,
    client_key: &FlowKey,
    client: &Client,
    is_local: bool,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let partial = headers.has_partial_checksum();
    let reply = maps::reply_by_number(NUMBER).ok_or(HelperFailed)?;
    compose::onward(headers, scratch);
    scratch.segment.sequence = client.asking.our_isn.wrapping_add(1);
    scratch.segment.acknowledgment = client.asking.answered;
    scratch.segment.flags = ACK | PSH | FIN;
    scratch.segment.window = compose::DRAIN_WINDOW;
    if !is_local {
        client_key.readdress(&mut scratch.segment);
    }
    compose::write_reply(packet, reply, partial, scratch)?;
    Ok(if is_local { PASS } else { packet.route() })
}

/// Resets the server of a client that has heard, or will not. The packet loses its payload.
#[inline(always)]
pub(crate) fn heard(packet: &Packet, key: &FlowKey, scratch: &mut Scratch) -> Result<(), Fault> {
    if let Some(client) = maps::client(key) {
        client.upstream = FlowKey::default();
        over::part(packet, key, scratch)?;
    }
    Ok(())
}
