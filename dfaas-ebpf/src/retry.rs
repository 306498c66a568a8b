//! Servers that refuse, keep silent or close: they are asked again, or the request is taken back from them.

use dfaas_common::{
    decide::{Answer, FAILURES},
    maps::{Client, Config, FlowKey, IS_LOCAL, IS_TAKEN, NO_FUNCTION, Phase},
    packet::{FIN, Headers, RST},
};

use crate::{
    Fault, Next, ahead, client, compose,
    connect::send_syn,
    count,
    ctx::{self, PASS, Packet, swallow},
    log,
    maps::{self, Locked, Scratch},
    parts, release, request,
};

/// After so many SYNs without an answer a request is decided again; once it was, after each. The client's
/// retransmissions drive this: they start at 0.2 s and double.
pub(crate) const ATTEMPTS_FIRST_SERVER: u8 = 2;
/// After so many retransmissions of a request, none of which a peer acknowledged, the peer is left.
const RETRANSMISSIONS: u8 = 2;
/// A request that could not be decided again is given up after so many.
const ATTEMPTS_MAX: u8 = 6;

/// Sends the upstream SYN again, takes the request back from a server that does not answer, or keeps what a client
/// sends before the server has answered.
#[inline(always)]
pub(crate) fn waiting(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    let sequence = headers.sequence.get();
    let is_reset = headers.flags & RST != 0;
    if is_reset && ends(sequence, client) {
        return reset(packet, headers, key, client, scratch).map(Next::Verdict);
    }
    if is_reset || headers.payload_bytes() == 0 {
        return bare(packet, config, headers, client, scratch).map(Next::Verdict);
    }
    if sequence.wrapping_sub(client.numbering.client) >= client.first_bytes {
        if client.request.left == 0 {
            return ahead::came_early(packet, headers, key, client, scratch).map(Next::Verdict);
        }
        return ahead::keep_more(packet, headers, key, client, scratch).map(Next::Verdict);
    }
    // What comes before it is held already.
    let is_whole = sequence == client.asking.next();
    if !asks_again(client) {
        return Ok(Next::Verdict(swallow()));
    }
    let patience = if client.asking.failures == 0 {
        ATTEMPTS_FIRST_SERVER
    } else {
        1
    };
    if client.attempts >= patience && is_whole {
        scratch.server = client.upstream;
        if take_back(key, client, &scratch.server, Phase::Connecting) {
            scratch.opening = client.asking;
            return Ok(Next::Ask);
        }
    }
    if client.phase() != Phase::Connecting {
        // The server has answered meanwhile, on another processor.
        return Ok(Next::Verdict(swallow()));
    }
    if client.attempts >= ATTEMPTS_MAX {
        maps::remove_upstream(&client.upstream);
        count::event(|events| &mut events.upstream_failed);
        // Else the answer would count as a second decision.
        client.phase = Phase::Asking as u8;
        scratch.opening = client.asking;
        return request::answer_it(packet, headers, key, Answer::Unavailable.number(true), scratch)
            .map(Next::Verdict);
    }
    client.attempts += 1;
    count::event(|events| &mut events.upstream_retried);
    *scratch.client = **client;
    scratch.opening = client.asking;
    // Without data: something on the way may not like it in a SYN (RFC 7413, section 4.1.3.1).
    send_syn(packet, headers, false, key, scratch)?;
    Ok(Next::Verdict(if client.is(IS_LOCAL) {
        PASS
    } else {
        packet.route()
    }))
}

/// A client that waits for a server probes, or resets what is not acknowledged: who is gone resets the answer, too (RFC 5961,
/// section 3.2).
#[inline(always)]
fn bare(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    client: &Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let ahead = headers.sequence.get().wrapping_sub(client.asking.next());
    let probes = ahead == u32::MAX && headers.flags & FIN == 0;
    let resets = ahead < client::WINDOW_MAX as u32 && headers.flags & RST != 0;
    if !probes && !resets {
        return Ok(swallow());
    }
    scratch.opening = client.asking;
    request::acknowledge(packet, config, headers, scratch)?;
    Ok(packet.out())
}

