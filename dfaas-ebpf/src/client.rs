//! Packets of a client whose first request was decided: passed on, held back, or brought to the next decision.

use dfaas_common::{
    extent::Place,
    http::Stage,
    maps::{
        Client, Config, FlowKey, Greeting, Held, IS_CLOSING, IS_LOCAL, IS_NATURAL, IS_OVER, IS_TAKEN,
        Opening, Phase, SYN_IS_PARTIAL, Upstream,
    },
    numbering::Numbers,
    packet::{ACK, FIN, Headers, PSH, RST, SYN},
    tcp_options::rescale_window,
};

use crate::{
    Fault, Next, ahead, compose, connect, count,
    ctx::{HelperFailed, PASS, Packet, swallow},
    maps::{self, Locked, Scratch},
    open, over, parts, release, retry,
    translate::{self, Whose, numbers},
    upstream::window_behind,
};

/// No window that we or Linux promise is larger, in bytes; what lies further off is nobody's segment.
pub(crate) const WINDOW_MAX: i32 = 1 << 24;

/// Handles a packet of a client that is known.
#[inline(always)]
pub(crate) fn handle(
    packet: &Packet,
    config: &Config,
    headers: &mut Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    // Who waits for a server sends its request again; the end behind it says nothing new.
    if client.phase() != Phase::Connecting || headers.payload_bytes() > 0 {
        client.last_seen = config.tick;
    }
    if headers.flags & SYN != 0 {
        return syn_again(packet, config, headers, key, client, scratch);
    }
    match client.phase() {
        Phase::Asking => {
            scratch.opening = client.asking;
            Ok(Next::Ask)
        }
        Phase::Connecting => retry::waiting(packet, config, headers, key, client, scratch),
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
    let is_spliced = client.phase() == Phase::Spliced;
    if is_spliced && client.is(IS_NATURAL) {
        // The numbers are the stack's own, and so is what it says.
        return Ok(Next::Verdict(PASS));
    }
    let has_answer = client.phase() == Phase::Asking && client.asking.reply != 0;
    let greeting = if has_answer {
        client.asking.greet(headers.sequence.get())
    } else {
        Greeting::Challenge
    };
    if client.closing.has_both_ends() || greeting == Greeting::Anew {
        release::forget(key, scratch);
        return open::handle(packet, config, headers, key, scratch);
    }
    // RFC 5961, section 4: a client that has lost its connection answers this with a reset, and may then begin anew.
    scratch.opening = client.asking;
    let upstream = maps::upstream(&client.upstream).filter(|_| is_spliced);
    if let Some(upstream) = upstream {
        challenge(packet, headers, client, upstream, scratch)?;
    } else {
        open::challenge(packet, config, headers, greeting, scratch)?;
    }
    Ok(Next::Verdict(packet.out()))
}

/// Makes the packet an acknowledgment that shows where both sides are, and the window that the client has.
#[inline(never)]
fn challenge(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    upstream: &Upstream,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let config = maps::config().ok_or(HelperFailed)?;
    let numbering = &upstream.numbering;
    let window = rescale_window(upstream.window, numbering.server_scale, numbering.promised_scale);
    let segment_size = config.segment_size(headers.family());
    let next = numbering.sequence_to_client(upstream.response.at);
    compose::answer(headers, scratch);
    scratch.segment.sequence = client.closing.server_next(next);
    scratch.segment.acknowledgment = upstream.acknowledged;
    scratch.segment.flags = ACK;
    scratch.segment.window = window_behind(segment_size, upstream, upstream.acknowledged, window);
    compose::bare(packet, is_partial(headers, &client.asking), scratch)
}

/// Whether the client's interface leaves checksums to hardware. The SYN and this segment must agree: by chance, a
/// whole checksum looks like a partial one in one packet of 65536.
///
/// By a call: what the sum is made of would else be kept on the stack for all that ask.
#[inline(never)]
pub(crate) fn is_partial(headers: &Headers, opening: &Opening) -> bool {
    opening.flags & SYN_IS_PARTIAL != 0 && headers.has_partial_checksum()
}

#[inline(always)]
fn spliced(
    packet: &Packet,
    headers: &mut Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
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
    client.acknowledged = headers.acknowledgment.get();
    client.window = headers.window.get();
    if is_over(headers, client) {
        return over::end(packet, scratch).map(Next::Verdict);
    }
    if length > 0 {
        let was_left = client.request.left;
        let place = client.update(|client| client.request.note(sequence, length));
        if matches!(place, Place::Behind | Place::Beyond) {
            return behind(packet, headers, key, client, scratch);
        }
        if place == Place::Old || was_left == 0 {
            if let Some(next) = again(packet, headers, key, client, place, scratch)? {
                return Ok(next);
            }
        } else if client.request.left == 0 {
            asked(client);
        }
        if let Place::Crossing(keep) = place {
            return cut(packet, headers, key, client, keep, scratch).map(Next::Verdict);
        }
        if let Some(at) = client.numbering.stamp_within(sequence, length) {
            return stamp_again(packet, headers, client, at, scratch).map(Next::Verdict);
        }
    }
    leave_stamp(client);
    if headers.flags & FIN != 0 {
        // RFC 9293, section 3.10.7.4: an end counts where the next byte would be. It comes again when what is missing
        // before it has been asked.
        if headers.sequence_end().wrapping_sub(1) != client.request.at {
            count::event(|events| &mut events.out_of_window);
            return Ok(Next::Verdict(swallow()));
        }
        return finish(packet, headers, key, client, scratch).map(Next::Verdict);
    }
    if client.closing.has_begun() {
        return pass_closing(packet, headers, key, client, scratch).map(Next::Verdict);
    }
    if let Some(held) = ahead::due(headers, key, client) {
        ahead::take(packet, headers, client, held, scratch)?;
        return Ok(Next::Ask);
    }
    pass(packet, headers, client, scratch).map(Next::Verdict)
}

/// Whether the connection ends here, for all that was noted before this packet.
#[inline(always)]
fn is_over(headers: &Headers, client: &Client) -> bool {
    let has_more = client.request.ahead > 0;
    (has_more || client.is(IS_OVER))
        && maps::upstream(&client.upstream)
            .is_some_and(|upstream| over::is_due(headers, client, upstream, has_more))
}

/// Numbers the rest of a long request without its stamp, in both directions.
#[inline(always)]
fn leave_stamp(client: &mut Locked<Client>) {
    let at = client.request.at;
    if !client.numbering.is_beyond_stamp(at) {
        return;
    }
    client.update(|client| {
        client.numbering.leave_stamp(at);
        // Its first bytes are long there.
        client.asking.client_isn = client.asking.client_isn.wrapping_add(client.asking.held);
        client.asking.held = 0;
    });
    if let Some(upstream) = maps::upstream(&client.upstream) {
        upstream.update(|upstream| upstream.numbering.leave_stamp(at));
    }
}

/// A client sends bytes again that have passed: the server may have nothing of them.
#[inline(always)]
fn again(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    place: Place,
    scratch: &mut Scratch,
) -> Result<Option<Next>, Fault> {
    if let Some(verdict) = retry::leave_silent(packet, headers, key, client, scratch)? {
        return Ok(Some(Next::Verdict(verdict)));
    }
    if client.is_of_parts(headers.sequence.get()) {
        return replay(packet, headers, key, client, place, scratch);
    }
    Ok(None)
}

/// A client sends the last part of a head again, of which its server may have nothing. What follows in the same segment comes
/// again; nothing happens to such a one here if the head is no longer held.
#[inline(always)]
fn replay(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    place: Place,
    scratch: &mut Scratch,
) -> Result<Option<Next>, Fault> {
    if let Some(verdict) = parts::replay(packet, headers, key, client, scratch)? {
        return Ok(Some(Next::Verdict(verdict)));
    }
    if place != Place::Old {
        return Ok(None);
    }
    if maps::upstream(&client.upstream).is_some_and(|upstream| upstream.is(IS_TAKEN)) {
        let verdict = pass(packet, headers, client, scratch)?;
        return Ok(Some(Next::Verdict(verdict)));
    }
    scratch.server = client.upstream;
    if !retry::take_back(key, client, &scratch.server, Phase::Spliced) {
        return Ok(Some(Next::Verdict(swallow())));
    }
    // The client is told that its bytes are gone.
    scratch.opening = client.asking;
    Ok(Some(Next::Ask))
}

/// A segment that begins behind the current request: the next one, which may be decided once the last one is answered.
#[inline(always)]
fn behind(
    packet: &Packet,
    headers: &mut Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    let Some(upstream) = maps::upstream(&client.upstream) else {
        return Ok(Next::Verdict(swallow()));
    };
    if over::is_due(headers, client, upstream, true) {
        return over::end(packet, scratch).map(Next::Verdict);
    }
    let is_next = client.request.left == 0 && headers.sequence.get() == client.request.at;
    // Of a response that was not followed to its end, only the client can tell: it asks once more.
    let is_turn = client.request.ahead == 0 || upstream.response.stage == Stage::Unknown as u8;
    if is_next && is_turn && ahead::is_answered(upstream, headers) {
        client.request.ahead = 0;
        ahead::ask(headers, client, scratch);
        return Ok(Next::Ask);
    }
    ahead::came(packet, headers, key, client, scratch)
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
        return Ok(PASS);
    }
    translate::sacks(packet, headers, &client.numbering, Whose::Client, scratch)?;
    let numbers = client.numbering.to_server(numbers(headers));
    if client.is(IS_LOCAL) {
        translate::renumber(packet, headers, &numbers)?;
        return Ok(PASS);
    }
    translate::readdress(packet, headers, &client.upstream, &numbers)?;
    Ok(packet.route())
}

