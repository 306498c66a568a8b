//! Routers that say a packet was too big: whoever sent the bytes is told, in its own numbers and addresses.
//!
//! What we tell is checked by its reader: a stack believes it only of bytes that are on their way (RFC 5927, section 4).

use dfaas_common::{
    maps::{Client, Config, FlowKey, IS_LOCAL, IS_NATURAL, IS_SPLICED, Phase, STAMP_BYTES},
    packet::{Be16, Quoted, TooBig},
};

use crate::{
    count,
    ctx::{HelperFailed, PASS, Packet, swallow},
    maps::{self, Seen},
};

/// Handles a packet that is no TCP segment.
#[inline(always)]
pub(crate) fn handle(packet: &Packet, config: &Config, seen: &mut Seen) -> i32 {
    if packet.read_ipv4_too_big(seen) {
        ipv4(packet, config, seen)
    } else if packet.read_ipv6_too_big(seen) {
        ipv6(packet, config, seen)
    } else {
        PASS
    }
}

#[inline(always)]
fn ipv4(packet: &Packet, config: &Config, seen: &mut Seen) -> i32 {
    let turned = turn(config, &mut seen.quoted, &mut seen.key);
    tell(packet, &mut seen.ipv4_too_big, &seen.quoted, turned)
}

#[inline(always)]
fn ipv6(packet: &Packet, config: &Config, seen: &mut Seen) -> i32 {
    let turned = turn(config, &mut seen.quoted, &mut seen.key);
    tell(packet, &mut seen.ipv6_too_big, &seen.quoted, turned)
}

/// Makes the packet the message that is called for, and sends it to its reader.
///
/// It calls none of our functions, because its frame and that of ingress take all of the 512 bytes: the verifier of 5.10
/// said "combined stack size of 3 calls is 544. Too large".
#[inline(never)]
fn tell<M: TooBig>(packet: &Packet, message: &mut M, quoted: &Quoted, turned: u32) -> i32 {
    match turned {
        NOTHING => PASS,
        NUMBER => {
            message.renumber(quoted.sequence);
            finish(packet.write_headers(message), PASS)
        }
        reserve => {
            message.requote(quoted, reserve);
            finish(packet.write_headers(message), packet.route())
        }
    }
}

#[inline(always)]
fn finish(written: Result<(), HelperFailed>, verdict: i32) -> i32 {
    if written.is_err() {
        count::event(|events| &mut events.helper_failed);
        return swallow();
    }
    count::event(|events| &mut events.too_big);
    verdict
}

/// A message is not about a packet of ours, or right as it is.
const NOTHING: u32 = u32::MAX;
/// The local stack needs another number.
const NUMBER: u32 = u32::MAX - 1;

/// What a message calls for, and what it is to quote, which takes the place of what it quotes. Other than the above, it is
/// for another reader, who has to leave so many bytes free.
#[inline(never)]
fn turn(config: &Config, quoted: &mut Quoted, key: &mut FlowKey) -> u32 {
    if quoted.source != config.addresses[0] && quoted.source != config.addresses[1] {
        return NOTHING;
    }
    key.remote = quoted.destination;
    key.remote_port = quoted.destination_port.raw().to_ne_bytes();
    key.local_port = quoted.source_port.raw().to_ne_bytes();
    if quoted.source_port.raw() == u16::from_ne_bytes(config.port) {
        return match maps::client(key) {
            Some(client) => of_response(quoted, client),
            None => NOTHING,
        };
    }
    let Some(upstream) = maps::upstream(key) else {
        return NOTHING;
    };
    if !upstream.is(IS_SPLICED) {
        return NOTHING;
    }
    let sequence = upstream.numbering.acknowledgment_to_client(quoted.sequence);
    requote(&upstream.client, sequence, quoted);
    STAMP_BYTES as u32
}

/// About bytes of a response, which a client did not get.
#[inline(always)]
fn of_response(quoted: &mut Quoted, client: &Client) -> u32 {
    if client.phase() != Phase::Spliced {
        return NOTHING;
    }
    let sequence = client.numbering.acknowledgment_to_server(quoted.sequence);
    if !client.is(IS_LOCAL) {
        requote(&client.upstream, sequence, quoted);
        return 0;
    }
    if client.is(IS_NATURAL) && client.numbering.ours == client.numbering.server {
        return NOTHING;
    }
    quoted.sequence = sequence;
    NUMBER
}

/// Quotes a segment that came to this node over a connection.
#[inline(always)]
fn requote(from: &FlowKey, sequence: u32, quoted: &mut Quoted) {
    quoted.destination = quoted.source;
    quoted.source = from.remote;
    quoted.source_port = Be16::from_raw(u16::from_ne_bytes(from.remote_port));
    quoted.destination_port = Be16::from_raw(u16::from_ne_bytes(from.local_port));
    quoted.sequence = sequence;
}
