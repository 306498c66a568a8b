//! Frames: made, and taken apart by a parser that is not ours.

use dfaas_common::{maps::FlowKey, packet::Address};
use etherparse::{Ipv4Header, NetHeaders, PacketBuilder, PacketHeaders, TcpHeader, TransportHeader};

use crate::bench::{NODE, PORT};

pub(crate) const CLIENT: [u8; 4] = [10, 77, 0, 100];
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 100];
pub(crate) const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const CLIENT_ISN: u32 = 1_000;
/// Maximum segment size 1460, SACK permitted, time stamps, window scale 7: what Linux sends.
pub(crate) const LINUX_OPTIONS: [u8; 20] =
    [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

/// A segment of a client to the service port.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) source: [u8; 4],
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: &'static str,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Sent {
    pub(crate) fn syn(source_port: u16) -> Self {
        Self {
            source: CLIENT,
            source_port,
            destination_port: PORT,
            sequence: CLIENT_ISN,
            acknowledgment: 0,
            flags: "S",
            window: 64_240,
            options: LINUX_OPTIONS.to_vec(),
            payload: Vec::new(),
        }
    }

    pub(crate) fn data(source_port: u16, acknowledgment: u32, payload: &[u8]) -> Self {
        Self {
            sequence: CLIENT_ISN.wrapping_add(1),
            acknowledgment,
            flags: "AP",
            options: Vec::new(),
            payload: payload.to_vec(),
            ..Self::syn(source_port)
        }
    }

    pub(crate) fn key(&self) -> FlowKey {
        FlowKey {
            remote: Address::from_ipv4(self.source),
            remote_port: self.source_port.to_be_bytes(),
            local_port: self.destination_port.to_be_bytes(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_to(NODE)
    }

    pub(crate) fn bytes_to(&self, destination: [u8; 4]) -> Vec<u8> {
        let mut tcp = TcpHeader::new(
            self.source_port,
            self.destination_port,
            self.sequence,
            self.window,
        );
        tcp.acknowledgment_number = self.acknowledgment;
        tcp.syn = self.flags.contains('S');
        tcp.ack = self.flags.contains('A');
        tcp.psh = self.flags.contains('P');
        tcp.fin = self.flags.contains('F');
        tcp.rst = self.flags.contains('R');
        tcp.set_options_raw(&self.options).unwrap();
        let builder = PacketBuilder::ethernet2(CLIENT_MAC, NODE_MAC)
            .ipv4(self.source, destination, 64)
            .tcp_header(tcp);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &self.payload).unwrap();
        bytes
    }
}

/// A segment that came out, with right checksums.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) ipv4: Ipv4Header,
    pub(crate) tcp: TcpHeader,
    pub(crate) payload: Vec<u8>,
    pub(crate) macs: ([u8; 6], [u8; 6]),
}

impl Segment {
    /// Takes a frame apart.
    ///
    /// # Panics
    ///
    /// If it is no TCP segment, if a checksum is wrong or if there are bytes behind it.
    #[track_caller]
    pub(crate) fn read(frame: &[u8]) -> Self {
        let packet = PacketHeaders::from_ethernet_slice(frame).unwrap();
        let Some(NetHeaders::Ipv4(ipv4, _)) = packet.net else {
            panic!("no IPv4: {frame:x?}");
        };
        let Some(TransportHeader::Tcp(tcp)) = packet.transport else {
            panic!("no TCP: {frame:x?}");
        };
        assert_eq!(frame.len(), 14 + usize::from(ipv4.total_len), "length");
        let payload = packet.payload.slice().to_vec();
        assert_eq!(ipv4.header_checksum, ipv4.calc_header_checksum(), "IPv4 checksum");
        let want = tcp.calc_checksum_ipv4(&ipv4, &payload).unwrap();
        assert_eq!(tcp.checksum, want, "TCP checksum");
        Self {
            ipv4,
            tcp,
            payload,
            macs: (frame[6..12].try_into().unwrap(), frame[..6].try_into().unwrap()),
        }
    }

    pub(crate) fn flags(&self) -> String {
        let TcpHeader {
            syn,
            ack,
            psh,
            fin,
            rst,
            ..
        } = self.tcp;
        let flags = [(syn, 'S'), (ack, 'A'), (psh, 'P'), (fin, 'F'), (rst, 'R')];
        flags
            .into_iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, flag)| flag)
            .collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}