/// Makes a segment with the first bytes of the current request, and sends it to the server.
#[inline(always)]
pub(crate) fn send_data(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    held: &Held,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    compose::onward(headers, scratch);
    let numbering = &client.numbering;
    scratch.segment.sequence = numbering.upstream;
    scratch.segment.acknowledgment = numbering.acknowledgment_to_server(headers.acknowledgment.get());
    scratch.segment.flags = ACK | PSH;
    scratch.segment.window = numbering.window_to_server(headers.window.get());
    let is_local = client.is(IS_LOCAL);
    if !is_local {
        client.upstream.readdress(&mut scratch.segment);
    }
    compose::data(packet, held, is_partial(headers, &client.asking), scratch)?;
    Ok(if is_local { PASS } else { packet.route() })
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
    compose::onward(headers, scratch);
    scratch.segment.sequence = numbers.sequence;
    scratch.segment.acknowledgment = numbers.acknowledgment;
    scratch.segment.flags = ACK | PSH;
    scratch.segment.window = numbers.window;
    let partial = is_partial(headers, &client.asking);
    if client.is(IS_LOCAL) {
        compose::held(packet, partial, scratch)?;
        return Ok(PASS);
    }
    client.upstream.readdress(&mut scratch.segment);
    compose::held(packet, partial, scratch)?;
    Ok(packet.route())
}

