//! The handshake with the client: answered here, before any server is chosen.

use dfaas_common::{
    decide::Failed,
    maps::{Config, Farewell, FlowKey, Greeting, Opening, Phase, Reply, SYN_IS_PARTIAL, SYN_PERMITS_SACK},
    packet::{ACK, FIN, Headers, PSH, RST, SYN},
    siphash::Purpose,
    tcp_options::{NO_WINDOW_SCALE, OUR_OPTIONS_BYTES, OUR_WINDOW_SCALE, SynOptions},
};

use crate::{
    Fault, Next,
    client::is_partial,
    compose::{self, DRAIN_WINDOW},
    count,
    ctx::{self, HelperFailed, PASS, Packet, swallow},
    maps::{self, Scratch},
    over, release, request, secret, told,
};

/// Handles a packet of a client of whom no request was decided.
#[inline(always)]
pub(crate) fn handle(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    if headers.flags & (SYN | ACK | RST | FIN) == SYN {
        if headers.payload_bytes() > 0 && request::accept_syn(packet, config, headers, key, scratch)? {
            return Ok(Next::Verdict(PASS));
        }
        return answer_syn(packet, config, headers, key, scratch).map(Next::Verdict);
    }
    let Some(opening) = maps::opening(key) else {
        if headers.flags & (SYN | ACK | RST | FIN) == ACK | FIN && packet.has_ended() {
            // Our last acknowledgment was lost. What the stack would say now is in its own numbers.
            let (sequence, acknowledgment) = (headers.acknowledgment.get(), headers.sequence_end());
            return compose::challenge(packet, headers, sequence, acknowledgment, scratch).map(Next::Verdict);
        }
        // Nobody knows this connection; the stack says so with a reset.
        return Ok(Next::Verdict(PASS));
    };
    scratch.opening = *opening;
    if opening.is_closed() {
        return closed(packet, headers, key, scratch).map(Next::Verdict);
    }
    Ok(Next::Ask)
}

/// Handles a packet of a client whose request, the first or a later one, is not decided yet.
#[inline(always)]
pub(crate) fn ask(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if scratch.opening.reply != 0 {
        if !scratch.opening.goes_on() || is_answered(headers, &scratch.opening) {
            return answered(packet, headers, key, scratch);
        }
        // The next request.
        scratch.opening.reply = 0;
    }
    let opening = &scratch.opening;
    let is_answer =
        headers.flags & ACK != 0 && headers.acknowledgment.get() == opening.our_isn.wrapping_add(1);
    let is_next = headers.sequence.get() == opening.next();
    let is_reset = headers.flags & RST != 0;
    if !is_answer && !(is_reset && is_next) {
        count::event(|events| &mut events.out_of_handshake);
        return Ok(swallow());
    }
    // RFC 9293, section 3.10.7.4: who sends what has come long ago, as one does who probes, is told what is next.
    let is_old = opening.is_old(headers.sequence.get(), headers.sequence_end());
    if (is_reset && !is_next) || is_old {
        request::acknowledge(packet, config, headers, scratch)?;
        return Ok(packet.out());
    }
    if is_reset {
        abandon(packet, key, scratch)?;
        count::event(|events| &mut events.reset);
        return Ok(swallow());
    }
    if headers.payload_bytes() > 0 {
        return request::handle(packet, config, headers, key, scratch);
    }
    if headers.flags & FIN != 0 && is_next {
        abandon(packet, key, scratch)?;
        count::event(|events| &mut events.closed);
        scratch.opening.close();
        let _full = maps::insert_opening(key, &scratch.opening);
        return end(packet, headers, scratch);
    }
    Ok(swallow())
}

/// Tells a client that has closed of our end.
#[inline(always)]
pub(crate) fn end(packet: &Packet, headers: &Headers, scratch: &mut Scratch) -> Result<i32, Fault> {
    compose::answer(headers, scratch);
    scratch.segment.sequence = scratch.opening.our_isn;
    scratch.segment.flags = ACK | FIN;
    compose::bare(packet, headers.has_partial_checksum(), scratch)?;
    Ok(packet.out())
}

/// Handles a packet of a client that has closed and was told of our end, which may have been lost.
#[inline(always)]
fn closed(packet: &Packet, headers: &Headers, key: &FlowKey, scratch: &mut Scratch) -> Result<i32, Fault> {
    let acknowledgment = headers.acknowledgment.get();
    let farewell = scratch
        .opening
        .farewell(headers.flags, headers.sequence_end(), acknowledgment);
    match farewell {
        Farewell::Again => return end(packet, headers, scratch),
        Farewell::Over => maps::remove_opening(key),
        Farewell::Nothing => count::event(|events| &mut events.out_of_handshake),
    }
    Ok(swallow())
}

