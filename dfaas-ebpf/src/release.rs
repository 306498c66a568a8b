//! Connections to servers that nobody needs any more: reset, so that the servers need not wait for them.

use dfaas_common::{
    maps::{Client, FlowKey, IS_LOCAL, KNOWN, Known, Upstream},
    packet::{ACK, Headers, RST},
};

use crate::{
    Fault,
    client::is_partial,
    compose, count,
    ctx::{HelperFailed, Packet},
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

/// Resets the servers that are kept for later. The packet, which loses its payload, is made into each reset.
#[inline(always)]
pub(crate) fn parked(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &mut Client,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let mut index = 0;
    while index < KNOWN {
        if find(client.known[index], client.family, scratch) && scratch.server != client.upstream {
            client.known[index].target = 0;
            reset(packet, headers, key, scratch)?;
        }
        index += 1;
    }
    if client.upstream != *key {
        scratch.server = *key;
        reset(packet, headers, key, scratch)?;
    }
    Ok(())
}

/// Resets the server in the scratch space, if it is of this client. The packet, which loses its payload, is made into the
/// reset.
#[inline(never)]
pub(crate) fn reset(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    scratch: &mut Scratch,
) -> Result<(), HelperFailed> {
    let Some(upstream) = maps::upstream(&scratch.server) else {
        return Ok(());
    };
    if upstream.client != *key {
        return Ok(());
    }
    let is_local = upstream.is(IS_LOCAL);
    address(headers, upstream, scratch);
    let partial = is_partial(headers, &scratch.opening);
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
/// its client.
#[inline(always)]
fn address(headers: &Headers, upstream: &Upstream, scratch: &mut Scratch) {
    compose::onward(headers, scratch);
    scratch.segment.sequence = upstream.next;
    scratch.segment.acknowledgment = upstream.response.at;
    scratch.segment.flags = RST | ACK;
    scratch.segment.window = 0;
    if !upstream.is(IS_LOCAL) {
        scratch.server.readdress(&mut scratch.segment);
        scratch.segment.ethernet_destination = upstream.next_hop;
        scratch.segment.ethernet_source = headers.ethernet_destination;
    }
}

/// Forgets a client and the server that has its request. Those that are kept for later are forgotten too: their next
/// packet finds nobody, and is answered with a reset by the stack.
#[inline(never)]
pub(crate) fn forget(key: &FlowKey, client: &Client, scratch: &mut Scratch) {
    maps::remove_held(key);
    maps::remove_ahead(key);
    scratch.server = client.upstream;
    remove_if_ours(key, scratch);
    let mut index = 0;
    while index < KNOWN {
        if find(client.known[index], client.family, scratch) {
            remove_if_ours(key, scratch);
        }
        index += 1;
    }
    scratch.server = *key;
    remove_if_ours(key, scratch);
    maps::remove_client(key);
}

#[inline(always)]
fn remove_if_ours(key: &FlowKey, scratch: &Scratch) {
    if maps::upstream(&scratch.server).is_some_and(|upstream| upstream.client == *key) {
        maps::remove_upstream(&scratch.server);
    }
}
