//! The eBPF programs: two at traffic control, one at the socket look-up, and a guard before all of them.
//!
//! They only translate between packets and `dfaas-common`, where the decisions are.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "entry functions are exported by their macros")]

mod ahead;
mod checksum;
mod client;
mod compose;
mod connect;
mod count;
mod ctx;
mod follow;
mod guard;
mod handshake;
mod log;
mod maps;
mod open;
mod over;
mod parts;
mod port;
mod proxy;
mod release;
mod request;
mod retry;
mod scan;
mod secret;
mod tokens;
mod told;
mod too_big;
mod translate;
mod unread;
mod upstream;

use aya_ebpf::{
    bindings::{sk_action, xdp_action},
    macros::{classifier, sk_lookup, xdp},
    programs::{SkLookupContext, TcContext, XdpContext},
};
use dfaas_common::{
    maps::{Config, FlowKey, IS_PROXIED, IS_TAKEN},
    packet::{Address, Headers},
};

use crate::ctx::{Arrival, HelperFailed, Lookup, PASS, Packet, swallow};

/// Why a packet could not be handled.
///
/// A number, like the verdict in the other arm of a result: of an arm without one the compiler leaves a register
/// undefined, and the verifier refuses that ("R4 !read_ok").
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault(i32);

impl Fault {
    /// A helper of the kernel refused.
    pub(crate) const HELPER: Self = Self(1);
    /// A map took no more.
    pub(crate) const MAP_FULL: Self = Self(2);
    /// The held bytes of a connection are gone.
    pub(crate) const HELD_MISSING: Self = Self(3);
}

/// What a packet of a client calls for.
pub(crate) enum Next {
    /// The verdict is this.
    Verdict(i32),
    /// A decision; what is known of the client is in the scratch space.
    Ask,
}

/// Where a program sees a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Coming in at the interface: from a peer.
    Ingress,
    /// Going out: from the local stack.
    Egress,
}

impl From<HelperFailed> for Fault {
    #[inline(always)]
    fn from(_: HelperFailed) -> Self {
        Self::HELPER
    }
}

/// What arrives at the interface, where the operator has a guard there.
#[xdp]
pub fn guard(ctx: XdpContext) -> u32 {
    if guard::admits(&Arrival::new(&ctx)) {
        xdp_action::XDP_PASS
    } else {
        xdp_action::XDP_DROP
    }
}

/// What comes in at the interface. What is not ours passes untouched; what we failed on is dropped, and its sender
/// sends it again.
#[classifier]
#[inline(always)]
pub fn ingress(ctx: TcContext) -> i32 {
    verdict(incoming(&Packet::new(&ctx)))
}

/// What the local stack sends out.
#[classifier]
#[inline(always)]
pub fn egress(ctx: TcContext) -> i32 {
    verdict(outgoing(&Packet::new(&ctx)))
}

#[inline(always)]
fn verdict(result: Result<i32, Fault>) -> i32 {
    let fault = match result {
        Ok(verdict) => return verdict,
        Err(fault) => fault,
    };
    if fault == Fault::HELPER {
        count::event(|events| &mut events.helper_failed);
    } else if fault == Fault::MAP_FULL {
        count::event(|events| &mut events.flows_full);
    }
    swallow()
}

#[inline(always)]
fn incoming(packet: &Packet) -> Result<i32, Fault> {
    let Some((headers, config)) = look_at(packet) else {
        return incoming_other(packet);
    };
    if !is_ours(config, headers, &headers.destination) {
        return Ok(PASS);
    }
    let is_service = headers.destination_port.raw() == u16::from_ne_bytes(config.port);
    let is_upstream = headers.destination_port.get().wrapping_sub(config.nat_first) <= config.nat_mask;
    if !is_service && !is_upstream {
        return Ok(PASS);
    }
    let Some(scratch) = maps::scratch() else {
        return Ok(PASS);
    };
    if checksum::is_wrong(packet) {
        count::event(|events| &mut events.damaged);
        return Ok(swallow());
    }
    let key = key_of_sender(headers);
    if !is_service {
        return match maps::upstream(&key) {
            Some(server) => upstream::handle(packet, config, headers, &key, server, scratch, Hook::Ingress),
            // Nobody knows this connection; the stack says so with a reset.
            None => Ok(PASS),
        };
    }
    let next = match maps::client(&key) {
        Some(client) => client::handle(packet, config, headers, &key, client, scratch)?,
        None => open::handle(packet, config, headers, &key, scratch)?,
    };
    match next {
        Next::Verdict(verdict) => Ok(verdict),
        Next::Ask => open::ask(packet, config, headers, &key, scratch),
    }
}