/// Whether a reset with this number ends the connection: it stands behind the client's last byte, or behind a FIN, which
/// waits for the server too.
#[inline(always)]
fn ends(sequence: u32, client: &Client) -> bool {
    let behind_held = client.request.at.wrapping_add(client.request.ahead);
    sequence.wrapping_sub(client.request.at) <= 1
        || sequence == client.asking.next()
        || sequence == behind_held
}

/// A client that waits for a server resets its connection.
#[inline(always)]
fn reset(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    count::event(|events| &mut events.reset);
    let sent = client
        .first_bytes
        .wrapping_add(client.numbering.stamp_bytes.into());
    let sequence = client.numbering.upstream.wrapping_add(sent);
    scratch.opening = client.asking;
    release::parked(packet, key, scratch)?;
    let verdict = give_up(packet, headers, client, sequence, scratch)?;
    release::forget(key, scratch);
    Ok(verdict)
}

/// Whether the client has sent its request again: what was only doubled on its way does not count.
#[inline(always)]
fn asks_again(client: &mut Locked<Client>) -> bool {
    let now_ns = ctx::now_ns();
    client.update(|client| client.asks_again(now_ns))
}

/// Leaves a peer that keeps silent about a request, if it is the whole of it that comes again: a connection that was
/// kept may be forgotten there. The client's next retransmission is decided again.
#[inline(always)]
pub(crate) fn leave_silent(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    scratch: &mut Scratch,
) -> Result<Option<i32>, Fault> {
    let bytes = client.asking.held.wrapping_add(headers.payload_bytes().into());
    let is_whole = headers.sequence.get() == client.asking.next() && bytes >= client.first_bytes;
    if !is_whole || client.is(IS_LOCAL) {
        return Ok(None);
    }
    if maps::upstream(&client.upstream).is_none_or(|upstream| upstream.is(IS_TAKEN)) {
        return Ok(None);
    }
    if !asks_again(client) {
        return Ok(None);
    }
    if client.attempts <= RETRANSMISSIONS {
        client.attempts += 1;
        return Ok(None);
    }
    scratch.server = client.upstream;
    if !take_back(key, client, &scratch.server, Phase::Spliced) {
        return Ok(None);
    }
    if client.may_repeat == 0 {
        // The peer may have run it (RFC 9110, section 9.2.2): the client is told, and decides.
        client.asking.failures = FAILURES as u8;
    }
    count::event(|events| &mut events.upstream_silent);
    give_up(packet, headers, client, client.numbering.upstream, scratch).map(Some)
}

/// Tells a server that its client is gone; the sequence number is that of the byte behind what the server may have.
#[inline(always)]
fn give_up(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    sequence: u32,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    compose::onward(headers, scratch);
    scratch.segment.sequence = sequence;
    scratch.segment.acknowledgment = 0;
    scratch.segment.flags = RST;
    scratch.segment.window = 0;
    client::send_bare(packet, headers, client, scratch)
}

/// Takes the request back from its server, which is forgotten: the client's next packet with it is decided again.
/// Not if something else has become of it meanwhile.
#[inline(always)]
pub(crate) fn take_back(
    key: &FlowKey,
    client: &mut Locked<Client>,
    server: &FlowKey,
    waits_for: Phase,
) -> bool {
    let (function, target) =
        maps::upstream(server).map_or((NO_FUNCTION, 0), |upstream| (upstream.function, upstream.target));
    if !client.update(|client| client.take_back(server, target, waits_for)) {
        return false;
    }
    count::event(|events| &mut events.decided_again);
    log::taken_back(function, target);
    if client.asking.held == 0 {
        maps::remove_held(key);
    } else {
        parts::take_back(key, client);
    }
    maps::remove_upstream(server);
    true
}
