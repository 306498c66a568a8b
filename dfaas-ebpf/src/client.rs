//! Packets of a client whose first request was decided: passed on, held back, or brought to the next decision.

use aya_ebpf::bindings::TC_ACT_OK;
use dfaas_common::{
    extent::Place,
    http::Stage,
    maps::{
        Client, Config, FlowKey, IS_ASKED, IS_CLOSING, IS_LOCAL, IS_NATURAL, IS_PROXIED, IS_SPLICED, Opening,
        Phase, SYN_FLAGS, SYN_IS_PARTIAL, Upstream,
    },
    numbering::Numbers,
    packet::{ACK, FIN, Headers, PSH, RST, SYN, Segment},
};

use crate::{
    Fault, Next, compose, connect, count,
    ctx::{Packet, swallow},
    maps::{self, Scratch},
    release,
    translate::{self, Whose, numbers},
};

/// No window that we or Linux promise is larger, in bytes; what lies further off is nobody's segment.
pub(crate) const WINDOW_MAX: i32 = 1 << 24;

/// Handles a packet of a client that is known.
#[inline(always)]
pub(crate) fn handle(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    client.last_seen = config.tick;
    if headers.flags & SYN != 0 {
        return syn_again(packet, config, headers, key, client, scratch);
    }
    match client.phase() {
        Phase::Asking => {
            scratch.opening = client.asking;
            Ok(Next::Ask)
        }
        Phase::Connecting => connect::waiting(packet, config, headers, key, client, scratch),
        Phase::Spliced => spliced(packet, headers, key, client, scratch),
    }
}

/// A SYN on a connection that exists: sent again, or the start of another one from the same place.
#[inline(always)]
fn syn_again(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    client: &Client,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    if client.flags & IS_NATURAL != 0 && headers.sequence.get() == client.numbering.client.wrapping_sub(1) {
        return Ok(Next::Verdict(TC_ACT_OK));
    }
    let has_answer = client.phase() == Phase::Asking && client.asking.reply != 0;
    if client.closing.has_begun() || has_answer {
        release::forget(key, client, scratch);
        return crate::open::handle(packet, config, headers, key, scratch);
    }
    // RFC 5961, section 4: a client that has lost its connection answers this with a reset, and may then begin anew.
    scratch.segment = Segment {
        sequence: client.asking.our_isn.wrapping_add(1),
        acknowledgment: client.request.at,
        flags: ACK,
        ..headers.answer()
    };
    compose::bare(packet, headers.has_partial_checksum(), scratch)?;
    Ok(Next::Verdict(packet.out()))
}

/// Whether the client's interface leaves checksums to hardware. The SYN and this segment must agree: by chance, a
/// whole checksum looks like a partial one in one packet of 65536.
#[inline(always)]
pub(crate) fn is_partial(headers: &Headers, opening: &Opening) -> bool {
    opening.flags & SYN_IS_PARTIAL != 0 && headers.has_partial_checksum()
}

