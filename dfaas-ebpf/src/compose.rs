//! Segments made from other packets: answers, SYNs with and without a request, replays.

use dfaas_common::{
    maps::{Held, Reply},
    packet::{ACK, FIN, HEADERS_BYTES, Headers, PSH},
    tcp_options::OUR_OPTIONS_BYTES,
};

use crate::{
    ctx::{self, HelperFailed, Packet},
    maps::Scratch,
};

/// The window of our own acknowledgments to who gets no more than an answer: enough to drain what is on its way.
const DRAIN_WINDOW: u16 = 0xffff;

/// Makes the packet the segment in the scratch space, without options and payload.
#[inline(never)]
pub(crate) fn bare(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = 0;
    scratch.made = Headers::make(&scratch.segment);
    scratch.made.finish_checksum(partial, 0);
    packet.resize(HEADERS_BYTES as u32)?;
    packet.write_headers(&scratch.made)
}

/// Makes the packet the segment in the scratch space, without options and with one byte, zero.
#[inline(never)]
pub(crate) fn byte(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = 1;
    scratch.made = Headers::make(&scratch.segment);
    scratch.made.finish_checksum(partial, 0);
    packet.resize(HEADERS_BYTES as u32 + 1)?;
    packet.write_value(HEADERS_BYTES as u32, &0u8)?;
    packet.write_headers(&scratch.made)
}

/// Makes the packet a SYN with these options and, if there is one, a payload.
#[inline(never)]
pub(crate) fn syn(
    packet: &Packet,
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
    scratch.segment.options_bytes = OUR_OPTIONS_BYTES as u16;
    scratch.segment.payload_bytes = payload_bytes as u16;
    finish(packet, OUR_OPTIONS_BYTES as u32 + payload_bytes, partial, scratch)
}

/// Makes the packet the segment with these bytes.
#[inline(never)]
pub(crate) fn data(
    packet: &Packet,
    held: &Held,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    packet.resize(HEADERS_BYTES as u32 + held.length)?;
    packet.write(HEADERS_BYTES as u32, held.bytes.as_ptr(), held.length)?;
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = held.length as u16;
    finish(packet, held.length, partial, scratch)
}

/// Makes the packet the segment with the bytes that are held in the scratch space.
#[inline(never)]
pub(crate) fn held(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    let length = scratch.held.length;
    packet.resize(HEADERS_BYTES as u32 + length)?;
    packet.write(HEADERS_BYTES as u32, scratch.held.bytes.as_ptr(), length)?;
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = length as u16;
    finish(packet, length, partial, scratch)
}

/// Writes the headers of a segment whose options and payload, `rest` bytes, are in place.
#[inline(always)]
fn finish(packet: &Packet, rest: u32, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.made = Headers::make(&scratch.segment);
    let sum = if partial {
        0
    } else {
        packet.read(HEADERS_BYTES as u32, scratch.copy.as_mut_ptr(), rest)?;
        ctx::sum(&mut scratch.copy, rest)
    };
    scratch.made.finish_checksum(partial, sum);
    packet.write_headers(&scratch.made)
}

/// Makes the packet one of our own answers, which ends the connection.
#[inline(never)]
pub(crate) fn write_reply(
    packet: &Packet,
    reply: &Reply,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let length = reply.length & 255;
    scratch.segment.flags = ACK | PSH | FIN;
    scratch.segment.window = DRAIN_WINDOW;
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = length as u16;
    scratch.made = Headers::make(&scratch.segment);
    scratch.made.finish_checksum(partial, u64::from(reply.sum));
    packet.resize(HEADERS_BYTES as u32 + length)?;
    packet.write_reply(HEADERS_BYTES as u32, reply)?;
    packet.write_headers(&scratch.made)
}

/// Makes the packet an acknowledgment from us to who gets no more than an answer.
#[inline(always)]
pub(crate) fn drain(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.segment.flags = ACK;
    scratch.segment.window = DRAIN_WINDOW;
    bare(packet, partial, scratch)
}
