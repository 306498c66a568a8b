//! Segments as Ethernet frames, written and read by a library that is not ours.

use etherparse::{
    NetHeaders, PacketBuilder, PacketHeaders, TcpHeader, TcpOptionElement, TransportHeader, err,
};

use crate::segment::{ACK, End, FIN, Options, PSH, RST, SYN, Segment};

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 100], [2, 0, 0, 0, 0, 1]);

/// Writes a segment with right checksums.
///
/// # Errors
///
/// Options that do not fit into a header.
pub fn write(segment: &Segment) -> Result<Vec<u8>, String> {
    let mut tcp = TcpHeader::new(
        segment.from.port,
        segment.to.port,
        segment.sequence,
        segment.window,
    );
    tcp.acknowledgment_number = segment.acknowledgment;
    tcp.syn = segment.has(SYN);
    tcp.ack = segment.has(ACK);
    tcp.psh = segment.has(PSH);
    tcp.fin = segment.has(FIN);
    tcp.rst = segment.has(RST);
    tcp.set_options(&elements(&segment.options))
        .map_err(|error| format!("writing options: {error}"))?;
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1)
        .ipv4(segment.from.address, segment.to.address, 64)
        .tcp_header(tcp);
    let mut bytes = Vec::with_capacity(builder.size(segment.payload.len()));
    builder
        .write(&mut bytes, &segment.payload)
        .map_err(|error| format!("writing a frame: {error}"))?;
    Ok(bytes)
}

fn elements(options: &Options) -> Vec<TcpOptionElement> {
    let mut elements = Vec::new();
    elements.extend(options.segment_size.map(TcpOptionElement::MaximumSegmentSize));
    if options.permits_sack {
        elements.push(TcpOptionElement::SelectiveAcknowledgementPermitted);
    }
    elements.extend(options.scale.map(TcpOptionElement::WindowScale));
    if let Some((first, rest)) = options.sacks.split_first() {
        let mut others = [None; 3];
        for (place, block) in others.iter_mut().zip(rest) {
            *place = Some(*block);
        }
        elements.push(TcpOptionElement::SelectiveAcknowledgement(*first, others));
    }
    elements
}

/// Reads a frame.
///
/// # Errors
///
/// A frame that is no whole TCP segment over IPv4, or has a wrong length or checksum.
pub fn read(frame: &[u8]) -> Result<Segment, String> {
    let packet = PacketHeaders::from_ethernet_slice(frame)
        .map_err(|error: err::packet::SliceError| format!("{error}: {frame:02x?}"))?;
    let (Some(NetHeaders::Ipv4(ipv4, _)), Some(TransportHeader::Tcp(tcp))) = (packet.net, packet.transport)
    else {
        return Err(format!("no TCP over IPv4: {frame:02x?}"));
    };
    if frame.len() != 14 + usize::from(ipv4.total_len) {
        return Err(format!(
            "an IPv4 length of {} in a frame of {}",
            ipv4.total_len,
            frame.len()
        ));
    }
    let payload = packet.payload.slice().to_vec();
    if ipv4.header_checksum != ipv4.calc_header_checksum() {
        return Err("a wrong IPv4 checksum".to_owned());
    }
    let want = tcp.calc_checksum_ipv4(&ipv4, &payload);
    if want != Ok(tcp.checksum) {
        return Err(format!("a wrong TCP checksum in {tcp:?}"));
    }
    let options = options(&tcp)?;
    let flags = [
        (tcp.fin, FIN),
        (tcp.syn, SYN),
        (tcp.rst, RST),
        (tcp.psh, PSH),
        (tcp.ack, ACK),
    ];
    Ok(Segment {
        from: End {
            address: ipv4.source,
            port: tcp.source_port,
        },
        to: End {
            address: ipv4.destination,
            port: tcp.destination_port,
        },
        sequence: tcp.sequence_number,
        acknowledgment: tcp.acknowledgment_number,
        flags: flags
            .iter()
            .map(|(is_set, flag)| if *is_set { *flag } else { 0 })
            .sum(),
        window: tcp.window_size,
        options,
        payload,
    })
}

fn options(tcp: &TcpHeader) -> Result<Options, String> {
    let mut options = Options::default();
    for element in tcp.options_iterator() {
        match element.map_err(|error| format!("reading options: {error}"))? {
            TcpOptionElement::MaximumSegmentSize(size) => options.segment_size = Some(size),
            TcpOptionElement::WindowScale(scale) => options.scale = Some(scale),
            TcpOptionElement::SelectiveAcknowledgementPermitted => options.permits_sack = true,
            TcpOptionElement::SelectiveAcknowledgement(first, rest) => {
                options.sacks.push(first);
                options.sacks.extend(rest.into_iter().flatten());
            }
            TcpOptionElement::Noop | TcpOptionElement::Timestamp(..) => {}
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            sequence: u32,
            acknowledgment: u32,
            window: u16,
            payload in proptest::collection::vec(any::<u8>(), 0..3_000),
            sacks in proptest::collection::vec(any::<(u32, u32)>(), 0..4),
        ) {
            let segment = Segment {
                from: End { address: [10, 0, 0, 1], port: 1_000 },
                to: End { address: [10, 0, 0, 2], port: 80 },
                sequence,
                acknowledgment,
                flags: ACK | PSH,
                window,
                options: Options { sacks, ..Options::default() },
                payload,
            };
            prop_assert_eq!(read(&write(&segment).unwrap()).unwrap(), segment);
        }
    }
}