#[inline(always)]
fn spliced(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    let sequence = headers.sequence.get();
    let length = u32::from(headers.payload_bytes());
    let ahead = sequence.wrapping_sub(client.request.at) as i32;
    let is_possible = ahead < WINDOW_MAX && ahead > -WINDOW_MAX;
    if !is_possible || headers.flags & (ACK | RST) == 0 {
        // The server's stack says what it thinks of it (RFC 9293, section 3.10.7.4).
        count::event(|events| &mut events.out_of_window);
        return pass(packet, headers, client, scratch).map(Next::Verdict);
    }
    if headers.flags & RST != 0 {
        return reset(packet, headers, key, client, scratch).map(Next::Verdict);
    }
    if length > 0 {
        let was_left = client.request.left;
        match client.request.note(sequence, length) {
            Place::Old => {}
            Place::Within => {
                if was_left > 0 && client.request.left == 0 {
                    asked(client);
                }
            }
            Place::Crossing(keep) => {
                asked(client);
                return cut(packet, headers, client, keep, scratch).map(Next::Verdict);
            }
            Place::Behind => return ask_again(headers, client, scratch),
            Place::Beyond => {
                count::event(|events| &mut events.gap);
                return Ok(Next::Verdict(swallow()));
            }
        }
        if let Some(at) = client.numbering.stamp_within(sequence, length) {
            return stamp_again(packet, headers, client, at, scratch).map(Next::Verdict);
        }
    }
    if headers.flags & FIN != 0 {
        return finish(packet, headers, key, client, scratch).map(Next::Verdict);
    }
    if client.closing.has_begun() {
        client.closing.client(
            headers.flags,
            headers.sequence_end(),
            headers.acknowledgment.get(),
        );
        let verdict = pass(packet, headers, client, scratch)?;
        if client.closing.is_over() {
            count::event(|events| &mut events.closed);
            release::forget(key, client, scratch);
        }
        return Ok(Next::Verdict(verdict));
    }
    pass(packet, headers, client, scratch).map(Next::Verdict)
}

/// Sends a segment on to the server as it is.
#[inline(always)]
pub(crate) fn pass(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if client.flags & IS_NATURAL != 0 && client.numbering.client == client.numbering.upstream {
        return Ok(TC_ACT_OK);
    }
    translate::sacks(packet, headers, &client.numbering, Whose::Client, scratch)?;
    let numbers = client.numbering.to_server(numbers(headers));
    if client.is(IS_LOCAL) {
        translate::renumber(packet, headers, &numbers)?;
        return Ok(TC_ACT_OK);
    }
    translate::readdress(packet, headers, &client.direction, &numbers)?;
    Ok(packet.route())
}

/// Makes a segment with these bytes, which are in the scratch space, and sends it to the server.
#[inline(always)]
pub(crate) fn send(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    numbers: &Numbers,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    scratch.segment = Segment {
        sequence: numbers.sequence,
        acknowledgment: numbers.acknowledgment,
        flags: ACK | PSH,
        window: numbers.window,
        ..headers.onward()
    };
    let partial = is_partial(headers, &client.asking);
    if client.is(IS_LOCAL) {
        compose::held(packet, partial, scratch)?;
        return Ok(TC_ACT_OK);
    }
    scratch.segment = client.direction.readdress(scratch.segment);
    compose::held(packet, partial, scratch)?;
    Ok(packet.route())
}

/// Tells the server's entry that the whole request has passed.
#[inline(always)]
pub(crate) fn asked(client: &Client) {
    if let Some(upstream) = maps::upstream(&client.upstream) {
        upstream.flags |= IS_ASKED;
    }
}

/// Passes the part of a segment that belongs to the current request. The client sends the rest again, and it is judged
/// like any request.
#[inline(always)]
fn cut(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    keep: u32,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    count::event(|events| &mut events.cut);
    let sequence = headers.sequence.get();
    let at = headers.payload_offset();
    if client.numbering.stamp_within(sequence, keep).is_some() || keep > connect::UPSTREAM_SEGMENT_BYTES {
        return Ok(swallow());
    }
    packet.read(at, scratch.held.bytes.as_mut_ptr(), keep)?;
    scratch.held.length = keep;
    let numbers = client.numbering.to_server(numbers(headers));
    send(packet, headers, client, &numbers, scratch)
}

/// The client sends (a part of) the head again: the server gets it with its stamp.
#[inline(always)]
fn stamp_again(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    at: u32,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let length = u32::from(headers.payload_bytes());
    if length
        > u32::from(
            client
                .asking
                .segment_size
                .max(connect::UPSTREAM_SEGMENT_BYTES as u16),
        )
    {
        count::event(|events| &mut events.cut);
        return Ok(swallow());
    }
    let Some(upstream) = maps::upstream(&client.upstream) else {
        return Ok(swallow());
    };
    let target = upstream.target;
    let numbers = client.numbering.to_server(numbers(headers));
    scratch.held.length = length;
    connect::stamp(packet, headers, at, target, scratch)?;
    send(packet, headers, client, &numbers, scratch)
}

