//! Connections to servers that nobody needs any more: reset, so that the servers need not wait for them.

use aya_ebpf::bindings::__sk_buff;
use dfaas_common::{
    maps::{FlowKey, IS_LOCAL, KNOWN, Known, Upstream},
    packet::{ACK, Be16, Headers, RST},
};

use crate::{
    client::is_partial,
    compose, count,
    ctx::{HelperFailed, Packet, expose},
    maps::{self, Scratch},
};

/// Puts the key of a peer that a client's connection has been to into the scratch space.
#[inline(always)]
fn find(known: Known, family: u32, scratch: &mut Scratch) -> bool {
    let Some(target) = maps::target(known.target.into()) else {
        return false;
    };
    scratch.server = FlowKey {
        remote: target.addresses[family as usize & 1],
        remote_port: target.port,
        local_port: known.port,
    };
    known.target != 0
}

/// The place of the local stack's connection, behind those of the peers.
const LOCAL_PLACE: u32 = KNOWN as u32;
/// Marks the place of a server that goes even if it is the current one.
const EVEN_CURRENT: u32 = 1 << 8;

/// Resets the connection to the local stack, which is in the way of another one. The packet loses its payload.
#[inline(never)]
pub(crate) fn local(packet: &Packet, key: &FlowKey, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.owner = *key;
    packet.call(scratch, |skb| dfaas_release(skb, LOCAL_PLACE | EVEN_CURRENT))
}

/// Resets the servers that are kept for later. The packet, which loses its payload, is made into each reset.
#[inline(never)]
pub(crate) fn parked(packet: &Packet, key: &FlowKey, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    scratch.owner = *key;
    let mut place = 0;
    while place <= LOCAL_PLACE {
        packet.call(scratch, |skb| dfaas_release(skb, place))?;
        place += 1;
    }
    Ok(())
}

/// Resets the server whose place the one of this target takes, if the client's entry in the scratch space knows one there:
/// in the map another processor may have put a new one. The packet loses its payload.
#[inline(never)]
pub(crate) fn pushed_out(
    packet: &Packet,
    key: &FlowKey,
    target: u32,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    scratch.owner = *key;
    let place = Known::place(target) as u32 | EVEN_CURRENT;
    packet.call(scratch, |skb| dfaas_release(skb, place))
}

/// Resets the server in a place of the client whose key is in the scratch space, if there is one that is not current. Returns
/// whether a helper failed.
///
/// A global function: the verifier looks at it once, and not at every call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_release(skb: *mut __sk_buff, place: u32) -> u32 {
    let (Some(scratch), Some(seen)) = (maps::scratch(), maps::seen()) else {
        return 1;
    };
    if place & LOCAL_PLACE != 0 {
        scratch.server = scratch.owner;
    } else {
        let known = if place & EVEN_CURRENT != 0 {
            scratch.client.known[place as usize % KNOWN]
        } else if let Some(client) = maps::client(&scratch.owner) {
            client.known[place as usize % KNOWN]
        } else {
            return 0;
        };
        if !find(known, seen.headers.family(), scratch) {
            return 0;
        }
    }
    if place & EVEN_CURRENT == 0 {
        let client = maps::client(&scratch.owner);
        if client.is_none_or(|client| client.upstream == scratch.server) {
            return 0;
        }
    }
    reset(&Packet::of(skb), &seen.headers, scratch).is_err().into()
}

/// Resets the server whose key is in the scratch space, if it is the client's whose key is there, too.
#[inline(always)]
fn reset(packet: &Packet, headers: &Headers, scratch: &mut Scratch) -> Result<(), HelperFailed> {
    let Some(upstream) = maps::upstream(&scratch.server) else {
        return Ok(());
    };
    if upstream.client != scratch.owner {
        return Ok(());
    }
    let is_local = upstream.is(IS_LOCAL);
    address(headers, upstream, scratch);
    let is_of_client = headers.source == scratch.owner.remote
        && headers.source_port.raw() == u16::from_ne_bytes(scratch.owner.remote_port);
    let partial = if is_of_client {
        is_partial(headers, &scratch.opening)
    } else {
        headers.has_partial_checksum()
    };
    maps::remove_upstream(&scratch.server);
    count::event(|events| &mut events.upstream_dropped);
    compose::bare(packet, partial, scratch)?;
    if is_local {
        packet.copy_to_stack();
    } else {
        packet.copy_out();
    }
    Ok(())
}

/// Sets up the reset for a server that is not the current one, whose key is in the scratch space, made of a packet of
/// its client or of another server of that one: the packet's node is ours.
#[inline(always)]
fn address(headers: &Headers, upstream: &Upstream, scratch: &mut Scratch) {
    let is_out = maps::config().is_some_and(|config| {
        let ours = &config.addresses[headers.family() as usize & 1];
        headers.source == *ours
    });
    if is_out {
        compose::answer(headers, scratch);
    } else {
        compose::onward(headers, scratch);
    }
    scratch.segment.sequence = upstream.next;
    scratch.segment.acknowledgment = upstream.response.at;
    scratch.segment.flags = RST | ACK;
    scratch.segment.window = 0;
    if upstream.is(IS_LOCAL) {
        let owner = &scratch.owner;
        scratch.segment.source = owner.remote;
        scratch.segment.source_port = Be16::from_raw(u16::from_ne_bytes(owner.remote_port));
        scratch.segment.destination_port = Be16::from_raw(u16::from_ne_bytes(owner.local_port));
    } else {
        scratch.server.readdress(&mut scratch.segment);
        scratch.segment.ethernet_source = scratch.segment.ethernet_destination;
        scratch.segment.ethernet_destination = upstream.next_hop;
    }
}

/// Forgets a client and the server that has its request. Those that are kept for later are forgotten too: their next
/// packet finds nobody, and is answered with a reset by the stack.
#[inline(never)]
pub(crate) fn forget(key: &FlowKey, scratch: &mut Scratch) {
    scratch.owner = *key;
    expose(scratch);
    dfaas_forget();
}

/// As [`forget`], of the client whose key is in the scratch space, but global.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_forget() -> u32 {
    let Some(scratch) = maps::scratch() else {
        return 1;
    };
    maps::remove_held(&scratch.owner);
    maps::remove_ahead(&scratch.owner);
    if let Some(client) = maps::client(&scratch.owner) {
        scratch.server = client.upstream;
        remove_if_ours(scratch);
        let mut place = 0;
        while place < KNOWN {
            if find(client.known[place], client.family.into(), scratch) {
                remove_if_ours(scratch);
            }
            place += 1;
        }
    }
    scratch.server = scratch.owner;
    remove_if_ours(scratch);
    maps::remove_client(&scratch.owner);
    0
}

#[inline(always)]
fn remove_if_ours(scratch: &Scratch) {
    if maps::upstream(&scratch.server).is_some_and(|upstream| upstream.client == scratch.owner) {
        maps::remove_upstream(&scratch.server);
    }
}
