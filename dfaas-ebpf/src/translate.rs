//! Segments that pass: renumbered, readdressed, their checksums brought up to date.

use dfaas_common::{
    maps::FlowKey,
    numbering::{Numbering, Numbers},
    packet::{Be16, Be32, Headers, Ipv4Translated, Tcp, difference, fold},
    tcp_options::{SACK_BLOCK_BYTES, SACK_BLOCKS, SackBlocks},
};

use crate::{
    ctx::{HelperFailed, Packet},
    maps::Scratch,
};

/// The numbers of a segment.
#[inline(always)]
pub(crate) fn numbers(headers: &Headers) -> Numbers {
    Numbers {
        sequence: headers.sequence.get(),
        acknowledgment: headers.acknowledgment.get(),
        window: headers.window.get(),
    }
}

/// The TCP header with other numbers, and what its checksum gains.
#[inline(always)]
fn renumbered(headers: &Headers, numbers: &Numbers) -> (Tcp, u64) {
    let new = Tcp {
        sequence: Be32::new(numbers.sequence),
        acknowledgment: Be32::new(numbers.acknowledgment),
        window: Be16::new(numbers.window),
        ..headers.tcp()
    };
    let gain = difference(headers.sequence.raw(), new.sequence.raw())
        + difference(headers.acknowledgment.raw(), new.acknowledgment.raw())
        + difference(headers.window.raw().into(), new.window.raw().into());
    (new, gain)
}

/// Writes other numbers into the packet.
#[inline(never)]
pub(crate) fn renumber(packet: &Packet, headers: &Headers, numbers: &Numbers) -> Result<(), HelperFailed> {
    let (new, gain) = renumbered(headers, numbers);
    packet.write_translated(headers.tcp_offset(), &new)?;
    packet.update_checksum(headers.tcp_offset(), gain)
}

/// Sends a packet that came to this node on over another connection, with other numbers.
#[inline(never)]
pub(crate) fn readdress(
    packet: &Packet,
    headers: &Headers,
    to: &FlowKey,
    numbers: &Numbers,
) -> Result<(), HelperFailed> {
    let (mut new, mut gain) = renumbered(headers, numbers);
    new.source_port = Be16::from_raw(u16::from_ne_bytes(to.local_port));
    new.destination_port = Be16::from_raw(u16::from_ne_bytes(to.remote_port));
    gain += difference(headers.source_port.raw().into(), new.source_port.raw().into())
        + difference(
            headers.destination_port.raw().into(),
            new.destination_port.raw().into(),
        );
    let pseudo_gain =
        headers.destination.gain_over(&headers.source) + to.remote.gain_over(&headers.destination);
    if headers.is_ipv6() {
        packet.write_ipv6_addresses(&[headers.destination, to.remote])?;
        packet.write_translated(headers.tcp_offset(), &new)?;
    } else {
        packet.write_ipv4_translated(&Ipv4Translated {
            lead: 0,
            checksum: Be16::from_raw(!fold(u64::from(!headers.ipv4_checksum.raw()) + pseudo_gain)),
            source: headers.destination.ipv4_word(),
            destination: to.remote.ipv4_word(),
            tcp: new,
        })?;
    }
    packet.update_checksum(headers.tcp_offset(), gain)?;
    packet.update_pseudo_checksum(headers.tcp_offset(), pseudo_gain)
}

/// Whose selective acknowledgments are translated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A client's: they are of the server's bytes.
    Client,
    /// A server's: they are of the client's bytes.
    Server,
}

/// Translates the blocks of selective acknowledgments, if the segment has some (RFC 2018).
#[inline(always)]
pub(crate) fn sacks(
    packet: &Packet,
    headers: &Headers,
    numbering: &Numbering,
    whose: Whose,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    if headers.options_bytes() == 0 {
        return Ok(());
    }
    blocks(packet, headers, numbering, whose, scratch)
}

#[inline(never)]
fn blocks(
    packet: &Packet,
    headers: &Headers,
    numbering: &Numbering,
    whose: Whose,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let length = u32::from(headers.options_bytes());
    packet.read_options(headers.options_offset(), &mut scratch.options, length)?;
    let blocks = SackBlocks::find(&scratch.options, length as usize, &mut scratch.option_marks);
    let mut index = 0;
    while index < SACK_BLOCKS {
        if index >= blocks.count {
            break;
        }
        let at = blocks.start + index * SACK_BLOCK_BYTES;
        sack_block(packet, headers, at, numbering, whose)?;
        index += 1;
    }
    Ok(())
}

#[inline(always)]
fn sack_block(
    packet: &Packet,
    headers: &Headers,
    at: u32,
    numbering: &Numbering,
    whose: Whose,
) -> Result<(), HelperFailed> {
    let at = headers.options_offset() + at;
    let mut edges = [Be32::default(); 2];
    packet.read_value(at, &mut edges)?;
    let new = match whose {
        Whose::Client => edges.map(|edge| Be32::new(numbering.acknowledgment_to_server(edge.get()))),
        Whose::Server => edges.map(|edge| Be32::new(numbering.acknowledgment_to_client(edge.get()))),
    };
    let gain = difference(edges[0].raw(), new[0].raw()) + difference(edges[1].raw(), new[1].raw());
    packet.write_value(at, &new)?;
    // An option may begin at an odd place; its bytes then stand in the other halves of the sum (RFC 1071, section 2).
    let gain = if at & 1 == 0 { gain } else { swapped(gain) };
    packet.update_checksum(headers.tcp_offset(), gain)
}

#[inline(always)]
fn swapped(sum: u64) -> u64 {
    u64::from(fold(sum).swap_bytes())
}
