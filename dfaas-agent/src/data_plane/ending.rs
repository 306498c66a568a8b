//! Connections of peers that are struck off or gone, those that keep silent, and all that end with the programs: both ends
//! of each get a reset.
//!
//! An idle connection sends no packet that the kernel could answer, so the resets come from here, past the programs.

use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddr},
};

use anyhow::{Context, Result};
use aya::maps::{HashMap, MapData, MapError};
use dfaas_common::{
    http::Stage,
    maps::{Client, FlowKey, IS_CURRENT, IS_LOCAL, IS_NATURAL, IS_PROXIED, Locked, Upstream},
    packet::Address,
};

use super::reset::{Reset, Sender};

/// Why connections of a peer end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The operator trusts it no more: it gets nothing, and nothing of it is believed.
    Barred,
    /// Nobody hears of it: what it asked for has nobody to go to.
    Gone,
}

/// A peer whose connections end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaver {
    pub(super) addresses: [Address; 2],
    pub(super) reason: Reason,
}

/// What the kernel knows of a connection.
#[derive(Clone, Copy, Debug)]
struct Flow {
    client_key: FlowKey,
    client: Client,
    server_key: FlowKey,
    server: Upstream,
    /// This node's addresses.
    ours: [Address; 2],
}

/// What is to be done about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// Both ends are told, and the kernel forgets it.
    Whole([Reset; 2]),
    /// It is not in use: the peer is told, and the client keeps its own connection.
    Parked(Reset),
}

/// Ends the connections of peers, by index. Returns how many there were.
pub(super) fn end_leavers(
    clients: &mut HashMap<MapData, FlowKey, Locked<Client>>,
    upstreams: &mut HashMap<MapData, FlowKey, Locked<Upstream>>,
    leavers: &BTreeMap<u32, Leaver>,
    ours: [Address; 2],
) -> Result<usize> {
    end(clients, upstreams, ours, |flow| flow.end(leavers))
}

/// Ends the connections of clients that have kept silent since these ticks, and those to their servers. Returns how many
/// clients there were.
pub(super) fn end_silent(
    clients: &mut HashMap<MapData, FlowKey, Locked<Client>>,
    upstreams: &mut HashMap<MapData, FlowKey, Locked<Upstream>>,
    silent: &BTreeMap<FlowKey, u32>,
    ours: [Address; 2],
) -> Result<usize> {
    let is_silent = |key: &FlowKey, client: &Client| silent.get(key) == Some(&client.last_seen);
    end(clients, upstreams, ours, |flow| {
        is_silent(&flow.client_key, &flow.client).then(|| flow.end_silent())
    })?;
    // Those that have no server at present are left.
    let sender = Sender::new().context("opening a socket for resets")?;
    let mut ended = 0;
    for key in silent.keys() {
        let Ok(client) = clients.get(key, 0) else {
            ended += 1;
            continue;
        };
        if !is_silent(key, &client) {
            // It has spoken meanwhile.
            continue;
        }
        ended += 1;
        let _ended = clients.remove(key);
        if let Some(sequence) = next_of_us(&client) {
            let reset = reset_to(*key, ours, sequence);
            sender.send(&reset).context("sending a reset")?;
        }
    }
    Ok(ended)
}

/// Where our next byte to a client would be that has no server at present, if it has not had our end.
fn next_of_us(client: &Client) -> Option<u32> {
    let has_our_end = client.asking.reply != 0 && !client.asking.goes_on();
    (!has_our_end).then(|| client.asking.our_isn.wrapping_add(1))
}

/// Ends all connections that cannot go on without the programs. Returns how many there were.
pub(super) fn end_all(
    clients: &mut HashMap<MapData, FlowKey, Locked<Client>>,
    upstreams: &mut HashMap<MapData, FlowKey, Locked<Upstream>>,
    ours: [Address; 2],
) -> Result<usize> {
    end(clients, upstreams, ours, Flow::end_with_programs)
}

