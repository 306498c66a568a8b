//! More than there is room for is left out, and comes in when others have gone.

use std::net::Ipv4Addr;

use dfaas_control::{ServiceAddress, Trust};

use super::*;
use crate::data_plane::rehearsal::Rehearsal;

#[test]
fn functions_find_room_when_others_go() {
    let mut maps = rehearsal();
    maps.apply(&policy(0..maps::FUNCTIONS + 3, 0..0)).unwrap();
    // With and without the namespace.
    assert_eq!(rows(maps.policy.functions.keys()), 2 * maps::FUNCTIONS);
    assert!(!has_row(&maps, maps::FUNCTIONS) && maps.policy.leaves_out());
    // Those that go have their numbers for one policy more.
    let later = policy(3..maps::FUNCTIONS + 3, 0..0);
    for _ in 0..3 {
        maps.apply(&later).unwrap();
    }
    assert_eq!(rows(maps.policy.functions.keys()), 2 * maps::FUNCTIONS);
    let has_rows = [0, 3, maps::FUNCTIONS + 2].map(|number| has_row(&maps, number));
    assert_eq!(has_rows, [false, true, true]);
    assert!(!maps.policy.leaves_out());
}

/// As after a failure in the middle of a policy, or when somebody has emptied a table by hand.
#[test]
fn rows_that_are_gone_already_stop_no_policy() {
    let mut maps = rehearsal();
    maps.apply(&policy(0..2, 0..2)).unwrap();
    empty(&mut maps.policy.functions);
    empty(&mut maps.policy.admissions);
    empty(&mut maps.policy.caps);
    empty(&mut maps.policy.peers);
    let later = policy(5..6, 5..6);
    for _ in 0..3 {
        maps.apply(&later).unwrap();
    }
    assert!(has_row(&maps, 5) && !has_row(&maps, 0));
    assert_eq!(counts(&maps)[..3], [1; 3]);
}

#[test]
fn peers_find_room_when_others_go() {
    let mut maps = rehearsal();
    // One place is this node's.
    let room = maps::TARGETS - 1;
    maps.apply(&policy(0..1, 0..room + 3)).unwrap();
    assert_eq!(counts(&maps), [room; 4]);
    assert_eq!(maps.names.peers.get(&peer(room)), None);
    let later = policy(0..1, 3..room + 3);
    for _ in 0..3 {
        maps.apply(&later).unwrap();
    }
    assert_eq!(counts(&maps), [room; 4]);
    for number in 3..room + 3 {
        let index = maps.names.peers.get(&peer(number)).unwrap();
        let target = maps.policy.targets.get(&index, 0).unwrap();
        assert_eq!(target.addresses[0], Address::from_ipv4(address(number).octets()));
    }
}

#[test]
fn limits_find_room_when_others_go() {
    const PEERS: usize = 400;
    let mut maps = rehearsal();
    // One for each function, and two with each peer; bucket 0 is nobody's.
    let most = (maps::BUCKETS - 1) / (2 * PEERS + 1);
    maps.apply(&policy(0..2 * most, 0..PEERS)).unwrap();
    let [caps, admissions, ..] = counts(&maps);
    assert_eq!(caps + admissions + 2 * most, maps::BUCKETS - 1);
    assert_eq!(
        rows(maps.policy.functions.keys()),
        4 * most,
        "all are served here"
    );
    let later = policy(most..2 * most, 0..PEERS);
    for _ in 0..3 {
        maps.apply(&later).unwrap();
    }
    assert_eq!(counts(&maps), [most * PEERS, most * PEERS, PEERS, PEERS]);
}

fn rehearsal() -> Rehearsal {
    Rehearsal::new(&NodeId::new("12D3KooWHere").unwrap()).unwrap()
}

/// Functions that all peers offer and ask for.
fn policy(functions: std::ops::Range<usize>, peers: std::ops::Range<usize>) -> Policy {
    let route = Route {
        weight: 1.0,
        cap_rps: 5.0,
    };
    let function = FunctionPolicy {
        local_rps: 10.0,
        hosted: true,
        here: 0.5,
        routes: peers.clone().map(|number| (peer(number), route)).collect(),
        admit: peers.clone().map(|number| (peer(number), 5.0)).collect(),
    };
    let known = |number| dfaas_control::Peer {
        service: ServiceAddress::new(address(number), 80),
        trust: Trust::default(),
    };
    Policy {
        functions: functions.map(|number| (name(number), function.clone())).collect(),
        peers: peers.map(|number| (peer(number), known(number))).collect(),
        ..Policy::default()
    }
}

/// In the order of the numbers, as those of peers.
fn name(number: usize) -> FunctionName {
    FunctionName::new(format!("f{number:05}")).unwrap()
}

fn peer(number: usize) -> NodeId {
    NodeId::new(format!("12D3KooWPeer{number:05}")).unwrap()
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number as u32)
}

fn has_row(maps: &Rehearsal, number: usize) -> bool {
    function_keys(&name(number)).all(|key| maps.policy.functions.get(&key, 0).is_ok())
}

/// Rows of `CAPS`, `ADMISSIONS`, `PEERS` and `STAMPS`.
fn counts(maps: &Rehearsal) -> [usize; 4] {
    let policy = &maps.policy;
    [
        rows(policy.caps.keys()),
        rows(policy.admissions.keys()),
        rows(policy.peers.keys()),
        rows(policy.stamps.keys()),
    ]
}

fn empty<K: aya::Pod, V: aya::Pod>(map: &mut HashMap<MapData, K, V>) {
    let keys: Vec<K> = map.keys().map(Result::unwrap).collect();
    for key in keys {
        map.remove(&key).unwrap();
    }
}

fn rows<K>(keys: impl Iterator<Item = Result<K, aya::maps::MapError>>) -> usize {
    keys.map(Result::unwrap).count()
}
