use super::*;
use crate::clock::now;

const MS: Duration = Duration::from_millis(1);
const DIRECT: (Side, Way) = (Side::Us, Way::Direct);
const SILENCE: Duration = Duration::from_secs(3);

#[test]
fn the_first_round_trip_and_changes_over_a_fifth_are_told() {
    let (start, id, connection) = (now(), PeerId::random(), ConnectionId::new_unchecked(1));
    let mut peers = Peers::default();
    peers.opened(start, id, connection, DIRECT);
    peers.joined(&BTreeSet::from([id]));
    assert_eq!(told(&mut peers), ["up None"]);
    assert_eq!(told(&mut peers), [""; 0]);
    peers.answered(start, &id, connection, 10 * MS);
    assert_eq!(told(&mut peers), ["up Some(10ms)"]);
    peers.answered(start, &id, connection, 8 * MS);
    assert_eq!(told(&mut peers), [""; 0]);
    peers.answered(start, &id, connection, 7 * MS);
    assert_eq!(told(&mut peers), ["up Some(7ms)"]);
    for _ in 1..RTT_WINDOW {
        peers.answered(start, &id, connection, 50 * MS);
        assert_eq!(
            told(&mut peers),
            [""; 0],
            "a single quick answer counts for a while"
        );
    }
    peers.answered(start, &id, connection, 50 * MS);
    assert_eq!(told(&mut peers), ["up Some(50ms)"]);
    assert!(peers.closed(&id, connection));
    assert_eq!(told(&mut peers), ["down"]);
    assert_eq!(told(&mut peers), [""; 0]);
}

#[test]
fn tiny_differences_are_not_news() {
    let us = Duration::from_micros;
    assert!(!differs(Some(us(300)), Some(us(499))));
    assert!(differs(Some(us(300)), Some(us(500))));
    assert!(!differs(Some(10 * MS), Some(12 * MS)));
    assert!(differs(Some(10 * MS), Some(us(12_001))));
}

#[test]
fn only_the_last_connection_takes_a_peer_down() {
    let (start, id) = (now(), PeerId::random());
    let [first, second] = [1, 2].map(ConnectionId::new_unchecked);
    let mut peers = Peers::default();
    peers.opened(start, id, first, DIRECT);
    peers.opened(start, id, second, DIRECT);
    peers.joined(&BTreeSet::from([id]));
    assert_eq!((told(&mut peers).len(), peers.connected()), (1, 1));
    assert!(!peers.closed(&id, first));
    assert!(!peers.closed(&id, first));
    assert_eq!(told(&mut peers), [""; 0]);
    assert!(peers.closed(&id, second));
    assert_eq!(
        (told(&mut peers), peers.connected()),
        (vec!["down".to_owned()], 0)
    );
}

#[test]
fn silence_is_counted_from_the_last_answer() {
    let (start, id, connection) = (now(), PeerId::random(), ConnectionId::new_unchecked(1));
    let mut peers = Peers::default();
    peers.opened(start, id, connection, DIRECT);
    peers.answered(start + 500 * MS, &id, connection, MS);
    assert_eq!(peers.silent(start + 3499 * MS, SILENCE), []);
    assert_eq!(peers.silent(start + 3500 * MS, SILENCE), [(id, connection)]);
    peers.forgive(start + 3500 * MS);
    assert_eq!(peers.silent(start + 6499 * MS, SILENCE), []);
    peers.mute(&id, connection);
    assert_eq!(peers.silent(start + 99_999 * MS, SILENCE), []);
}

#[test]
fn what_a_full_queue_refused_is_told_later() {
    let (start, connection) = (now(), ConnectionId::new_unchecked(1));
    let mut peers = Peers::default();
    let ids = BTreeSet::from([(); 3].map(|()| PeerId::random()));
    for id in &ids {
        peers.opened(start, *id, connection, DIRECT);
    }
    peers.joined(&ids);
    let mut room = 2;
    peers.report(|_| {
        room -= 1;
        room >= 0
    });
    assert_eq!(told(&mut peers), ["up None"]);
}

