//! What the guard before the interface lets in.

use dfaas_common::{guard::Guard, meter::Limit, packet::Address};

use crate::{
    bench::{Bench, NODE, PEER},
    frame::{CLIENT, Sent},
};

const PORT: u16 = 20_000;
/// One SYN, and the next one in a quarter of an hour.
const RARELY: Limit = Limit {
    interval_ns: 1_000_000_000_000,
    tolerance_ns: 0,
    bucket: 0,
    reserved: 0,
};

#[test]
fn ordinary_segments_come_in() {
    let mut bench = guarded(Limit::UNLIMITED);
    for flags in ["S", "SA", "A", "AP", "AF", "R", "RA"] {
        assert!(bench.admits(&with_flags(flags).bytes()), "{flags}");
    }
    assert!(bench.events().is_empty());
}

#[test]
fn flags_that_no_stack_sends_stay_out() {
    let mut bench = guarded(Limit::UNLIMITED);
    let impossible = ["", "F", "P", "SF", "SR", "RF", "SFRPA"];
    for flags in impossible {
        assert!(!bench.admits(&with_flags(flags).bytes()), "{flags}");
    }
    assert_eq!(bench.events()["guard_flags"], impossible.len() as u64);
}

#[test]
fn what_is_not_for_the_service_is_not_judged() {
    let mut bench = guarded(Limit::NONE);
    let christmas = with_flags("F");
    assert!(bench.admits(&christmas.bytes_to(PEER)));
    let elsewhere = Sent {
        destination_port: 22,
        ..christmas.clone()
    };
    assert!(bench.admits(&elsewhere.bytes()));
    assert!(bench.admits(&christmas.bytes()[..40]), "no whole headers");
    assert!(!bench.admits(&christmas.bytes_to(NODE)));
}

#[test]
fn a_network_may_send_so_many_syns_and_others_as_many() {
    let mut bench = guarded(RARELY);
    let from = |host: [u8; 4]| Sent {
        source: host,
        ..Sent::syn(PORT)
    };
    assert!(bench.admits(&from(CLIENT).bytes()));
    assert!(!bench.admits(&from(CLIENT).bytes()));
    let [a, b, c, d] = CLIENT;
    assert!(!bench.admits(&from([a, b, c, d + 1]).bytes()), "its neighbour");
    assert!(bench.admits(&from([a, b, c + 1, d]).bytes()), "another network");
    assert!(bench.admits(&with_flags("A").bytes()), "its connections go on");
    assert_eq!(bench.events()["guard_syns"], 2);
}

#[test]
fn blocked_sources_stay_out_until_they_are_not() {
    let mut bench = guarded(Limit::UNLIMITED);
    let [a, b, c, _] = CLIENT;
    let prefix = Address::from_ipv4([a, b, c, 0]);
    bench.block(prefix, 96 + 24);
    assert!(!bench.admits(&with_flags("A").bytes()));
    let other = Sent {
        source: [a, b, c + 1, 9],
        ..with_flags("A")
    };
    assert!(bench.admits(&other.bytes()));
    assert_eq!(bench.events()["guard_blocked"], 1);
    bench.unblock(prefix, 96 + 24);
    assert!(bench.admits(&with_flags("A").bytes()));
}

fn guarded(syns: Limit) -> Bench {
    let mut bench = Bench::new();
    bench.guard(Guard {
        syns,
        blocked: 1,
        reserved: 0,
    });
    bench
}

fn with_flags(flags: &'static str) -> Sent {
    Sent {
        flags,
        ..Sent::data(PORT, 1, b"x")
    }
}
