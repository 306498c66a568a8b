//! Segments made from other packets: answers, SYNs with and without a request, replays.

use dfaas_common::{
    decide::Answer,
    maps::{Held, Reply},
    packet::{ACK, FIN, HEADERS_BYTES, Headers, PSH, Segment},
    tcp_options::OUR_OPTIONS_BYTES,
};

use crate::{
    ctx::{self, HelperFailed, Packet},
    maps::{self, Scratch},
};

/// The window of our own acknowledgments to who gets no more than an answer: enough to drain what is on its way.
const DRAIN_WINDOW: u16 = 0xffff;

/// Makes the packet a segment without options and payload.
#[inline(always)]
pub(crate) fn bare(packet: &Packet, segment: &Segment, partial: bool) -> Result<(), HelperFailed> {
    let mut headers = Headers::make(segment);
    headers.finish_checksum(partial, 0);
    packet.resize(HEADERS_BYTES as u32)?;
    packet.write_headers(&headers)
}

/// Makes the packet a SYN with our options and, if there is one, a payload.
#[inline(always)]
pub(crate) fn syn(
    packet: &Packet,
    segment: &Segment,
    options: &[u8; OUR_OPTIONS_BYTES],
    payload: Option<&Held>,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let at = (HEADERS_BYTES + OUR_OPTIONS_BYTES) as u32;
    let payload_bytes = if let Some(held) = payload { held.length } else { 0 };
    packet.resize(at + payload_bytes)?;
    packet.write_value(HEADERS_BYTES as u32, options)?;
    if let Some(held) = payload {
        packet.write(at, held.bytes.as_ptr(), held.length)?;
    }
    let segment = Segment {
        options_bytes: OUR_OPTIONS_BYTES as u16,
        payload_bytes: payload_bytes as u16,
        ..*segment
    };
    finish(
        packet,
        &segment,
        OUR_OPTIONS_BYTES as u32 + payload_bytes,
        partial,
        scratch,
    )
}

/// Makes the packet a segment with these bytes.
#[inline(always)]
pub(crate) fn data(
    packet: &Packet,
    segment: &Segment,
    held: &Held,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    packet.resize(HEADERS_BYTES as u32 + held.length)?;
    packet.write(HEADERS_BYTES as u32, held.bytes.as_ptr(), held.length)?;
    let segment = Segment {
        payload_bytes: held.length as u16,
        ..*segment
    };
    finish(packet, &segment, held.length, partial, scratch)
}

/// Writes the headers of a segment whose options and payload, `rest` bytes, are in place.
#[inline(always)]
fn finish(
    packet: &Packet,
    segment: &Segment,
    rest: u32,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let mut headers = Headers::make(segment);
    let sum = if partial {
        0
    } else {
        packet.read(HEADERS_BYTES as u32, scratch.copy.as_mut_ptr(), rest)?;
        ctx::sum(&mut scratch.copy, rest)
    };
    headers.finish_checksum(partial, sum);
    packet.write_headers(&headers)
}

/// Makes the packet one of our own answers, which ends the connection.
#[inline(always)]
pub(crate) fn answer(
    packet: &Packet,
    segment: &Segment,
    answer: Answer,
    partial: bool,
) -> Result<(), HelperFailed> {
    let reply = maps::reply(answer).ok_or(HelperFailed)?;
    write_reply(packet, segment, reply, partial)
}

/// Makes the packet the answer with this number.
#[inline(always)]
pub(crate) fn write_reply(
    packet: &Packet,
    segment: &Segment,
    reply: &Reply,
    partial: bool,
) -> Result<(), HelperFailed> {
    let length = reply.length & 255;
    let segment = Segment {
        flags: ACK | PSH | FIN,
        window: DRAIN_WINDOW,
        options_bytes: 0,
        payload_bytes: length as u16,
        ..*segment
    };
    let mut headers = Headers::make(&segment);
    headers.finish_checksum(partial, u64::from(reply.sum));
    packet.resize(HEADERS_BYTES as u32 + length)?;
    packet.write_reply(HEADERS_BYTES as u32, reply)?;
    packet.write_headers(&headers)
}

/// Makes the packet an acknowledgment from us to who gets no more than an answer.
#[inline(always)]
pub(crate) fn drain(packet: &Packet, segment: &Segment, partial: bool) -> Result<(), HelperFailed> {
    bare(
        packet,
        &Segment {
            flags: ACK,
            window: DRAIN_WINDOW,
            ..*segment
        },
        partial,
    )
}
