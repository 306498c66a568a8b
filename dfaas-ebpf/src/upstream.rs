//! Packets of the server that has a request, or had one: followed to the end of the response, and passed back.

use dfaas_common::{
    http::{Passage, Stage},
    maps::{
        Client, Config, FlowKey, IS_CLOSING, IS_CURRENT, IS_LAST, IS_LOCAL, IS_NATURAL, IS_PROXIED,
        IS_SPLICED, IS_TAKEN, Phase, Upstream,
    },
    packet::{ACK, FIN, Headers, RST, SYN},
    tcp_options::NO_WINDOW_SCALE,
};

use crate::{
    Fault, Hook,
    client::WINDOW_MAX,
    compose, count,
    ctx::{HelperFailed, PASS, Packet, swallow},
    follow::dfaas_follow,
    handshake,
    maps::{self, Locked, Scratch},
    over, release, retry, told,
    translate::{self, Whose, numbers},
};

/// Handles a packet of a server.
#[inline(always)]
pub(crate) fn handle(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    upstream: &mut Locked<Upstream>,
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
    note_taken_behind(headers, ahead, upstream);
    if headers.flags & RST != 0 {
        return reset(packet, config, headers, key, upstream, scratch);
    }
    let length = u32::from(headers.payload_bytes());
    if headers.flags & FIN != 0 && length == 0 && headers.sequence.get() == upstream.response.at {
        match leaves(headers, key, upstream) {
            Leaving::Now => return let_go(packet, headers, key, hook, scratch),
            Leaving::Later => return Ok(swallow()),
            Leaving::Told => {
                if let Some(verdict) = told::answer_for(packet, headers, key, upstream, scratch)? {
                    return Ok(verdict);
                }
            }
        }
    }
    if length > 0 {
        if over::is_surplus(headers, upstream) {
            return over::surplus(packet, headers, key, upstream, scratch, hook);
        }
        if !follow(packet, headers, length, upstream, scratch)? {
            return Ok(swallow());
        }
        if scratch.response.has_surplus() {
            over::note(&upstream.client, key);
        }
        if upstream.response.is_refusal() && !upstream.is(IS_TAKEN) && upstream.target != 0 {
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
pub(crate) fn note_taken(headers: &Headers, length: u32, upstream: &mut Locked<Upstream>) {
    let acknowledgment = headers.acknowledgment.get();
    if upstream.update(|upstream| upstream.take(acknowledgment, length)) {
        count::served(upstream);
    }
}

/// Notes what is acknowledged behind bytes that are missing: it has arrived at the server all the same, which may run it.
#[inline(always)]
fn note_taken_behind(headers: &Headers, ahead: i32, upstream: &mut Locked<Upstream>) {
    if ahead > 0 && headers.flags & ACK != 0 {
        note_taken(headers, 0, upstream);
    }
}

/// Passes a segment on to the client.
#[inline(always)]
fn pass(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    upstream.window = headers.window.get();
    if upstream.is(IS_NATURAL) && upstream.numbering.ours == upstream.numbering.server {
        return Ok(PASS);
    }
    translate::sacks(packet, headers, &upstream.numbering, Whose::Server, scratch)?;
    let mut numbers = upstream.numbering.to_client(numbers(headers));
    let segment_size = config.segment_size(headers.family());
    numbers.window = window_behind(segment_size, upstream, numbers.acknowledgment, numbers.window);
    upstream.acknowledged = numbers.acknowledgment;
    if upstream.is(IS_LOCAL) {
        translate::renumber(packet, headers, &numbers)?;
        return Ok(PASS);
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
///
/// What reads it is not called from a function of its own, because the stack is small.
#[inline(always)]
fn follow(
    packet: &Packet,
    headers: &Headers,
    length: u32,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
) -> Result<bool, HelperFailed> {
    match begin(headers, length, upstream, scratch) {
        Step::Pass => return Ok(true),
        Step::Swallow => return Ok(false),
        Step::Read => {}
    }
    let at = headers.payload_offset();
    packet.call(scratch, |skb| dfaas_follow(skb, at, length))?;
    Ok(commit(headers, length, upstream, scratch))
}

/// What a segment calls for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Step {
    Pass,
    Swallow,
    Read,
}

/// Follows the response as far as it need not be read, and leaves it in the scratch space.
#[inline(never)]
fn begin(headers: &Headers, length: u32, upstream: &mut Locked<Upstream>, scratch: &mut Scratch) -> Step {
    let sequence = headers.sequence.get();
    let passage = upstream.update(|upstream| {
        let passage = upstream.response.pass(sequence, length);
        scratch.response = upstream.response;
        passage
    });
    match passage {
        Passage::Followed => Step::Pass,
        Passage::Unread => {
            // In the scratch space, so that the verifier forgets what it knows of it: else every path through a loop is
            // one of its own.
            scratch.offset = scratch.response.at.wrapping_sub(sequence);
            scratch.from = scratch.response.at;
            Step::Read
        }
        Passage::Early => {
            count::event(|events| &mut events.gap);
            Step::Swallow
        }
        Passage::Unframed => {
            if lose(sequence.wrapping_add(length), upstream) {
                Step::Pass
            } else {
                Step::Swallow
            }
        }
    }
}

/// Enters what was read of the response. Returns whether the segment may pass.
#[inline(never)]
fn commit(headers: &Headers, length: u32, upstream: &mut Locked<Upstream>, scratch: &mut Scratch) -> bool {
    note_rest(length, &upstream.client, scratch);
    scratch.response.at = headers.sequence.get().wrapping_add(length);
    let (from, response) = (scratch.from, &scratch.response);
    let is_followed = upstream.update(|upstream| upstream.response.commit(from, response));
    if !is_followed {
        count::event(|events| &mut events.gap);
    }
    is_followed
}

/// Passes a segment behind missing bytes without which the response's end is not known. That harms only who has asked for
/// more already: others ask when they have all of it.
#[inline(always)]
fn lose(end: u32, upstream: &mut Locked<Upstream>) -> bool {
    if has_sent_ahead(&upstream.client) {
        count::event(|events| &mut events.gap);
        return false;
    }
    count::event(|events| &mut events.response_unknown);
    upstream.update(|upstream| upstream.response.lose(end));
    true
}

/// What is known of the response in the scratch space behind a segment that was read.
#[inline(always)]
fn note_rest(length: u32, client_key: &FlowKey, scratch: &mut Scratch) {
    if scratch.offset >= length {
        return;
    }
    let stage = scratch.response.stage;
    if stage == Stage::Idle as u8 {
        scratch.response.note_surplus();
    } else if stage != Stage::Endless as u8 && stage != Stage::Unknown as u8 {
        count::event(|events| &mut events.response_unknown);
        if has_sent_ahead(client_key) {
            // Its next request would be answered in the middle of this response.
            scratch.response.stage = Stage::Endless as u8;
        } else {
            scratch.response.give_up();
        }
    }
}

#[inline(always)]
fn has_sent_ahead(client_key: &FlowKey) -> bool {
    maps::client(client_key).is_some_and(|client| client.request.ahead > 0)
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
    if !retry::take_back(&client_key, client, key, Phase::Spliced) {
        return Ok(None);
    }
    count::event(|events| &mut events.refused_by_peer);
    maps::remove_upstream(key);
    compose::reset(packet, headers, scratch)?;
    Ok(Some(packet.out()))
}

/// The server resets the connection.
#[inline(always)]
fn reset(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let client_key = upstream.client;
    let Some(client) = maps::client(&client_key) else {
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
    let is_idle = upstream.response.stage == Stage::Idle as u8 && is_replaceable(upstream);
    if is_idle && is_outlived(key, upstream, client) {
        maps::remove_upstream(key);
        return Ok(swallow());
    }
    // A server that closed just when the request was on its way has not begun to serve it (RFC 9112, 9.3.1). One that
    // acknowledges a part of it may have. One that acknowledges none answers what came last: of a request that was sent
    // again, the first may have run.
    let is_first = client.may_repeat != 0 || client.attempts <= 1;
    let has_nothing = if headers.flags & ACK == 0 {
        is_first
    } else {
        headers.acknowledgment.get() == upstream.numbering.upstream
    };
    let is_untouched =
        has_nothing && upstream.response.stage == Stage::Head as u8 && !upstream.is(IS_TAKEN | IS_PROXIED);
    if is_untouched && retry::take_back(&client_key, client, key, Phase::Spliced) {
        count::event(|events| &mut events.upstream_refused);
        return Ok(swallow());
    }
    if let Some(verdict) = told::answer_for(packet, headers, key, upstream, scratch)? {
        return Ok(verdict);
    }
    count::event(|events| &mut events.reset);
    let verdict = last(packet, headers, &client_key, upstream, scratch)?;
    release::forget(&client_key, scratch);
    Ok(verdict)
}

/// Passes a segment without a payload with which a connection is over, after what makes the servers go that are kept for
/// later: the local stack would have its connection for ever, in numbers that the client does not know.
#[inline(always)]
fn last(
    packet: &Packet,
    headers: &Headers,
    client_key: &FlowKey,
    upstream: &Upstream,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let is_local = upstream.is(IS_LOCAL);
    let numbers = upstream.numbering.to_client(numbers(headers));
    release::parked(packet, client_key, scratch)?;
    compose::onward(headers, scratch);
    scratch.segment.sequence = numbers.sequence;
    scratch.segment.acknowledgment = numbers.acknowledgment;
    scratch.segment.window = numbers.window;
    if !is_local {
        client_key.readdress(&mut scratch.segment);
    }
    compose::bare(packet, headers.has_partial_checksum(), scratch)?;
    Ok(if is_local { PASS } else { packet.route() })
}

/// What becomes of a server that closes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// It goes, and its client does not notice: that has all that it has asked for, or what is on its way was not taken.
    Now,
    /// It goes when it says so again: the client may need bytes of the answer once more.
    Later,
    /// Its client is told.
    Told,
}

/// Lets a server that closes go, if that harms nobody: the client keeps its connection, and its next segment is decided
/// (again).
#[inline(always)]
fn leaves(headers: &Headers, key: &FlowKey, upstream: &mut Locked<Upstream>) -> Leaving {
    let client_key = upstream.client;
    let client = maps::client(&client_key);
    let (true, Some(client)) = (is_replaceable(upstream), client) else {
        return Leaving::Told;
    };
    if upstream.response.stage == Stage::Idle as u8 {
        return if is_outlived(key, upstream, client) {
            Leaving::Now
        } else if client.has_asked(key) {
            upstream.update(|upstream| upstream.has_left = 1);
            Leaving::Later
        } else {
            Leaving::Told
        };
    }
    // A server that closed just when the request was on its way has not begun to serve it (RFC 9112, 9.3.1).
    let has_nothing = headers.acknowledgment.get() == upstream.numbering.upstream;
    let is_untouched = has_nothing && upstream.response.stage == Stage::Head as u8 && !upstream.is(IS_TAKEN);
    if !is_untouched || !retry::take_back(&client_key, client, key, Phase::Spliced) {
        return Leaving::Told;
    }
    count::event(|events| &mut events.upstream_refused);
    Leaving::Now
}

/// Whether a client need not learn that this server is gone.
#[inline(always)]
fn is_replaceable(upstream: &Upstream) -> bool {
    !upstream.is(IS_NATURAL | IS_LAST | IS_PROXIED | IS_CLOSING) && !upstream.response.is_last()
}

/// Leaves a client without its server, if the one has all from the other.
#[inline(always)]
fn is_outlived(key: &FlowKey, upstream: &Upstream, client: &mut Locked<Client>) -> bool {
    let next = upstream.numbering.sequence_to_client(upstream.response.at);
    let is_outlived = client.update(|client| client.outlive(key, next));
    if is_outlived {
        count::event(|events| &mut events.upstream_left);
    }
    is_outlived
}

/// Ends the connection to a server that nobody needs any more, in whose packet it has closed.
#[inline(always)]
fn let_go(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    hook: Hook,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    maps::remove_upstream(key);
    compose::reset(packet, headers, scratch)?;
    Ok(match hook {
        Hook::Ingress => packet.out(),
        Hook::Egress => packet.to_stack(),
    })
}

/// Passes a segment of a connection that a side has begun to close.
#[inline(always)]
fn closing(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    upstream: &mut Locked<Upstream>,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let client_key = upstream.client;
    let numbering = upstream.numbering;
    upstream.update(|upstream| upstream.flags |= IS_CLOSING);
    let is_over = maps::client(&client_key).is_some_and(|client| {
        let end = numbering.sequence_to_client(headers.sequence_end());
        let acknowledgment = numbering.acknowledgment_to_client(headers.acknowledgment.get());
        client.update(|client| {
            client.closing.server(headers.flags, end, acknowledgment);
            client.closing.is_over()
        })
    });
    if !is_over || headers.payload_bytes() > 0 {
        return pass(packet, config, headers, upstream, scratch);
    }
    count::event(|events| &mut events.closed);
    let verdict = last(packet, headers, &client_key, upstream, scratch)?;
    release::forget(&client_key, scratch);
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
    let at = upstream.response.at;
    let ahead = headers.sequence.get().wrapping_sub(at) as i32;
    if headers.flags & RST != 0 {
        if ahead == 0 {
            maps::remove_upstream(key);
        }
        return Ok(swallow());
    }
    // What does not lead on from where it stopped is nobody's, or comes behind what is missing (RFC 9293, 3.10.7.4).
    if ahead > 0 || ahead < -WINDOW_MAX {
        count::event(|events| &mut events.out_of_window);
        return Ok(swallow());
    }
    let is_new = headers.sequence_end().wrapping_sub(at) as i32 > 0;
    let is_probe = ahead != 0;
    if !is_new && !is_probe {
        return Ok(swallow());
    }
    if let Some(verdict) = told::again(packet, headers, upstream, scratch)? {
        return Ok(verdict);
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
