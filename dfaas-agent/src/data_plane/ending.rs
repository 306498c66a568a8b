//! Connections of peers that are struck off or gone: both ends of each get a reset.
//!
//! An idle connection sends no packet that the kernel could answer, so the resets come from here, past the programs.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
};

use anyhow::{Context, Result};
use aya::maps::{HashMap, MapData, MapError};
use dfaas_common::{
    http::Stage,
    maps::{Client, FlowKey, IS_CURRENT, IS_LOCAL, IS_PROXIED, Upstream},
    packet::fold,
};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

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
    pub(super) address: [u8; 4],
    pub(super) reason: Reason,
}

/// What the kernel knows of a connection.
#[derive(Clone, Copy, Debug)]
struct Flow {
    client_key: FlowKey,
    client: Client,
    server_key: FlowKey,
    server: Upstream,
}

/// A reset on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reset {
    from: SocketAddrV4,
    to: SocketAddrV4,
    sequence: u32,
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
pub(super) fn end(
    clients: &mut HashMap<MapData, FlowKey, Client>,
    upstreams: &mut HashMap<MapData, FlowKey, Upstream>,
    leavers: &BTreeMap<u32, Leaver>,
) -> Result<usize> {
    let mut ends = Vec::new();
    for entry in upstreams.iter() {
        let (server_key, server) = entry.context("reading UPSTREAMS")?;
        let client_key = server.client;
        let client = match clients.get(&client_key, 0) {
            Ok(client) => client,
            Err(MapError::KeyNotFound) => continue,
            Err(error) => return Err(error).context("reading CLIENTS"),
        };
        let flow = Flow {
            client_key,
            client,
            server_key,
            server,
        };
        ends.extend(flow.end(leavers).map(|end| (client_key, server_key, end)));
    }
    let socket = raw_socket().context("opening a socket for resets")?;
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
            let bytes = reset.bytes();
            sendto(&socket, &bytes, SendFlags::empty(), &reset.to).context("sending a reset")?;
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

    /// Whether one of them has sent what is served here. Of what HAProxy has, only the address is known.
    fn is_of(&self, leavers: &BTreeMap<u32, Leaver>) -> bool {
        if self.server.flags & IS_PROXIED != 0 {
            let mut addresses = leavers.values().map(|leaver| leaver.address);
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
        let remote = address(key.remote, key.remote_port);
        let local = address(key.local, key.local_port);
        let (from, to) = if is_local {
            (remote, local)
        } else {
            (local, remote)
        };
        Reset { from, to, sequence }
    }

    fn reset_to_client(&self) -> Reset {
        let key = &self.client_key;
        Reset {
            from: address(key.local, key.local_port),
            to: address(key.remote, key.remote_port),
            sequence: self.server.numbering.sequence_to_client(self.server.response.at),
        }
    }
}

fn address(ip: [u8; 4], port: [u8; 2]) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_be_bytes(port))
}

fn raw_socket() -> rustix::io::Result<OwnedFd> {
    socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(ipproto::RAW),
    )
}

impl Reset {
    /// The packet. The kernel fills in the length and the checksum of the IPv4 header (raw(7)).
    fn bytes(&self) -> [u8; 40] {
        const VERSION_AND_LENGTH: u8 = 0x45;
        const TIME_TO_LIVE: u8 = 64;
        const TCP: u8 = 6;
        const TCP_WORDS: u8 = 5;
        const RST: u8 = 4;
        let mut packet = [0; 40];
        packet[0] = VERSION_AND_LENGTH;
        packet[8] = TIME_TO_LIVE;
        packet[9] = TCP;
        packet[12..16].copy_from_slice(&self.from.ip().octets());
        packet[16..20].copy_from_slice(&self.to.ip().octets());
        packet[20..22].copy_from_slice(&self.from.port().to_be_bytes());
        packet[22..24].copy_from_slice(&self.to.port().to_be_bytes());
        packet[24..28].copy_from_slice(&self.sequence.to_be_bytes());
        packet[32] = TCP_WORDS << 4;
        packet[33] = RST;
        // The pseudo-header is the addresses, the protocol and the length of the segment (RFC 9293, section 3.1).
        let words = packet[12..].chunks_exact(2);
        let sum = words.map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])));
        let checksum = !fold(sum.sum::<u64>() + u64::from(TCP) + 20);
        packet[36..38].copy_from_slice(&checksum.to_be_bytes());
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARRED: Leaver = Leaver {
        address: [10, 0, 0, 2],
        reason: Reason::Barred,
    };

    #[test]
    fn a_reset_is_a_whole_packet() {
        let reset = Reset {
            from: "10.0.0.2:40000".parse().unwrap(),
            to: "10.0.0.1:80".parse().unwrap(),
            sequence: 0x0102_0304,
        };
        let bytes = reset.bytes();
        let sum: u64 = bytes[12..]
            .chunks_exact(2)
            .map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        assert_eq!(fold(sum + 6 + 20), 0xffff, "the checksum is right");
        assert_eq!((&bytes[24..28], bytes[33]), (&[1, 2, 3, 4][..], 4));
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
        flow.client_key.remote = BARRED.address;
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

    /// A client's connection to a server with these flags.
    fn flow(flags: u8) -> Flow {
        let client_key = FlowKey {
            remote: [10, 0, 0, 100],
            local: [10, 0, 0, 1],
            remote_port: 40_000u16.to_be_bytes(),
            local_port: 80u16.to_be_bytes(),
        };
        let peer_key = FlowKey {
            remote: BARRED.address,
            remote_port: 80u16.to_be_bytes(),
            local_port: 41_000u16.to_be_bytes(),
            ..client_key
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
        }
    }
}
