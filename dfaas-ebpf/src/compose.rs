//! Segments made from other packets: answers, SYNs with and without a request, replays.

use aya_ebpf::bindings::__sk_buff;
use dfaas_common::{
    maps::{Held, Reply},
    packet::{ACK, Be16, Be32, Headers, RST},
    tcp_options::OUR_OPTIONS_BYTES,
};

use crate::{
    Fault,
    ctx::{self, HelperFailed, Packet},
    maps::{self, Scratch},
};

/// The window of our own acknowledgments to who gets no more than an answer: enough to drain what is on its way.
pub(crate) const DRAIN_WINDOW: u16 = 0xffff;

/// Addresses the segment in the scratch space as an acknowledgment to the sender of these headers.
#[inline(never)]
pub(crate) fn answer(headers: &Headers, scratch: &mut Scratch) {
    headers.answer(&mut scratch.segment);
}

/// Addresses it to where these headers go.
#[inline(never)]
pub(crate) fn onward(headers: &Headers, scratch: &mut Scratch) {
    headers.onward(&mut scratch.segment);
}

/// Makes the packet the segment in the scratch space, without options and payload.
#[inline(always)]
pub(crate) fn bare(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = 0;
    packet.resize(scratch.segment.headers_bytes())?;
    write_headers(packet, partial, 0, scratch)
}

/// Makes these the headers of the segment that the packet was made.
#[inline(always)]
pub(crate) fn reread(headers: &mut Headers, scratch: &Scratch) {
    let segment = &scratch.segment;
    headers.sequence = Be32::new(segment.sequence);
    headers.flags = segment.flags;
    headers.tcp_length = ((segment.tcp_bytes() / 4) as u8) << 4;
    headers.segment_bytes = segment.tcp_bytes() + segment.payload_bytes;
    headers.urgent = Be16::new(0);
    headers.ipv4_checksum = scratch.made_ipv4.checksum;
    headers.checksum = if segment.is_ipv6() {
        scratch.made_ipv6.tcp.checksum
    } else {
        scratch.made_ipv4.tcp.checksum
    };
}

/// Makes the packet the segment in the scratch space, without options and with one byte, zero.
#[inline(always)]
pub(crate) fn byte(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = 1;
    let at = scratch.segment.headers_bytes();
    packet.resize(at + 1)?;
    packet.write_value(at, &0u8)?;
    write_headers(packet, partial, 0, scratch)
}

/// Makes the packet a SYN with these options and, if there is one, a payload.
#[inline(always)]
pub(crate) fn syn(
    packet: &Packet,
    options: &[u8; OUR_OPTIONS_BYTES],
    payload: Option<&Held>,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let headers_bytes = scratch.segment.headers_bytes();
    let at = headers_bytes + OUR_OPTIONS_BYTES as u32;
    let payload_bytes = if let Some(held) = payload { held.length } else { 0 };
    packet.resize(at + payload_bytes)?;
    packet.write_value(headers_bytes, options)?;
    if let Some(held) = payload {
        packet.write(at, held.bytes.as_ptr(), held.length)?;
    }
    scratch.segment.options_bytes = OUR_OPTIONS_BYTES as u16;
    scratch.segment.payload_bytes = payload_bytes as u16;
    finish(packet, partial, scratch)
}

/// Makes the packet the segment with these bytes.
#[inline(always)]
pub(crate) fn data(
    packet: &Packet,
    held: &Held,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let at = scratch.segment.headers_bytes();
    packet.resize(at + held.length)?;
    packet.write(at, held.bytes.as_ptr(), held.length)?;
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = held.length as u16;
    finish(packet, partial, scratch)
}

/// Makes the packet the segment with the bytes that are held in the scratch space.
#[inline(always)]
pub(crate) fn held(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    let length = scratch.held.length;
    let at = scratch.segment.headers_bytes();
    packet.resize(at + length)?;
    packet.write(at, scratch.held.bytes.as_ptr(), length)?;
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = length as u16;
    finish(packet, partial, scratch)
}

