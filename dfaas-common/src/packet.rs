//! Ethernet, IPv4 (RFC 791) and TCP (RFC 9293) headers, and the Internet checksum (RFC 1071).

/// A 16 bit number in network byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Be16(u16);

impl Be16 {
    /// Stores a number.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be())
    }

    /// Reads the number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The word as it lies in memory, as checksums want it.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// A word as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw)
    }
}

/// A 32 bit number in network byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Be32(u32);

impl Be32 {
    /// Stores a number.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value.to_be())
    }

    /// Reads the number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u32 {
        u32::from_be(self.0)
    }

    /// The word as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// A word as it lies in memory, for example an IPv4 address of a map's key.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

/// Length of an Ethernet header in bytes.
pub const ETHERNET_BYTES: usize = 14;
/// Length of an IPv4 header without options in bytes.
pub const IPV4_BYTES: usize = 20;
/// Length of a TCP header without options in bytes.
pub const TCP_BYTES: usize = 20;
/// Offset of the first byte behind a TCP header without options.
pub const HEADERS_BYTES: usize = ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES;
/// Offset of the checksum in the IPv4 header within a frame.
pub const IPV4_CHECKSUM_OFFSET: usize = ETHERNET_BYTES + 10;
/// Offset of the checksum in the TCP header within a frame.
pub const TCP_CHECKSUM_OFFSET: usize = ETHERNET_BYTES + IPV4_BYTES + 16;

/// TCP flag: no more data from the sender.
pub const FIN: u8 = 0x01;
/// TCP flag: synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// TCP flag: reset the connection.
pub const RST: u8 = 0x04;
/// TCP flag: push.
pub const PSH: u8 = 0x08;
/// TCP flag: the acknowledgment number is valid.
pub const ACK: u8 = 0x10;

const ETHERTYPE_IPV4: Be16 = Be16::new(0x0800);
const PROTOCOL_TCP: u8 = 6;
const DONT_FRAGMENT: u16 = 0x4000;
const TIME_TO_LIVE: u8 = 64;

/// The headers of a frame, as they lie in the packet behind two bytes that align them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Headers {
    /// Not part of the packet: aligns what follows to its size.
    pub lead: u16,
    /// Ethernet destination.
    pub ethernet_destination: [u16; 3],
    /// Ethernet source.
    pub ethernet_source: [u16; 3],
    /// EtherType.
    pub ethertype: Be16,
    /// IPv4 version and header length in words.
    pub version_and_length: u8,
    /// Type of service.
    pub service: u8,
    /// Length of the IPv4 packet in bytes.
    pub total_length: Be16,
    /// Identification.
    pub identification: Be16,
    /// Flags and fragment offset.
    pub fragment: Be16,
    /// Time to live.
    pub time_to_live: u8,
    /// Protocol number.
    pub protocol: u8,
    /// IPv4 header checksum.
    pub ipv4_checksum: Be16,
    /// IPv4 source.
    pub source: Be32,
    /// IPv4 destination.
    pub destination: Be32,
    /// TCP source port.
    pub source_port: Be16,
    /// TCP destination port.
    pub destination_port: Be16,
    /// Sequence number.
    pub sequence: Be32,
    /// Acknowledgment number.
    pub acknowledgment: Be32,
    /// Length of the TCP header in words, in the upper four bits.
    pub tcp_length: u8,
    /// TCP flags.
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: Be16,
    /// TCP checksum.
    pub checksum: Be16,
    /// Urgent pointer.
    pub urgent: Be16,
}

const _: () = assert!(size_of::<Headers>() == HEADERS_BYTES + 2);

/// The addresses, numbers and flags of a segment that is to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Ethernet destination.
    pub ethernet_destination: [u16; 3],
    /// Ethernet source.
    pub ethernet_source: [u16; 3],
    /// IPv4 source.
    pub source: Be32,
    /// IPv4 destination.
    pub destination: Be32,
    /// TCP source port.
    pub source_port: Be16,
    /// TCP destination port.
    pub destination_port: Be16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// TCP flags.
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: u16,
    /// Length of the TCP options in bytes, a multiple of four.
    pub options_bytes: u16,
    /// Length of the payload in bytes.
    pub payload_bytes: u16,
}

impl Headers {
    /// Whether this is an unfragmented TCP segment in IPv4 without options; all else passes untouched.
    #[inline(always)]
    #[must_use]
    pub const fn is_plain_tcp(&self) -> bool {
        self.ethertype.raw() == ETHERTYPE_IPV4.raw()
            && self.version_and_length == 0x45
            && self.protocol == PROTOCOL_TCP
            && self.fragment.get() & !DONT_FRAGMENT == 0
            && self.total_length.get() >= (IPV4_BYTES + TCP_BYTES) as u16
            && self.tcp_length >> 4 >= 5
    }

    /// Length of the TCP options in bytes, 0 to 40.
    #[inline(always)]
    #[must_use]
    pub const fn options_bytes(&self) -> u16 {
        ((self.tcp_length >> 4) as u16 * 4).wrapping_sub(TCP_BYTES as u16) & 0x3f
    }

    /// Offset of the payload in the frame.
    #[inline(always)]
    #[must_use]
    pub const fn payload_offset(&self) -> u32 {
        HEADERS_BYTES as u32 + self.options_bytes() as u32
    }

    /// Length of the payload in bytes; 0 where the header's lengths contradict each other.
    #[inline(always)]
    #[must_use]
    pub const fn payload_bytes(&self) -> u16 {
        self.total_length
            .get()
            .saturating_sub((IPV4_BYTES + TCP_BYTES) as u16 + self.options_bytes())
    }

