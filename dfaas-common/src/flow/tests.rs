use proptest::prelude::*;

use super::*;
use crate::packet::{Be32, Headers};

fn flow() -> Flow {
    Flow {
        client_isn: 1_000,
        our_isn: 50_000,
        upstream_isn: 7_000,
        server_isn: 90_000,
        first_bytes: 100,
        stamp_bytes: 69,
        client_scale: 7,
        server_scale: 7,
        ..Flow::default()
    }
}

#[test]
fn bytes_behind_the_stamp_are_shifted_by_it() {
    let numbers = Numbers {
        sequence: 1_101,
        acknowledgment: 50_001,
        window: 9,
    };
    let got = flow().to_server(numbers);
    assert_eq!(
        got,
        Numbers {
            sequence: 7_170,
            acknowledgment: 90_001,
            window: 9
        }
    );
}

#[test]
fn the_first_bytes_keep_their_place() {
    let numbers = Numbers {
        sequence: 1_001,
        acknowledgment: 50_001,
        window: 9,
    };
    assert_eq!(flow().to_server(numbers).sequence, 7_001);
    assert_eq!(
        flow()
            .to_server(Numbers {
                sequence: 1_100,
                ..numbers
            })
            .sequence,
        7_100
    );
}

#[test]
fn a_part_of_the_stamped_bytes_is_not_acknowledged_to_the_client() {
    let numbers = |acknowledgment| Numbers {
        sequence: 90_001,
        acknowledgment,
        window: 9,
    };
    assert_eq!(flow().to_client(numbers(7_169)).acknowledgment, 1_001);
    assert_eq!(flow().to_client(numbers(7_170)).acknowledgment, 1_101);
    assert_eq!(flow().to_client(numbers(7_171)).acknowledgment, 1_102);
}

#[test]
fn without_a_stamp_parts_are_acknowledged() {
    let flow = Flow {
        stamp_bytes: 0,
        ..flow()
    };
    let numbers = Numbers {
        sequence: 90_001,
        acknowledgment: 7_050,
        window: 9,
    };
    assert_eq!(flow.to_client(numbers).acknowledgment, 1_050);
}

#[test]
fn windows_are_told_in_the_promised_unit() {
    let numbers = Numbers {
        sequence: 90_001,
        acknowledgment: 7_170,
        window: 64,
    };
    assert_eq!(
        Flow {
            server_scale: 10,
            ..flow()
        }
        .to_client(numbers)
        .window,
        512
    );
    let plain = Flow {
        client_scale: NO_WINDOW_SCALE,
        server_scale: NO_WINDOW_SCALE,
        ..flow()
    };
    assert_eq!(plain.to_client(numbers).window, 64);
}

#[test]
fn a_segment_gets_the_flow_s_addresses_and_keeps_its_numbers() {
    let flow = Flow {
        source: [10, 0, 0, 1],
        destination: [10, 0, 0, 2],
        source_port: 41_000u16.to_be_bytes(),
        destination_port: 80u16.to_be_bytes(),
        ..flow()
    };
    let before = Headers {
        sequence: Be32::new(5),
        ..Headers::default()
    }
    .onward();
    let after = flow.readdress(before);
    assert_eq!(after.source.get(), 0x0a00_0001);
    assert_eq!(after.destination.get(), 0x0a00_0002);
    assert_eq!(
        (after.source_port.get(), after.destination_port.get()),
        (41_000, 80)
    );
    assert_eq!((after.sequence, after.flags), (before.sequence, before.flags));
}

#[test]
fn a_syn_ack_takes_all_nothing_or_is_not_ours() {
    assert_eq!(flow().taken_by(7_001), Some(0));
    assert_eq!(flow().taken_by(7_170), Some(169));
    assert_eq!(flow().taken_by(7_171), None);
    assert_eq!(flow().taken_by(7_000), None);
}

#[test]
fn only_the_first_bytes_are_first() {
    assert!(flow().is_first(1_001));
    assert!(flow().is_first(1_100));
    assert!(!flow().is_first(1_101));
    assert!(!flow().is_first(1_000));
}

#[test]
fn a_connection_is_over_when_both_fins_are_acknowledged() {
    let mut closing = Closing::default();
    closing.client(FIN | ACK, 2_001, 500);
    assert!(closing.has_begun());
    closing.server(ACK, 600, 2_001);
    closing.server(FIN | ACK, 601, 2_001);
    assert!(!closing.is_over());
    closing.client(ACK, 2_001, 600);
    assert!(!closing.is_over());
    closing.client(ACK, 2_001, 601);
    assert!(closing.is_over());
}

#[test]
fn simultaneous_fins_end_a_connection_too() {
    let mut closing = Closing::default();
    closing.client(FIN | ACK, 2_001, 600);
    closing.server(FIN | ACK, 601, 2_000);
    closing.client(ACK, 2_001, 601);
    assert!(!closing.is_over());
    closing.server(ACK, 601, 2_001);
    assert!(closing.is_over());
}

#[test]
fn a_number_without_ack_flag_acknowledges_nothing() {
    let mut closing = Closing::default();
    closing.server(FIN | ACK, 601, 0);
    closing.client(FIN, 2_001, 601);
    closing.server(ACK, 601, 2_001);
    assert!(!closing.is_over());
}

proptest! {
    #[test]
    fn there_and_back_is_where_one_was(
        isns: (u32, u32, u32, u32),
        first_bytes in 1u32..1_400,
        stamp_bytes in 0u32..128,
        sent in 0u32..1 << 30,
        got in 0u32..1 << 30,
    ) {
        let flow = Flow {
            client_isn: isns.0, our_isn: isns.1, upstream_isn: isns.2, server_isn: isns.3,
            first_bytes, stamp_bytes, client_scale: 7, server_scale: 7, ..Flow::default()
        };
        // What the client calls byte `first_bytes + sent`, and the server's acknowledgment of all before it.
        let sequence = isns.0.wrapping_add(1 + first_bytes + sent);
        let acknowledgment = isns.1.wrapping_add(1 + got);
        let upstream = flow.to_server(Numbers { sequence, acknowledgment, window: 1 });
        let back = flow.to_client(Numbers {
            sequence: upstream.acknowledgment,
            acknowledgment: upstream.sequence,
            window: 1,
        });
        prop_assert_eq!(back, Numbers { sequence: acknowledgment, acknowledgment: sequence, window: 1 });
    }
}