/// A request on a connection that had one: it may be decided once the last one is answered.
#[inline(always)]
fn ask_again(headers: &Headers, client: &mut Client, scratch: &mut Scratch) -> Result<Next, Fault> {
    let Some(upstream) = maps::upstream(&client.upstream) else {
        return Ok(Next::Verdict(swallow()));
    };
    let our_next = upstream.numbering.sequence_to_client(upstream.response.at);
    if !is_answered(upstream) || headers.acknowledgment.get() != our_next {
        count::event(|events| &mut events.too_early);
        return Ok(Next::Verdict(swallow()));
    }
    count::event(|events| &mut events.asked_again);
    scratch.opening = Opening {
        client_isn: headers.sequence.get().wrapping_sub(1),
        our_isn: our_next.wrapping_sub(1),
        held: 0,
        answered: 0,
        reply: 0,
        failures: 0,
        flags: client.asking.flags & SYN_FLAGS,
        ..client.asking
    };
    Ok(Next::Ask)
}

/// Whether a server's response is complete, as far as anybody can tell: of one that could not be followed, the client
/// knows, which asks again only when it has all of it.
#[inline(always)]
fn is_answered(upstream: &Upstream) -> bool {
    let stage = upstream.response.stage;
    let is_over = stage == Stage::Idle as u8 || stage == Stage::Unknown as u8;
    is_over && upstream.flags & (IS_SPLICED | IS_PROXIED | IS_CLOSING) == IS_SPLICED
}

/// The client resets its connection.
#[inline(always)]
fn reset(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    // RFC 5961, section 3: only a reset that stands exactly where the next byte would is one without doubt.
    let is_next = client
        .closing
        .is_client_next(headers.sequence.get(), client.request.at);
    if !is_next || headers.payload_bytes() > 0 {
        count::event(|events| &mut events.out_of_window);
        return pass(packet, headers, client, scratch);
    }
    count::event(|events| &mut events.reset);
    let verdict = last(packet, headers, key, client, scratch)?;
    release::forget(key, client, scratch);
    Ok(verdict)
}

/// The client closes its side.
#[inline(always)]
fn finish(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let had_begun = client.closing.has_begun();
    client.closing.client(
        headers.flags,
        headers.sequence_end(),
        headers.acknowledgment.get(),
    );
    if !had_begun {
        // From now on the other direction has to tell this entry what it sees.
        if let Some(upstream) = maps::upstream(&client.upstream) {
            upstream.flags |= IS_CLOSING;
        }
    }
    let verdict = if headers.payload_bytes() == 0 {
        last(packet, headers, key, client, scratch)?
    } else {
        pass(packet, headers, client, scratch)?
    };
    if client.closing.is_over() {
        count::event(|events| &mut events.closed);
        release::forget(key, client, scratch);
    }
    Ok(verdict)
}

/// Passes a reset or FIN without payload, after what makes the servers go that are kept for later.
#[inline(always)]
fn last(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let partial = is_partial(headers, &client.asking);
    scratch.opening = client.asking;
    release::parked(packet, headers, key, client, scratch)?;
    let numbers = client.numbering.to_server(numbers(headers));
    scratch.segment = Segment {
        sequence: numbers.sequence,
        acknowledgment: numbers.acknowledgment,
        window: numbers.window,
        ..headers.onward()
    };
    if client.is(IS_LOCAL) {
        compose::bare(packet, partial, scratch)?;
        return Ok(TC_ACT_OK);
    }
    scratch.segment = client.direction.readdress(scratch.segment);
    compose::bare(packet, partial, scratch)?;
    Ok(packet.route())
}
