//! Headers and options are read as etherparse and a plain loop read them.

use dfaas_oracle::frames::{check, check_options};
use etherparse::{PacketBuilder, TcpHeader};
use proptest::{collection::vec, prelude::*};

proptest! {
    #[test]
    fn segments_are_read_as_etherparse_reads_them(
        is_ipv6: bool,
        numbers in any::<(u16, u16, u32, u32, u16)>(),
        flags in 0u8..32,
        options in vec(any::<u8>(), 0..11).prop_map(|words| words.repeat(4)),
        payload in vec(any::<u8>(), 0..60),
    ) {
        prop_assert!(check(&segment(is_ipv6, numbers, flags, &options, &payload)));
    }

    #[test]
    fn damaged_segments_are_read_as_etherparse_reads_them(
        is_ipv6: bool,
        numbers in any::<(u16, u16, u32, u32, u16)>(),
        payload in vec(any::<u8>(), 0..60),
        damage in vec((0usize..80, any::<u8>()), 1..4),
        cut in 0usize..200,
    ) {
        let mut frame = segment(is_ipv6, numbers, 16, &[1; 8], &payload);
        for (at, byte) in damage {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(cut);
        check(&frame);
    }

    #[test]
    fn options_are_read_as_a_plain_loop_reads_them(options in vec(option(), 0..8)) {
        check_options(&options.concat());
    }
}

fn segment(
    is_ipv6: bool,
    numbers: (u16, u16, u32, u32, u16),
    flags: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let (source, destination, sequence, acknowledgment, window) = numbers;
    let mut tcp = TcpHeader::new(source, destination, sequence, window);
    tcp.acknowledgment_number = acknowledgment;
    tcp.fin = flags & 1 != 0;
    tcp.syn = flags & 2 != 0;
    tcp.rst = flags & 4 != 0;
    tcp.psh = flags & 8 != 0;
    tcp.ack = flags & 16 != 0;
    tcp.set_options_raw(options).expect("whole words, not too many");
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let builder = if is_ipv6 {
        builder.ipv6([0xfd; 16], [0xfe; 16], 64)
    } else {
        builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
    };
    let builder = builder.tcp_header(tcp);
    builder.write(&mut bytes, payload).expect("memory takes all");
    bytes
}

/// An option, whole or not.
fn option() -> impl Strategy<Value = Vec<u8>> {
    let block = vec(any::<u8>(), 8);
    prop_oneof![
        2 => Just(vec![1]),
        1 => Just(vec![0]),
        2 => any::<u16>().prop_map(|size| [&[2, 4], &size.to_be_bytes()[..]].concat()),
        2 => any::<u8>().prop_map(|scale| vec![3, 3, scale]),
        2 => Just(vec![4, 2]),
        2 => vec(block, 0..5).prop_map(|blocks| [vec![5, 2 + 8 * blocks.len() as u8], blocks.concat()].concat()),
        1 => vec(any::<u8>(), 8).prop_map(|times| [vec![8, 10], times].concat()),
        2 => (0u8..8, 0u8..44, vec(0u8..12, 0..6)).prop_map(|(kind, length, rest)| [vec![kind, length], rest].concat()),
    ]
}