/// Tells the server's entry where the request ends, all of which has passed.
#[inline(always)]
pub(crate) fn asked(client: &Client) {
    if let Some(upstream) = maps::upstream(&client.upstream) {
        upstream.next = client.request.at;
        upstream.has_end = 1;
    }
}

/// Passes the part of a segment that belongs to the current request. The rest is held, and judged like any request.
#[inline(always)]
fn cut(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    keep: u32,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    count::event(|events| &mut events.cut);
    let at = headers.payload_offset();
    let stamp = client.numbering.stamp_within(headers.sequence.get(), keep);
    let stamp_bytes = if stamp.is_some() {
        client.numbering.stamp_bytes
    } else {
        0
    };
    if keep + u32::from(stamp_bytes) > connect::UPSTREAM_SEGMENT_BYTES {
        return Ok(swallow());
    }
    packet.read(at, scratch.held.bytes.as_mut_ptr(), keep)?;
    scratch.held.length = keep;
    ahead::hold_behind(packet, headers, key, client, scratch)?;
    let numbers = client.numbering.to_server(numbers(headers));
    if let Some(stamp_at) = stamp {
        stamp_current(packet, headers, client, stamp_at, scratch)?;
    }
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
    let numbers = client.numbering.to_server(numbers(headers));
    scratch.held.length = length;
    stamp_current(packet, headers, client, at, scratch)?;
    send(packet, headers, client, &numbers, scratch)
}