/// Writes back what is known of an undecided request.
#[inline(always)]
pub(crate) fn keep(key: &FlowKey, opening: &Opening) {
    if let Some(client) = maps::client(key) {
        client.asking = *opening;
        client.phase = Phase::Asking as u8;
    } else if let Some(known) = maps::opening(key) {
        *known = *opening;
    }
}

/// Lets a client go that ends its connection before its request is decided, and the servers of earlier ones.
#[inline(always)]
fn abandon(packet: &Packet, key: &FlowKey, scratch: &mut Scratch) -> Result<(), Fault> {
    if let Some(client) = maps::client(key) {
        request::park(client, &scratch.opening);
        client.upstream = FlowKey::default();
        release::parked(packet, key, scratch)?;
    }
    forget(key, scratch);
    Ok(())
}

#[inline(always)]
pub(crate) fn forget(key: &FlowKey, scratch: &mut Scratch) {
    if maps::client(key).is_some() {
        release::forget(key, scratch);
    } else {
        maps::remove_held(key);
        maps::remove_opening(key);
    }
}

/// Turns a SYN round into our SYN-ACK.
///
/// A retransmitted SYN gets the same answer; a new one under an old key starts anew.
#[inline(always)]
fn answer_syn(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let theirs = read_options(packet, headers, scratch)?;
    let client_isn = headers.sequence.get();
    let known = maps::opening(key);
    let greeting = known.as_ref().map(|opening| opening.greet(client_isn));
    if let (Some(opening), Some(greeting @ (Greeting::Challenge | Greeting::Again))) = (&known, greeting) {
        scratch.opening = **opening;
        challenge(packet, config, headers, greeting, scratch)?;
        return Ok(packet.out());
    }
    let our_isn = match known {
        Some(known) if known.client_isn == client_isn && known.reply == 0 => known.our_isn,
        _ => secret::sequence_start(key, Purpose::TowardsClient, ctx::now_ns()),
    };
    let partial = headers.has_partial_checksum();
    let opening = Opening {
        client_isn,
        our_isn,
        held: 0,
        answered: 0,
        window: headers.window.get(),
        segment_size: theirs.segment_size,
        window_scale: theirs.window_scale,
        flags: syn_flags(partial, &theirs),
        reply: 0,
        failures: 0,
        failed: Failed::NONE,
    };
    if !maps::insert_opening(key, &opening) {
        return Err(Fault::MAP_FULL);
    }
    let ours = SynOptions {
        segment_size: config.segment_size(headers.family()),
        window_scale: if theirs.window_scale == NO_WINDOW_SCALE {
            NO_WINDOW_SCALE
        } else {
            OUR_WINDOW_SCALE
        },
        permits_sack: theirs.permits_sack,
    };
    compose::answer(headers, scratch);
    scratch.segment.sequence = our_isn;
    scratch.segment.acknowledgment = client_isn.wrapping_add(1);
    scratch.segment.flags = SYN | ACK;
    // As much as can be held: a request up to that costs no further round trip. It comes in two segments, because Linux sends
    // no more than half of the largest window that it has seen in one (`tcp_bound_to_half_wnd`).
    scratch.segment.window = ours.segment_size;
    announce(packet, &ours, partial, scratch)?;
    count::event(|events| &mut events.opened);
    Ok(packet.out())
}

/// Answers a SYN on a connection that is known, as what is in the scratch space calls for.
#[inline(always)]
pub(crate) fn challenge(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    greeting: Greeting,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    if greeting == Greeting::Again {
        say_again(packet, headers, scratch)
    } else {
        request::acknowledge(packet, config, headers, scratch)
    }
}

/// Makes the packet what its sender was told last, an answer or an end of ours.
#[inline(never)]
fn say_again(packet: &Packet, headers: &Headers, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    let partial = is_partial(headers, &scratch.opening);
    let reply = maps::reply_by_number(scratch.opening.reply.wrapping_sub(1));
    let answer_bytes = reply.map_or(0, |reply| reply.length);
    compose::answer(headers, scratch);
    let (sequence, acknowledgment) = scratch.opening.last_words(answer_bytes);
    scratch.segment.sequence = sequence;
    scratch.segment.acknowledgment = acknowledgment;
    if let Some(reply) = reply {
        return give(packet, reply, partial, scratch);
    }
    scratch.segment.flags = ACK | FIN;
    scratch.segment.window = DRAIN_WINDOW;
    compose::bare(packet, partial, scratch)
}

/// Makes the packet our SYN-ACK.
#[inline(never)]
fn announce(
    packet: &Packet,
    ours: &SynOptions,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    compose::syn(packet, &ours.write(), None, partial, scratch)
}

