//! What a client sends before it has the answer to its last request: held, so that it need not be sent again, until
//! the client acknowledges the whole answer. That packet then becomes the segment with the next request.

use dfaas_common::{
    extent::Place,
    http::Stage,
    maps::{Client, FlowKey, Held, IS_CLOSING, IS_PROXIED, IS_SPLICED, Upstream},
    packet::{ACK, HEADERS_BYTES_MAX, Headers, PSH},
    tcp_options::OUR_WINDOW_SCALE,
};

use crate::{
    Fault, Next,
    client::{WINDOW_MAX, asked, is_partial},
    compose,
    connect::UPSTREAM_SEGMENT_BYTES,
    count,
    ctx::{HelperFailed, Packet, swallow},
    maps::{self, Scratch},
    open::window_of,
};

/// Where bytes are put together in a packet that loses its payload: behind the headers of either version.
const HEADERS: u32 = HEADERS_BYTES_MAX as u32;

/// Handles a segment of which all stands behind the current request, and which cannot be decided as it is.
#[inline(always)]
pub(crate) fn came(
    packet: &Packet,
    headers: &mut Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<Next, Fault> {
    hold(packet, headers, key, client, scratch)?;
    if let Some(held) = due(headers, key, client) {
        take(packet, headers, client, held, scratch)?;
        return Ok(Next::Ask);
    }
    scratch.opening = client.asking;
    wake(packet, headers, client.request.at, scratch)?;
    Ok(Next::Verdict(packet.out()))
}

/// Holds what of a segment stands behind the current request. The packet may lose its payload.
#[inline(never)]
pub(crate) fn hold(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let length = u32::from(headers.payload_bytes());
    let found = client
        .request
        .ahead_in(headers.sequence.get(), length, UPSTREAM_SEGMENT_BYTES);
    let Some((skip, more)) = found else {
        count::event(|events| &mut events.too_early);
        return Ok(());
    };
    if !has_known_acknowledgment(headers, client) {
        count::event(|events| &mut events.out_of_window);
        return Ok(());
    }
    let from = headers.payload_offset() + skip;
    let before = client.request.ahead;
    client.request.ahead = 0;
    if before == 0 {
        packet.read(from, scratch.ahead.bytes.as_mut_ptr(), more)?;
        enter(key, client.request.at, more, scratch);
    } else {
        let Some(held) = maps::ahead(key).filter(|held| held.at == client.request.at) else {
            return Ok(());
        };
        append(packet, from, more, held, scratch)?;
    }
    client.request.ahead = before + more;
    count::event(|events| &mut events.held_ahead);
    Ok(())
}

/// Appends bytes of the packet, which loses its payload, to what is held.
#[inline(never)]
fn append(
    packet: &Packet,
    from: u32,
    more: u32,
    held: &mut Held,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let before = held.length;
    packet.read(from, scratch.copy.as_mut_ptr(), more)?;
    packet.resize(HEADERS + before + more)?;
    packet.write(HEADERS, held.bytes.as_ptr(), before)?;
    packet.write(HEADERS + before, scratch.copy.as_ptr(), more)?;
    packet.read(HEADERS, held.bytes.as_mut_ptr(), before + more)?;
    held.length = before + more;
    Ok(())
}

/// Whether a segment acknowledges what was sent not long ago, as only somebody knows who sees it (RFC 5961, section 5).
#[inline(always)]
fn has_known_acknowledgment(headers: &Headers, client: &Client) -> bool {
    let Some(upstream) = maps::upstream(&client.upstream) else {
        return false;
    };
    let our_next = upstream.numbering.sequence_to_client(upstream.response.at);
    our_next.wrapping_sub(headers.acknowledgment.get()) < WINDOW_MAX as u32
}

/// Holds what of a segment stands behind the current request, whose own bytes in it are held in the scratch space and
/// stay in the packet.
#[inline(always)]
pub(crate) fn hold_behind(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    hold(packet, headers, key, client, scratch)?;
    scratch.opening = client.asking;
    Ok(wake_and_restore(packet, headers, client.request.at, scratch)?)
}

/// Holds what stands behind the first request in the packet, of so many bytes that were read. What is known of the
/// client is in the scratch space; the request's bytes are there, too, and stay in the packet.
#[inline(always)]
pub(crate) fn hold_rest(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    read: u32,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let keep = scratch.held.length;
    if scratch.client.request.left != 0 || keep >= read {
        return Ok(());
    }
    let from = headers.payload_offset() + keep;
    let end = scratch.client.request.at;
    packet.read(from, scratch.ahead.bytes.as_mut_ptr(), read - keep)?;
    enter(key, end, read - keep, scratch);
    scratch.client.request.ahead = read - keep;
    Ok(wake_and_restore(packet, headers, end, scratch)?)
}

#[inline(never)]
fn wake_and_restore(
    packet: &Packet,
    headers: &Headers,
    end: u32,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    wake(packet, headers, end, scratch)?;
    packet.copy_out();
    let (at, length) = (headers.payload_offset(), scratch.held.length);
    packet.resize(at + length)?;
    packet.write(at, scratch.held.bytes.as_ptr(), length)
}

/// A map that takes no more is no fault: the client sends again what is not there.
#[inline(always)]
fn enter(key: &FlowKey, at: u32, length: u32, scratch: &mut Scratch) {
    scratch.ahead.at = at;
    scratch.ahead.length = length;
    let _full = maps::insert_ahead(key, &scratch.ahead);
}

/// The next request, if one is held and its turn has come.
#[inline(always)]
pub(crate) fn due(headers: &Headers, key: &FlowKey, client: &mut Client) -> Option<&'static Held> {
    if client.request.ahead == 0 {
        return None;
    }
    let upstream = maps::upstream(&client.upstream)?;
    // Of a response that could not be followed, nobody knows whether it is complete.
    if upstream.response.stage != Stage::Idle as u8 || !is_answered(upstream, headers) {
        return None;
    }
    let length = client.request.ahead;
    client.request.ahead = 0;
    let held = maps::ahead(key)?;
    (held.at == client.request.at && held.length == length).then_some(held)
}