/// Writes the stamp for the server of the current request.
#[inline(always)]
fn stamp_current(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    at: u32,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let upstream = maps::upstream(&client.upstream).ok_or(HelperFailed)?;
    connect::stamp(packet, headers, at, upstream.target, scratch)?;
    Ok(())
}

/// The client resets its connection.
#[inline(always)]
fn reset(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    // RFC 5961, section 3: only a reset that stands exactly where the next byte would is one without doubt.
    let sequence = headers.sequence.get();
    let is_held = sequence == client.request.at.wrapping_add(client.request.ahead);
    // Where our challenge says it is, if its server has not said so of all that it was sent.
    let is_told = maps::upstream(&client.upstream).is_some_and(|upstream| upstream.acknowledged == sequence);
    let is_next = is_held | is_told | client.closing.is_client_next(sequence, client.request.at);
    if !is_next || headers.payload_bytes() > 0 {
        count::event(|events| &mut events.out_of_window);
        return pass(packet, headers, client, scratch);
    }
    count::event(|events| &mut events.reset);
    // Its server has nothing of what is held.
    let held = if is_held { client.request.ahead } else { 0 };
    let verdict = last(packet, headers, held, key, client, scratch)?;
    release::forget(key, scratch);
    Ok(verdict)
}

/// The client closes its side.
#[inline(always)]
fn finish(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let had_begun = client.closing.has_begun();
    let is_over = note_end(headers, client);
    if !had_begun {
        // From now on the other direction has to tell this entry what it sees.
        if let Some(upstream) = maps::upstream(&client.upstream) {
            upstream.update(|upstream| upstream.flags |= IS_CLOSING);
        }
    }
    let verdict = if headers.payload_bytes() == 0 {
        last(packet, headers, 0, key, client, scratch)?
    } else {
        pass(packet, headers, client, scratch)?
    };
    if is_over {
        count::event(|events| &mut events.closed);
        release::forget(key, scratch);
    }
    Ok(verdict)
}

/// Passes a segment of a connection that a side has begun to close. Behind the last one the servers that are kept go, too.
#[inline(always)]
fn pass_closing(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Locked<Client>,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if !note_end(headers, client) {
        return pass(packet, headers, client, scratch);
    }
    let verdict = if headers.payload_bytes() == 0 {
        last(packet, headers, 0, key, client, scratch)?
    } else {
        pass(packet, headers, client, scratch)?
    };
    count::event(|events| &mut events.closed);
    release::forget(key, scratch);
    Ok(verdict)
}

/// Notes what a segment says of the end of the connection. Returns whether both ends are closed and both sides know.
#[inline(always)]
fn note_end(headers: &Headers, client: &mut Locked<Client>) -> bool {
    let (end, acknowledgment) = (headers.sequence_end(), headers.acknowledgment.get());
    client.update(|client| {
        client.closing.client(headers.flags, end, acknowledgment);
        client.closing.is_over()
    })
}

/// Passes a reset or FIN without payload, which stands behind so many bytes that are held, after what makes the servers go
/// that are kept for later.
#[inline(always)]
fn last(
    packet: &Packet,
    headers: &Headers,
    held: u32,
    key: &FlowKey,
    client: &mut Locked<Client>,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    scratch.opening = client.asking;
    release::parked(packet, key, scratch)?;
    let numbers = client.numbering.to_server(numbers(headers));
    compose::onward(headers, scratch);
    scratch.segment.sequence = numbers.sequence.wrapping_sub(held);
    scratch.segment.acknowledgment = numbers.acknowledgment;
    scratch.segment.window = numbers.window;
    send_bare(packet, headers, client, scratch)
}

/// Makes the packet the segment in the scratch space, without a payload, and sends it to the server.
#[inline(always)]
pub(crate) fn send_bare(
    packet: &Packet,
    headers: &Headers,
    client: &Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let partial = is_partial(headers, &client.asking);
    if client.is(IS_LOCAL) {
        compose::bare(packet, partial, scratch)?;
        return Ok(PASS);
    }
    client.upstream.readdress(&mut scratch.segment);
    compose::bare(packet, partial, scratch)?;
    Ok(packet.route())
}