fn end(
    clients: &mut HashMap<MapData, FlowKey, Locked<Client>>,
    upstreams: &mut HashMap<MapData, FlowKey, Locked<Upstream>>,
    ours: [Address; 2],
    choose: impl Fn(&Flow) -> Option<End>,
) -> Result<usize> {
    let mut ends = Vec::new();
    for entry in upstreams.iter() {
        let (server_key, server) = entry.context("reading UPSTREAMS")?;
        let client_key = server.client;
        let client = match clients.get(&client_key, 0) {
            Ok(client) => client.value,
            Err(MapError::KeyNotFound) => continue,
            Err(error) => return Err(error).context("reading CLIENTS"),
        };
        let flow = Flow {
            client_key,
            client,
            server_key,
            server: server.value,
            ours,
        };
        ends.extend(choose(&flow).map(|end| (client_key, server_key, end)));
    }
    // A local server that is kept for later has the very addresses and ports of its client's connection: the programs would
    // take the client's reset for its own, so it goes first.
    ends.sort_by_key(|(_, _, end)| matches!(end, End::Whole(_)));
    let sender = Sender::new().context("opening a socket for resets")?;
    for (client_key, server_key, end) in &ends {
        // First, so that the programs leave the resets alone.
        let _ended = upstreams.remove(server_key);
        let resets = match end {
            End::Whole(resets) => {
                let _ended = clients.remove(client_key);
                &resets[..]
            }
            End::Parked(reset) => std::slice::from_ref(reset),
        };
        for reset in resets {
            sender.send(reset).context("sending a reset")?;
        }
    }
    Ok(ends.len())
}

impl Flow {
    fn end(&self, leavers: &BTreeMap<u32, Leaver>) -> Option<End> {
        if self.server.flags & IS_LOCAL != 0 {
            return self.is_of(leavers).then(|| End::Whole(self.resets()));
        }
        let leaver = leavers.get(&self.server.target)?;
        if leaver.reason == Reason::Gone {
            return None;
        }
        if self.server.flags & IS_CURRENT == 0 {
            return Some(End::Parked(self.reset_to_server(self.server.next)));
        }
        let is_answered = self.server.response.stage == Stage::Idle as u8;
        (!is_answered).then(|| End::Whole(self.resets()))
    }

    /// What becomes of it when its client has kept silent for too long.
    fn end_silent(&self) -> End {
        if self.server.is(IS_CURRENT) && self.client.upstream == self.server_key {
            End::Whole(self.resets())
        } else {
            End::Parked(self.reset_to_server(self.server.next))
        }
    }

    /// What becomes of it when nobody translates any more. Where both ends number alike, the stack goes on alone.
    fn end_with_programs(&self) -> Option<End> {
        if self.server.is(IS_NATURAL) {
            return None;
        }
        Some(if self.server.is(IS_CURRENT) {
            End::Whole(self.resets())
        } else {
            End::Parked(self.reset_to_server(self.server.next))
        })
    }

    /// Whether one of them has sent what is served here. Of what HAProxy has, only the address is known.
    fn is_of(&self, leavers: &BTreeMap<u32, Leaver>) -> bool {
        if self.server.flags & IS_PROXIED != 0 {
            let mut addresses = leavers.values().flat_map(|leaver| leaver.addresses);
            return addresses.any(|address| address == self.client_key.remote);
        }
        leavers.contains_key(&self.server.origin)
    }

    fn resets(&self) -> [Reset; 2] {
        let sequence = self.client.numbering.sequence_to_server(self.client.request.at);
        [self.reset_to_server(sequence), self.reset_to_client()]
    }

    fn reset_to_server(&self, sequence: u32) -> Reset {
        let (key, is_local) = (&self.server_key, self.server.flags & IS_LOCAL != 0);
        let [local, remote] = self.ends(key);
        let (from, to) = if is_local {
            (remote, local)
        } else {
            (local, remote)
        };
        Reset { from, to, sequence }
    }

    fn ends(&self, key: &FlowKey) -> [SocketAddr; 2] {
        ends(key, self.ours)
    }

    fn reset_to_client(&self) -> Reset {
        let next = self.server.numbering.sequence_to_client(self.server.response.at);
        reset_to(self.client_key, self.ours, next)
    }
}

/// This node's end of a connection, and the other.
fn ends(key: &FlowKey, ours: [Address; 2]) -> [SocketAddr; 2] {
    let ours = ours[usize::from(key.remote.is_ipv6())];
    [
        address(ours, key.local_port),
        address(key.remote, key.remote_port),
    ]
}

/// A reset to a client, where its next byte would be.
fn reset_to(client: FlowKey, ours: [Address; 2], sequence: u32) -> Reset {
    let [from, to] = ends(&client, ours);
    Reset { from, to, sequence }
}