#[test]
fn who_has_not_joined_is_a_stranger_and_not_told() {
    let (start, id, connection) = (now(), PeerId::random(), ConnectionId::new_unchecked(1));
    let mut peers = Peers::default();
    peers.opened(start, id, connection, DIRECT);
    assert_eq!(told(&mut peers), [""; 0]);
    assert_eq!((peers.connected(), peers.is_connected(&id)), (0, true));
    assert_eq!(peers.strangers(start + 9 * MS, 10 * MS), []);
    assert_eq!(peers.strangers(start + 10 * MS, 10 * MS), [id]);
    peers.joined(&BTreeSet::from([id]));
    assert_eq!(told(&mut peers), ["up None"]);
    assert_eq!(peers.strangers(start + 10 * MS, 10 * MS), []);
    peers.joined(&BTreeSet::new());
    assert_eq!(told(&mut peers), ["down"]);
    let stranger = PeerId::random();
    peers.opened(start, stranger, connection, DIRECT);
    assert_eq!(peers.lapsed(start + 9 * MS, 10 * MS), []);
    assert_eq!(peers.lapsed(start + 10 * MS, 10 * MS), [id]);
    peers.closed(&stranger, connection);
    peers.closed(&id, connection);
    assert_eq!(peers.strangers(start + 10 * MS, 10 * MS), []);
}

#[test]
fn of_several_connections_both_ends_keep_the_same() {
    let mut ids = [PeerId::random(), PeerId::random()];
    ids.sort();
    let [lesser, greater] = ids;
    // By number: who dialled, in the order of opening, and what is left.
    check_surplus(lesser, greater, &[Side::Us, Side::Peer, Side::Us], &[2]);
    check_surplus(greater, lesser, &[Side::Peer, Side::Us, Side::Peer], &[1]);
    check_surplus(lesser, greater, &[Side::Peer, Side::Peer], &[]);
    check_surplus(greater, lesser, &[Side::Us, Side::Us], &[1]);
    check_surplus(greater, lesser, &[Side::Us], &[]);
}

#[test]
fn a_direct_connection_is_better_than_one_through_a_relay() {
    let (start, id) = (now(), PeerId::random());
    let [relayed, direct] = [1, 2].map(ConnectionId::new_unchecked);
    for own in [PeerId::random(), PeerId::random(), PeerId::random()] {
        let mut peers = Peers::default();
        peers.opened(start, id, relayed, (Side::Us, Way::ThroughRelay));
        peers.opened(start + SETTLED_AFTER, id, direct, (Side::Peer, Way::Direct));
        assert_eq!(peers.surplus(start + SETTLED_AFTER, &own), []);
        assert_eq!(peers.surplus(start + 2 * SETTLED_AFTER, &own), [relayed]);
    }
}

#[track_caller]
fn check_surplus(own: PeerId, other: PeerId, dialled: &[Side], want: &[usize]) {
    let (start, mut peers) = (now(), Peers::default());
    for (number, side) in dialled.iter().enumerate() {
        peers.opened(
            start,
            other,
            ConnectionId::new_unchecked(number),
            (*side, Way::Direct),
        );
    }
    assert_eq!(peers.surplus(start, &own), [], "both ends must have seen all");
    let want: Vec<_> = want
        .iter()
        .map(|number| ConnectionId::new_unchecked(*number))
        .collect();
    assert_eq!(peers.surplus(start + SETTLED_AFTER, &own), want);
}

fn told(peers: &mut Peers) -> Vec<String> {
    let mut told = Vec::new();
    peers.report(|event| {
        told.push(match event {
            OverlayEvent::PeerUp { rtt, .. } => format!("up {rtt:?}"),
            OverlayEvent::PeerDown { .. } => "down".to_owned(),
            OverlayEvent::Listening(_)
            | OverlayEvent::Unlistening(_)
            | OverlayEvent::Message { .. }
            | OverlayEvent::TokenTold { .. }
            | OverlayEvent::TokenTaken { .. } => panic!("not about a peer"),
        });
        true
    });
    told
}