/// Makes the packet one of our own answers.
#[inline(always)]
pub(crate) fn write_reply(
    packet: &Packet,
    reply: &Reply,
    partial: bool,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let length = reply.length & 255;
    scratch.segment.options_bytes = 0;
    scratch.segment.payload_bytes = length as u16;
    let at = scratch.segment.headers_bytes();
    packet.resize(at + length)?;
    packet.write_reply(at, reply)?;
    write_headers(packet, partial, reply.sum, scratch)
}

/// Makes the packet a reset to its sender.
#[inline(always)]
pub(crate) fn reset(packet: &Packet, headers: &Headers, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    answer(headers, scratch);
    scratch.segment.flags = RST | ACK;
    bare(packet, headers.has_partial_checksum(), scratch)
}

/// Makes the packet an acknowledgment to its sender, which shows what we know of the connection: who has reset it, or has
/// lost it, answers with a reset that stands where it must (RFC 5961, sections 3.2 and 4.2).
#[inline(always)]
pub(crate) fn challenge(
    packet: &Packet,
    headers: &Headers,
    sequence: u32,
    acknowledgment: u32,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    answer(headers, scratch);
    scratch.segment.sequence = sequence;
    scratch.segment.acknowledgment = acknowledgment;
    scratch.segment.flags = ACK;
    bare(packet, headers.has_partial_checksum(), scratch)?;
    Ok(packet.out())
}

/// Makes the packet an acknowledgment from us to who gets no more than an answer.
#[inline(always)]
pub(crate) fn drain(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.segment.flags = ACK;
    scratch.segment.window = DRAIN_WINDOW;
    bare(packet, partial, scratch)
}

/// Writes the headers of the segment in the scratch space; `rest` is the sum over its options and payload.
#[inline(always)]
fn write_headers(
    packet: &Packet,
    partial: bool,
    rest: u32,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    packet.call(scratch, |skb| dfaas_write_headers(skb, partial.into(), rest))
}

/// Writes the headers of a segment whose options and payload are in place.
#[inline(always)]
fn finish(packet: &Packet, partial: bool, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    packet.call(scratch, |skb| dfaas_finish(skb, partial.into()))
}

/// As [`write_headers`], but global: the verifier checks such functions once and not at every call (kernel 5.6), for
/// they take nothing but the packet and numbers. Returns whether a helper failed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_write_headers(skb: *mut __sk_buff, partial: u32, rest: u32) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return 1;
    };
    put_headers(&Packet::of(skb), partial != 0, rest, scratch)
        .is_err()
        .into()
}

/// As [`finish`], but global.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_finish(skb: *mut __sk_buff, partial: u32) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return 1;
    };
    let packet = Packet::of(skb);
    let mut sum = 0;
    if partial == 0 {
        let rest = u32::from(scratch.segment.options_bytes) + u32::from(scratch.segment.payload_bytes);
        let at = scratch.segment.headers_bytes();
        if packet.read(at, scratch.copy.as_mut_ptr(), rest).is_err() {
            return 1;
        }
        sum = ctx::sum(&mut scratch.copy, rest);
    }
    put_headers(&packet, partial != 0, sum, scratch).is_err().into()
}

#[inline(always)]
fn put_headers(packet: &Packet, partial: bool, rest: u32, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    let segment = &scratch.segment;
    if segment.is_ipv6() {
        scratch.made_ipv6.fill(segment);
        let tcp = &mut scratch.made_ipv6.tcp;
        tcp.finish_checksum(partial, segment.pseudo_sum(), rest.into());
        return packet.write_headers(&scratch.made_ipv6);
    }
    scratch.made_ipv4.fill(segment);
    let tcp = &mut scratch.made_ipv4.tcp;
    tcp.finish_checksum(partial, segment.pseudo_sum(), rest.into());
    packet.write_headers(&scratch.made_ipv4)
}