/// Makes the packet the segment with the next request.
#[inline(always)]
pub(crate) fn take(
    packet: &Packet,
    headers: &mut Headers,
    client: &Client,
    held: &Held,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    compose::onward(headers, scratch);
    scratch.segment.sequence = held.at;
    scratch.segment.flags = ACK | PSH;
    compose::data(packet, held, is_partial(headers, &client.asking), scratch)?;
    compose::reread(headers, scratch);
    count::event(|events| &mut events.ahead_asked);
    ask(headers, client, scratch);
    Ok(())
}

/// Whether a server's response is complete, as far as anybody can tell, and its client has all of it.
///
/// Of one that could not be followed, the client knows, which asks again only when it has all of it.
#[inline(always)]
pub(crate) fn is_answered(upstream: &Upstream, headers: &Headers) -> bool {
    let stage = upstream.response.stage;
    let is_over = stage == Stage::Idle as u8 || stage == Stage::Unknown as u8;
    let our_next = upstream.numbering.sequence_to_client(upstream.response.at);
    is_over
        && upstream.flags & (IS_SPLICED | IS_PROXIED | IS_CLOSING) == IS_SPLICED
        && headers.acknowledgment.get() == our_next
}

/// Prepares the decision about a request that follows another.
#[inline(always)]
pub(crate) fn ask(headers: &Headers, client: &Client, scratch: &mut Scratch) {
    count::event(|events| &mut events.asked_again);
    scratch.opening = client.asking;
    scratch
        .opening
        .await_request(headers.sequence.get(), headers.acknowledgment.get());
}

/// Makes the packet one that its client acknowledges at once: the byte before the current response, which it has long
/// had (RFC 9293, section 3.10.7.4). Linux is then quick about the next sixteen acknowledgments, too, which else come 40 ms after an answer.
///
/// The client's window is that for what comes behind a request which ends at this number.
#[inline(never)]
fn wake(packet: &Packet, headers: &Headers, end: u32, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    let config = maps::config().ok_or(HelperFailed)?;
    let start = scratch.opening.client_isn.wrapping_add(1);
    let room = end
        .wrapping_sub(start)
        .wrapping_add(config.segment_size(headers.family()).into());
    let whole_units = room >> OUR_WINDOW_SCALE << OUR_WINDOW_SCALE;
    compose::answer(headers, scratch);
    scratch.segment.sequence = scratch.opening.our_isn;
    scratch.segment.acknowledgment = start;
    scratch.segment.flags = ACK;
    scratch.segment.window = window_of(whole_units, &scratch.opening);
    compose::byte(packet, is_partial(headers, &scratch.opening), scratch)
}

/// Holds what a client sends behind a request whose server has not answered the SYN yet.
#[inline(always)]
pub(crate) fn came_early(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    hold(packet, headers, key, client, scratch)?;
    scratch.opening = client.asking;
    wake(packet, headers, client.request.at, scratch)?;
    Ok(packet.out())
}

/// Appends a segment to the held bytes; it goes with them once the server has answered.
#[inline(always)]
pub(crate) fn keep_more(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let Some(held) = maps::held(key) else {
        count::event(|events| &mut events.held_missing);
        return Ok(swallow());
    };
    let sequence = headers.sequence.get();
    let mut more = u32::from(headers.payload_bytes());
    let length = held.length;
    // The whole has to fit into one segment towards the server, and to belong to one request.
    let stamp = u32::from(client.numbering.stamp_bytes);
    let is_next = sequence.wrapping_sub(client.numbering.client).wrapping_add(stamp) == length;
    if !is_next || length + more > UPSTREAM_SEGMENT_BYTES {
        return Ok(swallow());
    }
    let place = client.request.note(sequence, more);
    if let Place::Crossing(keep) = place {
        more = keep;
        hold(packet, headers, key, client, scratch)?;
    } else if place != Place::Within {
        return Ok(swallow());
    }
    append(packet, headers.payload_offset(), more, held, scratch)?;
    if client.request.left == 0 {
        asked(client);
    }
    Ok(swallow())
}