    /// The sequence number behind this segment, SYN and FIN counted.
    #[inline(always)]
    #[must_use]
    pub const fn sequence_end(&self) -> u32 {
        let control = (self.flags & SYN != 0) as u32 + (self.flags & FIN != 0) as u32;
        self.sequence
            .get()
            .wrapping_add(self.payload_bytes() as u32)
            .wrapping_add(control)
    }

    /// Whether the checksum field holds the pseudo-header's sum alone, as in packets that a local stack or a
    /// virtual interface leaves for hardware to finish (`CHECKSUM_PARTIAL`).
    #[inline(always)]
    #[must_use]
    pub const fn has_partial_checksum(&self) -> bool {
        self.checksum.raw() == fold(self.pseudo_sum())
    }

    /// A segment from here to where this one came from.
    #[inline(always)]
    #[must_use]
    pub const fn answer(&self) -> Segment {
        Segment {
            ethernet_destination: self.ethernet_source,
            ethernet_source: self.ethernet_destination,
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            sequence: self.acknowledgment.get(),
            acknowledgment: self.sequence_end(),
            flags: ACK,
            window: 0,
            options_bytes: 0,
            payload_bytes: 0,
        }
    }

    /// A segment that goes where this one goes.
    #[inline(always)]
    #[must_use]
    pub const fn onward(&self) -> Segment {
        Segment {
            ethernet_destination: self.ethernet_destination,
            ethernet_source: self.ethernet_source,
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            sequence: self.sequence.get(),
            acknowledgment: self.acknowledgment.get(),
            flags: self.flags,
            window: self.window.get(),
            options_bytes: 0,
            payload_bytes: 0,
        }
    }

    /// The headers of a new segment. Both checksums are right once [`Self::finish_checksum`] was called.
    #[inline(always)]
    #[must_use]
    pub const fn make(segment: &Segment) -> Self {
        let tcp_bytes = TCP_BYTES as u16 + segment.options_bytes;
        let mut headers = Self {
            lead: 0,
            ethernet_destination: segment.ethernet_destination,
            ethernet_source: segment.ethernet_source,
            ethertype: ETHERTYPE_IPV4,
            version_and_length: 0x45,
            service: 0,
            total_length: Be16::new(IPV4_BYTES as u16 + tcp_bytes + segment.payload_bytes),
            identification: Be16::new(0),
            fragment: Be16::new(DONT_FRAGMENT),
            time_to_live: TIME_TO_LIVE,
            protocol: PROTOCOL_TCP,
            ipv4_checksum: Be16::new(0),
            source: segment.source,
            destination: segment.destination,
            source_port: segment.source_port,
            destination_port: segment.destination_port,
            sequence: Be32::new(segment.sequence),
            acknowledgment: Be32::new(segment.acknowledgment),
            tcp_length: ((tcp_bytes / 4) as u8) << 4,
            flags: segment.flags,
            window: Be16::new(segment.window),
            checksum: Be16::new(0),
            urgent: Be16::new(0),
        };
        headers.ipv4_checksum = Be16::from_raw(!fold(headers.ipv4_sum()));
        headers
    }

    /// Completes the TCP checksum of a made segment: `rest` is the sum of options and payload.
    ///
    /// With `partial` the pseudo-header's sum alone is written, and `rest` does not count.
    #[inline(always)]
    pub const fn finish_checksum(&mut self, partial: bool, rest: u64) {
        self.checksum = Be16::from_raw(if partial {
            fold(self.pseudo_sum())
        } else {
            self.checksum = Be16::new(0);
            !fold(self.pseudo_sum() + self.tcp_sum() + rest)
        });
    }

    /// The sum over the pseudo-header (RFC 9293, section 3.1).
    #[inline(always)]
    #[must_use]
    pub const fn pseudo_sum(&self) -> u64 {
        let tcp_bytes = self.total_length.get().wrapping_sub(IPV4_BYTES as u16);
        self.source.raw() as u64
            + self.destination.raw() as u64
            + (PROTOCOL_TCP as u16).to_be() as u64
            + tcp_bytes.to_be() as u64
    }

    const fn ipv4_sum(&self) -> u64 {
        pair(self.version_and_length, self.service)
            + self.total_length.raw() as u64
            + self.identification.raw() as u64
            + self.fragment.raw() as u64
            + pair(self.time_to_live, self.protocol)
            + self.source.raw() as u64
            + self.destination.raw() as u64
    }

    /// The sum over the TCP header as it is, checksum field included, options not.
    #[inline(always)]
    #[must_use]
    pub const fn tcp_sum(&self) -> u64 {
        self.source_port.raw() as u64
            + self.destination_port.raw() as u64
            + self.sequence.raw() as u64
            + self.acknowledgment.raw() as u64
            + pair(self.tcp_length, self.flags)
            + self.window.raw() as u64
            + self.checksum.raw() as u64
            + self.urgent.raw() as u64
    }
}

/// Two bytes as the word that they are in memory.
#[inline(always)]
const fn pair(first: u8, second: u8) -> u64 {
    u16::from_ne_bytes([first, second]) as u64
}

/// Folds a sum of 16 or 32 bit words into 16 bits, carries added back in.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// What a checksum gains when a word that was `old` becomes `new` (RFC 1624, equation 3), to be summed up.
#[inline(always)]
#[must_use]
pub const fn difference(old: u32, new: u32) -> u64 {
    !old as u64 + new as u64
}

#[cfg(test)]
mod tests;