fn address(ip: Address, port: [u8; 2]) -> SocketAddr {
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(ip.words()) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), u16::from_be_bytes(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [Address; 2] = [Address::from_ipv4([10, 0, 0, 1]), Address::NONE];
    const BARRED: Leaver = Leaver {
        addresses: [Address::from_ipv4([10, 0, 0, 2]), Address::NONE],
        reason: Reason::Barred,
    };

    #[test]
    fn what_is_silent_ends_at_both_ends() {
        let mut current = flow(IS_CURRENT | IS_LOCAL);
        current.client.upstream = current.server_key;
        assert_eq!(current.end_silent(), End::Whole(current.resets()));
        current.server.flags = IS_LOCAL;
        current.server.next = 77;
        assert_eq!(
            current.end_silent(),
            End::Parked(current.reset_to_server(77)),
            "its client is told with the current one"
        );
    }

    #[test]
    fn who_has_had_our_end_is_not_reset() {
        let mut client = Client::default();
        client.asking.our_isn = 500;
        assert_eq!(next_of_us(&client), Some(501));
        client.asking.end(100, 501);
        assert_eq!(next_of_us(&client), None);
    }

    #[test]
    fn ends_are_of_the_version_of_ip_that_the_connection_has() {
        let mut flow = flow(IS_CURRENT);
        let told = flow.reset_to_client();
        assert_eq!(
            (told.from, told.to),
            (
                "10.0.0.1:80".parse().unwrap(),
                "10.0.0.100:40000".parse().unwrap()
            )
        );
        flow.ours[1] = Address::from_ipv6("fd00::1".parse::<Ipv6Addr>().unwrap().octets());
        flow.client_key.remote = Address::from_ipv6("fd00::64".parse::<Ipv6Addr>().unwrap().octets());
        let told = flow.reset_to_client();
        assert_eq!(
            (told.from, told.to),
            (
                "[fd00::1]:80".parse().unwrap(),
                "[fd00::64]:40000".parse().unwrap()
            )
        );
    }

    #[test]
    fn what_a_peer_asked_for_ends_here() {
        let mut flow = flow(IS_LOCAL | IS_CURRENT);
        flow.server.origin = 5;
        let leavers = |reason| BTreeMap::from([(5, Leaver { reason, ..BARRED })]);
        assert!(matches!(flow.end(&leavers(Reason::Barred)), Some(End::Whole(_))));
        assert!(matches!(flow.end(&leavers(Reason::Gone)), Some(End::Whole(_))));
        flow.server.origin = 6;
        assert_eq!(flow.end(&leavers(Reason::Barred)), None);
    }

    #[test]
    fn of_what_haproxy_has_the_address_tells() {
        let leavers = BTreeMap::from([(5, BARRED)]);
        let mut flow = flow(IS_LOCAL | IS_CURRENT | IS_PROXIED);
        assert_eq!(flow.end(&leavers), None);
        flow.client_key.remote = BARRED.addresses[0];
        assert!(matches!(flow.end(&leavers), Some(End::Whole(_))));
    }

    #[test]
    fn what_a_barred_peer_serves_ends_too_and_users_who_wait_for_nothing_stay() {
        let leavers = |reason| BTreeMap::from([(5, Leaver { reason, ..BARRED })]);
        let mut flow = flow(IS_CURRENT);
        flow.server.target = 5;
        flow.server.response.stage = Stage::Length as u8;
        assert!(matches!(flow.end(&leavers(Reason::Barred)), Some(End::Whole(_))));
        assert_eq!(flow.end(&leavers(Reason::Gone)), None);
        flow.server.response.stage = Stage::Idle as u8;
        assert_eq!(flow.end(&leavers(Reason::Barred)), None);
        flow.server.flags = 0;
        flow.server.next = 77;
        let Some(End::Parked(reset)) = flow.end(&leavers(Reason::Barred)) else {
            panic!("it is parked");
        };
        assert_eq!((reset.sequence, reset.to.port()), (77, 80));
    }

    #[test]
    fn what_the_stack_can_go_on_with_does_not_end_with_the_programs() {
        assert!(matches!(
            flow(IS_CURRENT).end_with_programs(),
            Some(End::Whole(_))
        ));
        assert!(matches!(flow(0).end_with_programs(), Some(End::Parked(_))));
        assert_eq!(flow(IS_LOCAL | IS_NATURAL | IS_CURRENT).end_with_programs(), None);
    }

    /// A client's connection to a server with these flags.
    fn flow(flags: u8) -> Flow {
        let client_key = FlowKey {
            remote: Address::from_ipv4([10, 0, 0, 100]),
            remote_port: 40_000u16.to_be_bytes(),
            local_port: 80u16.to_be_bytes(),
        };
        let peer_key = FlowKey {
            remote: BARRED.addresses[0],
            remote_port: 80u16.to_be_bytes(),
            local_port: 41_000u16.to_be_bytes(),
        };
        Flow {
            client_key,
            client: Client::default(),
            server_key: if flags & IS_LOCAL != 0 {
                client_key
            } else {
                peer_key
            },
            server: Upstream {
                flags,
                client: client_key,
                ..Upstream::default()
            },
            ours: OURS,
        }
    }
}
