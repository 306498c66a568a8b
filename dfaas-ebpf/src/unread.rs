//! Packets to the service that the programs do not read: with IP options or extension headers, or in fragments.
//!
//! The stack would take them for segments of connections about which the programs have decided.

use aya_ebpf::bindings::__sk_buff;
use dfaas_common::{
    maps::{Config, IS_PROXIED},
    packet::{Address, Be16, EXTENSIONS_MAX, IPV4, IPV6, is_tagged_again},
};

use crate::{
    ctx::{Packet, Start as _},
    maps::{self, Seen},
};

/// What a packet is, as a number.
type Found = u32;
/// Nothing for the service.
const FOREIGN: Found = 0;
/// The beginning of a segment to the service; the scratch space has the connection and the header.
const SEGMENT: Found = 1;
/// Something to the service's address that hides what it is.
const HIDDEN: Found = 2;

/// Whether a packet that is no plain segment must not reach the local stack.
///
/// One that opens a connection may, because the socket look-up gives it to nobody but the proxy.
#[inline(always)]
pub(crate) fn is_refused(packet: &Packet) -> bool {
    packet.ask(|skb| dfaas_is_refused(skb))
}

/// As [`is_refused`], but global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_is_refused(skb: *mut __sk_buff) -> u32 {
    let (Some(seen), Some(config)) = (maps::seen(), maps::config()) else {
        return 0;
    };
    let packet = Packet::of(skb);
    let mut family = IPV4;
    let mut found = ipv4(&packet, config, seen);
    if found == FOREIGN {
        family = IPV6;
        found = ipv6(&packet, config, seen);
    }
    if found != SEGMENT {
        return (found == HIDDEN).into();
    }
    if seen.tcp_start.destination_port != config.port {
        return 0;
    }
    seen.key.remote_port = seen.tcp_start.source_port;
    seen.key.local_port = config.port;
    let is_kept_out = match maps::client(&seen.key) {
        Some(client) if !client.is(IS_PROXIED) => true,
        _ => !seen.tcp_start.is_syn() && !config.has_proxy(family),
    };
    is_kept_out.into()
}

#[inline(always)]
fn ipv4(packet: &Packet, config: &Config, seen: &mut Seen) -> Found {
    if packet.read_behind_lead(&mut seen.ipv4_start).is_none() {
        return FOREIGN;
    }
    let start = &seen.ipv4_start;
    let mut tag = Be16::default();
    if packet.has_vlan_tag()
        && packet.read_value(14, &mut tag).is_ok()
        && is_tagged_again(start.ethernet.ethertype, tag)
    {
        return HIDDEN;
    }
    let Some(at) = start.tcp_offset() else {
        return FOREIGN;
    };
    let is_ours = Address::from_ipv4_word(start.destination) == config.addresses[IPV4 as usize];
    // What was cut on its way the stack drops.
    if !is_ours || start.end_offset() > packet.length() {
        return FOREIGN;
    }
    seen.key.remote = Address::from_ipv4_word(start.source);
    segment(packet, at, seen)
}

#[inline(always)]
fn ipv6(packet: &Packet, config: &Config, seen: &mut Seen) -> Found {
    if packet.read_behind_lead(&mut seen.ipv6_start).is_none() {
        return FOREIGN;
    }
    let start = &seen.ipv6_start;
    let is_ours = start.is_ipv6() && start.destination == config.addresses[IPV6 as usize];
    if !is_ours || start.end_offset() > packet.length() {
        return FOREIGN;
    }
    seen.key.remote = start.source;
    let mut chain = start.chain();
    let mut extensions = 0;
    while extensions < EXTENSIONS_MAX {
        if chain.is_tcp() {
            return segment(packet, chain.offset(), seen);
        }
        if !chain.is_extension() {
            return FOREIGN;
        }
        let mut extension = [0; 8];
        if packet.read_value(chain.offset(), &mut extension).is_err() {
            return if chain.is_fragment() { HIDDEN } else { FOREIGN };
        }
        let Some(next) = chain.behind(extension) else {
            return FOREIGN;
        };
        chain = next;
        extensions += 1;
    }
    HIDDEN
}

/// Reads the beginning of the TCP header at an offset.
#[inline(always)]
fn segment(packet: &Packet, at: u32, seen: &mut Seen) -> Found {
    if packet.read_value(at, &mut seen.tcp_start).is_ok() {
        return SEGMENT;
    }
    // A fragment may end behind the ports.
    let mut ports = [0; 4];
    if packet.read_value(at, &mut ports).is_err() {
        return FOREIGN;
    }
    let [first, second, third, fourth] = ports;
    seen.tcp_start.source_port = [first, second];
    seen.tcp_start.destination_port = [third, fourth];
    seen.tcp_start.flags = 0;
    SEGMENT
}