/// Handles a packet that is no plain TCP segment.
#[inline(always)]
fn incoming_other(packet: &Packet) -> Result<i32, Fault> {
    let (Some(seen), Some(config)) = (maps::seen(), maps::config()) else {
        return Ok(PASS);
    };
    if packet.is_done() || packet.is_of_vlan() {
        return Ok(PASS);
    }
    if unread::is_refused(packet) {
        count::event(|events| &mut events.unread);
        return Ok(swallow());
    }
    Ok(too_big::handle(packet, config, seen))
}

#[inline(always)]
fn outgoing(packet: &Packet) -> Result<i32, Fault> {
    let Some((headers, config)) = look_at(packet) else {
        return Ok(PASS);
    };
    if headers.source_port.raw() != u16::from_ne_bytes(config.port)
        || !is_ours(config, headers, &headers.source)
    {
        return Ok(PASS);
    }
    let key = key_of_receiver(headers);
    let Some(server) = maps::upstream(&key) else {
        return Ok(PASS);
    };
    let Some(scratch) = maps::scratch() else {
        return Ok(PASS);
    };
    upstream::handle(packet, config, headers, &key, server, scratch, Hook::Egress)
}

/// The headers of a packet that may be ours, and the settings.
///
/// Packets that are done are not: one that is sent while another is handled would overwrite that one's headers.
#[inline(always)]
fn look_at(packet: &Packet) -> Option<(&'static mut Headers, &'static Config)> {
    if packet.is_done() || packet.is_of_vlan() {
        return None;
    }
    let seen = maps::seen()?;
    let config = maps::config()?;
    // The stack has a counter of its own for what was cut on its way.
    if !packet.read_headers(seen) || seen.headers.end_offset() > packet.length() {
        return None;
    }
    Some((&mut seen.headers, config))
}

/// Whether an address of a packet is this node's. That of IPv6 may be none, which no packet has.
#[inline(always)]
fn is_ours(config: &Config, headers: &Headers, address: &Address) -> bool {
    *address == config.addresses[headers.family() as usize]
}

#[inline(always)]
fn key_of_sender(headers: &Headers) -> FlowKey {
    FlowKey {
        remote: headers.source,
        remote_port: headers.source_port.raw().to_ne_bytes(),
        local_port: headers.destination_port.raw().to_ne_bytes(),
    }
}

#[inline(always)]
fn key_of_receiver(headers: &Headers) -> FlowKey {
    FlowKey {
        remote: headers.destination,
        remote_port: headers.destination_port.raw().to_ne_bytes(),
        local_port: headers.source_port.raw().to_ne_bytes(),
    }
}

/// Connections to the service get a lent listener, and nothing else that may listen at its port. Those to other addresses
/// of this host get what listens there.
///
/// The platform's is for what `ingress` has decided about and nobody has taken yet; whatever else comes, by whatever way,
/// is judged by the proxy, or refused with the stack's reset.
#[sk_lookup]
pub fn listener(ctx: SkLookupContext) -> u32 {
    let lookup = Lookup::new(&ctx);
    let is_ours = maps::config().is_some_and(|config| {
        let [ipv4, ipv6] = &config.addresses;
        let local = lookup.local();
        lookup.port() == u16::from_be_bytes(config.port) && (local == *ipv4 || local == *ipv6)
    });
    if !is_ours || !lookup.is_tcp() {
        return sk_action::SK_PASS;
    }
    let key = lookup.key();
    let is_judged = maps::client(&key).is_some_and(|client| {
        !client.is(IS_PROXIED)
            && client.upstream == key
            && maps::upstream(&key).is_some_and(|server| !server.is(IS_TAKEN))
    });
    if is_judged {
        if maps::assign_platform(&ctx, &key) {
            return sk_action::SK_PASS;
        }
        count::event(|events| &mut events.no_listener);
    } else {
        if maps::assign_proxy(&ctx, &key) {
            return sk_action::SK_PASS;
        }
        count::event(|events| &mut events.unjudged);
    }
    sk_action::SK_DROP
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
