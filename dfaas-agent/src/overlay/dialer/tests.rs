use super::*;
use crate::clock::now;

const MS: Duration = Duration::from_millis(1);
const DELAY_MAX: Duration = Duration::from_secs(30);

#[test]
fn failed_dials_are_repeated_ever_more_slowly() {
    let mut clock = now();
    let mut dialer = Dialer::new(clock, &[address(1)], DELAY_MAX);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let [dial] = due(&mut dialer, clock).try_into().unwrap();
        assert_eq!(due(&mut dialer, clock + DELAY_MAX), [], "one dial at a time");
        let first = dialer.failed(clock, dial).is_some();
        assert_eq!(
            first,
            waits.is_empty(),
            "only the first failure is worth a warning"
        );
        let failed = clock;
        while dialer.bootstrap[0].due > clock {
            clock += 250 * MS;
        }
        waits.push((clock - failed).as_millis());
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
}

#[test]
fn a_bootstrap_address_is_left_alone_while_its_peer_is_connected() {
    let (start, peer) = (now(), PeerId::random());
    let mut dialer = Dialer::new(start, &[address(1)], DELAY_MAX);
    let [dial] = due(&mut dialer, start).try_into().unwrap();
    dialer.opened(start, peer, dial);
    assert!(dialer.due(start, |connected| *connected == peer).is_empty());
    dialer.lost(start + STABLE_AFTER, peer);
    assert_eq!(due(&mut dialer, start + STABLE_AFTER), []);
    assert_eq!(due(&mut dialer, start + STABLE_AFTER + DELAY_MIN).len(), 1);
}

#[test]
fn a_peer_that_comes_and_goes_is_dialled_less_often() {
    let (start, peer) = (now(), PeerId::random());
    let mut dialer = Dialer::new(start, &[address(1)], DELAY_MAX);
    for delay in [250, 500, 1000] {
        let [dial] = due(&mut dialer, start + DELAY_MAX).try_into().unwrap();
        dialer.opened(start, peer, dial);
        dialer.lost(start, peer);
        assert_eq!(dialer.bootstrap[0].due, start + delay * MS);
    }
}

#[test]
fn met_peers_are_dialled_once_and_forgotten_in_the_end() {
    let (start, peer) = (now(), PeerId::random());
    let mut dialer = Dialer::new(start, &[], DELAY_MAX);
    dialer.learn(start, peer, [address(1), address(2), address(1)]);
    assert_eq!(dialer.met[&peer].addresses, [address(2), address(1)]);
    assert_eq!(dialer.due(start, |connected| *connected == peer).len(), 0);
    assert_eq!(due(&mut dialer, start).len(), 1);
    dialer.met.get_mut(&peer).unwrap().dialling = None;
    assert_eq!(due(&mut dialer, start + FORGET_AFTER), []);
    assert!(dialer.met.is_empty());
}

#[test]
fn one_peer_is_dialled_by_one_entry() {
    let (start, peer) = (now(), PeerId::random());
    let named = address(1).with(Protocol::P2p(peer));
    let mut dialer = Dialer::new(start, &[named], DELAY_MAX);
    dialer.learn(start, peer, [address(2)]);
    assert_eq!(due(&mut dialer, start).len(), 1);
    assert_eq!(due(&mut dialer, start), []);
}

#[test]
fn our_own_address_is_forgotten() {
    let start = now();
    let mut dialer = Dialer::new(start, &[address(1), address(2)], DELAY_MAX);
    let dials = due(&mut dialer, start);
    dialer.forget(dials[0]);
    assert_eq!(dialer.bootstrap.len(), 1);
    assert_eq!(dialer.bootstrap[0].addresses, [address(2)]);
}

#[test]
fn strangers_are_forgotten_unless_they_were_named() {
    let (start, peer, named) = (now(), PeerId::random(), PeerId::random());
    let mut dialer = Dialer::new(start, &[address(1).with(Protocol::P2p(named))], DELAY_MAX);
    dialer.learn(start, peer, [address(2)]);
    assert!(dialer.forget_stranger(&peer));
    assert!(dialer.met.is_empty());
    assert!(!dialer.forget_stranger(&named));
    assert_eq!(dialer.bootstrap.len(), 1);
}

fn due(dialer: &mut Dialer, now: Instant) -> Vec<ConnectionId> {
    let dials = dialer.due(now, |_| false);
    dials.iter().map(DialOpts::connection_id).collect()
}

fn address(port: u16) -> Multiaddr {
    format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
}
