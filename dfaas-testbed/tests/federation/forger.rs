//! Segments as somebody else would send them, and a look at those that come.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    time::Duration,
};

use dfaas_testbed::Namespace;
use etherparse::{PacketBuilder, SlicedPacket, TcpHeader, TransportSlice};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket,
    sockopt::{Timeout, set_socket_timeout},
};

/// How long nothing comes before all is thought to have come.
const QUIET: Duration = Duration::from_millis(100);
/// How many packets, or quiet times, are waited for.
const TRIES: usize = 10_000;
const PACKET_BYTES: usize = 65_536;
const TIME_TO_LIVE: u8 = 64;

/// Where a segment comes from and goes to, and its numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
}

impl Segment {
    /// The next segment of who got this one.
    pub(crate) fn answer(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            sequence: self.acknowledgment,
            acknowledgment: self.sequence,
        }
    }
}

/// Sends segments from any address.
pub(crate) struct Forger(OwnedFd);

impl Forger {
    pub(crate) fn new(from: &Namespace) -> Self {
        let raw = || socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW));
        Self(from.on_thread(raw).unwrap().unwrap())
    }

    /// Sends a segment; `mark` sets its flags.
    pub(crate) fn send(&self, segment: Segment, mark: fn(&mut TcpHeader), payload: &[u8]) {
        let mut header = TcpHeader::new(
            segment.source.port(),
            segment.destination.port(),
            segment.sequence,
            1000,
        );
        header.acknowledgment_number = segment.acknowledgment;
        mark(&mut header);
        let addresses = [segment.source, segment.destination].map(|address| address.ip().octets());
        let packet = PacketBuilder::ipv4(addresses[0], addresses[1], TIME_TO_LIVE).tcp_header(header);
        let mut bytes = Vec::new();
        packet.write(&mut bytes, payload).unwrap();
        let sent = sendto(&self.0, &bytes, SendFlags::empty(), &segment.destination);
        assert_eq!(sent.unwrap(), bytes.len());
    }
}

/// Sees all segments that a host gets from now on.
pub(crate) struct Sniffer(OwnedFd);

impl Sniffer {
    pub(crate) fn new(at: &Namespace) -> Self {
        let raw = || socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP));
        let socket = at.on_thread(raw).unwrap().unwrap();
        set_socket_timeout(&socket, Timeout::Recv, Some(QUIET)).unwrap();
        Self(socket)
    }

    /// The next token that comes, of whomever.
    pub(crate) fn token(&self) -> String {
        const FIELD: &[u8] = b"DFaaS-Node-Token: ";
        let mut bytes = vec![0; PACKET_BYTES];
        for _ in 0..TRIES {
            let Ok((length, _)) = recv(&self.0, &mut bytes[..], RecvFlags::empty()) else {
                continue;
            };
            let packet = &bytes[..length];
            let mut parts = packet.windows(FIELD.len());
            // HAProxy writes names in small letters.
            let at = parts.position(|part| part.eq_ignore_ascii_case(FIELD));
            let token = at.and_then(|at| packet.get(at + FIELD.len()..)?.get(..32));
            if let Some(token) = token {
                return String::from_utf8(token.to_vec()).unwrap();
            }
        }
        panic!("no token came");
    }

    /// The last segment that came from a host, from or to a port.
    pub(crate) fn last(&self, from: Ipv4Addr, port: u16) -> Segment {
        let mut last = None;
        let mut bytes = vec![0; PACKET_BYTES];
        while let Ok((length, _)) = recv(&self.0, &mut bytes[..], RecvFlags::empty()) {
            let segment = read(&bytes[..length]);
            let is_wanted = |segment: &Segment| {
                let ports = [segment.source.port(), segment.destination.port()];
                *segment.source.ip() == from && ports.contains(&port)
            };
            last = segment.filter(is_wanted).or(last);
        }
        last.expect("a segment came")
    }
}

fn read(bytes: &[u8]) -> Option<Segment> {
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let ip = packet.net?;
    let header = ip.ipv4_ref()?.header();
    let TransportSlice::Tcp(tcp) = packet.transport? else {
        return None;
    };
    Some(Segment {
        source: SocketAddrV4::new(header.source_addr(), tcp.source_port()),
        destination: SocketAddrV4::new(header.destination_addr(), tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledgment: tcp.acknowledgment_number(),
    })
}