#[inline(always)]
fn syn_flags(partial: bool, theirs: &SynOptions) -> u8 {
    let partial = if partial { SYN_IS_PARTIAL } else { 0 };
    let sack = if theirs.permits_sack { SYN_PERMITS_SACK } else { 0 };
    partial | sack
}

/// The options of a SYN or SYN-ACK.
#[inline(always)]
pub(crate) fn read_options(
    packet: &Packet,
    headers: &Headers,
    scratch: &mut Scratch,
) -> Result<SynOptions, Fault> {
    let length = u32::from(headers.options_bytes());
    if length > 0 {
        packet.read_options(headers.options_offset(), &mut scratch.options, length)?;
    }
    Ok(SynOptions::read(
        &scratch.options,
        length as usize,
        &mut scratch.option_marks,
    ))
}

/// Options take as much room in every SYN of ours.
const _: () = assert!(OUR_OPTIONS_BYTES % 4 == 0);

/// A window of so many bytes in the unit that our SYN-ACK promised, rounded up.
#[inline(always)]
pub(crate) fn window_of(bytes: u32, opening: &Opening) -> u16 {
    let has_scale = opening.window_scale != NO_WINDOW_SCALE;
    let scale = if has_scale { u32::from(OUR_WINDOW_SCALE) } else { 0 };
    ((bytes + (1 << scale) - 1) >> scale) as u16
}

/// Makes the packet our answer to the request.
#[inline(always)]
pub(crate) fn give(
    packet: &Packet,
    reply: &Reply,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    if scratch.opening.goes_on() {
        let config = maps::config().ok_or(HelperFailed)?;
        let window = config.segment_size(scratch.segment.family());
        scratch.segment.flags = ACK | PSH;
        scratch.segment.window = window_of(window.into(), &scratch.opening);
    } else {
        scratch.segment.flags = ACK | PSH | FIN;
        scratch.segment.window = DRAIN_WINDOW;
    }
    compose::write_reply(packet, reply, partial, scratch)
}

/// Whether all that a segment brings has been answered.
#[inline(always)]
fn is_answered(headers: &Headers, opening: &Opening) -> bool {
    headers.payload_bytes() > 0 && (headers.sequence_end().wrapping_sub(opening.answered) as i32) <= 0
}

/// Handles a packet of a client that has our answer, or is about to get it.
#[inline(always)]
fn answered(packet: &Packet, headers: &Headers, key: &FlowKey, scratch: &mut Scratch) -> Result<i32, Fault> {
    if scratch.opening.is_ended() {
        return over::ended(packet, headers, key, scratch);
    }
    let opening = scratch.opening;
    if headers.flags & RST != 0 {
        // Where what was drained ends is not known: what is in the window is next.
        if headers.sequence.get().wrapping_sub(opening.answered) <= DRAIN_WINDOW.into() {
            told::heard(packet, key, scratch)?;
            forget(key, scratch);
        }
        return Ok(swallow());
    }
    let reply = maps::reply_by_number(opening.reply.wrapping_sub(1)).ok_or(Fault::HELPER)?;
    let partial = headers.has_partial_checksum();
    let behind_reply = opening.our_isn.wrapping_add(reply.length).wrapping_add(2);
    let has_heard = headers.acknowledgment.get() == behind_reply && !opening.goes_on();
    if has_heard {
        told::heard(packet, key, scratch)?;
    }
    compose::answer(headers, scratch);
    scratch.segment.sequence = opening.our_isn.wrapping_add(1);
    if is_answered(headers, &opening) {
        if opening.goes_on() {
            scratch.segment.sequence = scratch.segment.sequence.wrapping_sub(reply.length);
        }
        scratch.segment.acknowledgment = opening.answered;
        give(packet, reply, partial, scratch)?;
        return Ok(packet.out());
    }
    if headers.payload_bytes() == 0 && headers.flags & FIN == 0 {
        // Who has closed before has nothing more to say.
        if has_heard && maps::client(key).is_some_and(|client| client.closing.has_begun()) {
            forget(key, scratch);
        }
        return Ok(swallow());
    }
    // What follows a refused request is acknowledged and forgotten, so that the client reads the answer instead of
    // a reset (RFC 9112, section 9.6).
    count::event(|events| &mut events.drained);
    if !has_heard {
        // It has not heard our answer, which nobody else would send again once all of the client's bytes are acknowledged.
        give(packet, reply, partial, scratch)?;
        return Ok(packet.out());
    }
    scratch.segment.sequence = behind_reply;
    compose::drain(packet, partial, scratch)?;
    if headers.flags & FIN != 0 {
        forget(key, scratch);
    }
    Ok(packet.out())
}
