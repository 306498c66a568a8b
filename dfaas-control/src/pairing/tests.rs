use std::net::Ipv4Addr;

use super::*;
use crate::names::FunctionName;
use crate::neighbourhood::Neighbourhood;
use crate::node_usage::MarginSettings;
use crate::policy::{FunctionPolicy, Route};
use crate::service_address::ServiceAddress;
use crate::strategy::StrategyKind;

const ROTATION: Duration = Duration::from_secs(600);
const PEER: &str = "peer";

#[test]
fn a_token_is_told_only_once_it_is_accepted() {
    let (mut pairing, now) = (pairing(Tokenless::default()), start());
    pairing.handle_peer_up(now, &node(PEER));
    assert_eq!(outputs(&mut pairing), [Output::DrawToken { peer: node(PEER) }]);
    pairing.handle_drawn(now, &node(PEER), token(1));
    assert!(pairing.take_change());
    // A policy that does not know the peer, and one of before the token.
    pairing.handle_in_force(now, &Policy::default());
    let mut before = policy();
    before
        .peers
        .values_mut()
        .for_each(|peer| peer.trust = Trust::default());
    pairing.handle_in_force(now, &before);
    assert_eq!(outputs(&mut pairing), []);
    assert_eq!(enforce(&mut pairing, now).accepts, [Some(token(1)), None]);
    assert_eq!(outputs(&mut pairing), [told(1)]);
}

#[test]
fn a_token_is_told_again_until_it_is_taken() {
    let (mut pairing, now) = (paired(), start());
    let count = |pairing: &mut Pairing, seconds| {
        pairing.handle_timeout(now + Duration::from_secs(seconds));
        outputs(pairing).len()
    };
    let seconds = [0, 1, 2, 3, 4, 7, 8];
    let told = seconds.map(|seconds| count(&mut pairing, seconds));
    assert_eq!(told, [0, 1, 0, 1, 0, 1, 0]);
    pairing.handle_taken(now, &node(PEER), token(9));
    assert_eq!(count(&mut pairing, 100), 1, "another token was taken");
    pairing.handle_taken(now, &node(PEER), token(1));
    assert_eq!(count(&mut pairing, 500), 0);
}

#[test]
fn the_old_token_is_accepted_until_there_is_a_third() {
    let (mut pairing, mut now) = (paired(), start());
    pairing.handle_taken(now, &node(PEER), token(1));
    let mut accepted = Vec::new();
    for number in 2..=4 {
        now += ROTATION - Duration::from_nanos(1);
        pairing.handle_timeout(now);
        assert_eq!(outputs(&mut pairing), []);
        now += Duration::from_nanos(1);
        pairing.handle_timeout(now);
        assert_eq!(outputs(&mut pairing), [Output::DrawToken { peer: node(PEER) }]);
        pairing.handle_drawn(now, &node(PEER), token(number));
        accepted.push(enforce(&mut pairing, now).accepts);
        assert_eq!(outputs(&mut pairing), [told(number)]);
        pairing.handle_taken(now, &node(PEER), token(number));
    }
    let want = [(2, 1), (3, 2), (4, 3)].map(|(new, old)| [Some(token(new)), Some(token(old))]);
    assert_eq!(accepted, want);
}

#[test]
fn a_peer_that_takes_no_new_token_cannot_use_the_old_one_for_ever() {
    let (mut pairing, now) = (paired(), start());
    pairing.handle_taken(now, &node(PEER), token(1));
    let drawn = now + ROTATION;
    pairing.handle_timeout(drawn);
    outputs(&mut pairing);
    pairing.handle_drawn(drawn, &node(PEER), token(2));
    enforce(&mut pairing, drawn);
    pairing.handle_timeout(drawn + ROTATION * PATIENCE - Duration::from_nanos(1));
    assert_eq!(enforce(&mut pairing, drawn).accepts[1], Some(token(1)));
    pairing.handle_timeout(drawn + ROTATION * PATIENCE);
    assert_eq!(enforce(&mut pairing, drawn).accepts, [Some(token(2)), None]);
    let draws = |output: &Output| matches!(output, Output::DrawToken { .. });
    assert!(
        !outputs(&mut pairing).iter().any(draws),
        "nobody waits for a third"
    );
}

#[test]
fn a_peer_that_starts_anew_is_told_again() {
    let (mut pairing, now) = (paired(), start());
    pairing.handle_taken(now, &node(PEER), token(1));
    pairing.handle_told(now, &node(PEER), token(7), true);
    assert_eq!(outputs(&mut pairing), []);
    pairing.handle_told(now, &node(PEER), token(8), false);
    let again = Output::SendToken {
        to: node(PEER),
        token: token(1),
        has_theirs: true,
    };
    assert_eq!(outputs(&mut pairing), [again]);
    assert_eq!(enforce(&mut pairing, now).sends, Some(token(8)));
}

#[test]
fn what_a_lost_peer_knew_is_worth_nothing() {
    let (mut pairing, now) = (paired(), start());
    pairing.handle_told(now, &node(PEER), token(7), true);
    enforce(&mut pairing, now);
    pairing.handle_peer_down(&node(PEER));
    assert!(pairing.take_change());
    assert_eq!(enforce(&mut pairing, now), Trust::default());
    pairing.handle_told(now, &node(PEER), token(7), true);
    pairing.handle_drawn(now, &node(PEER), token(2));
    assert!(!pairing.take_change());
}

#[test]
fn nothing_is_sent_where_it_would_be_refused() {
    let mut pairing = paired();
    let routes = |pairing: &Pairing| {
        let mut policy = policy();
        pairing.apply(&mut policy);
        let routes = &policy.functions[&FunctionName::new("f").unwrap()].routes;
        let weight = |(id, route): (&NodeId, &Route)| (id.to_string(), route.weight);
        routes.iter().map(weight).collect::<Vec<_>>()
    };
    assert_eq!(routes(&pairing), []);
    pairing.handle_told(start(), &node(PEER), token(7), true);
    assert_eq!(routes(&pairing), [(PEER.to_owned(), 1.0)]);
    pairing.tokenless = Tokenless::Only([node("old")].into());
    assert_eq!(
        routes(&pairing),
        [("old".to_owned(), 0.75), (PEER.to_owned(), 0.25)]
    );
    pairing.tokenless = Tokenless::All;
    assert_eq!(routes(&pairing).len(), 2);
}

#[test]
fn the_own_share_grows_with_those_that_are_left() {
    let mut pairing = paired();
    pairing.handle_told(start(), &node(PEER), token(7), true);
    let mut policy = policy();
    let function = policy.functions.values_mut().next().unwrap();
    function.here = 0.5;
    for route in function.routes.values_mut() {
        route.weight /= 2.0;
    }
    pairing.apply(&mut policy);
    let function = policy.functions.values().next().unwrap();
    assert_eq!((function.here, function.routes[&node(PEER)].weight), (0.8, 0.2));
}

#[test]
fn it_is_told_why_nothing_is_sent_to_a_peer() {
    let mut pairing = paired();
    let reasons = |pairing: &Pairing| pairing.reasons(&policy(), &FunctionName::new("f").unwrap());
    let no_token = |peer: &str| format!("peer {peer} has told no token yet, and would refuse");
    assert_eq!(reasons(&pairing), [no_token("old"), no_token(PEER)]);
    pairing.handle_told(start(), &node(PEER), token(7), true);
    assert_eq!(reasons(&pairing), [no_token("old")]);
    pairing.handle_admitted([node("old")].into(), &Policy::default());
    pairing.tokenless = Tokenless::Only([node("old")].into());
    assert_eq!(reasons(&pairing), [format!("peer {PEER} is not admitted")]);
}

#[test]
fn nothing_is_sent_to_where_nobody_has_answered_with_the_token() {
    let mut pairing = paired();
    pairing.handle_told(start(), &node(PEER), token(7), true);
    pairing.note_services(&policy().peers);
    let routes = |pairing: &Pairing| {
        let mut policy = policy();
        pairing.apply(&mut policy);
        let figlet = policy.functions.into_values().next().unwrap();
        figlet.routes.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(
        (routes(&pairing), outputs(&mut pairing)),
        (vec![], vec![probe(2, 7)])
    );
    assert_eq!(pairing.open().count(), 0);
    // Somebody else is there: asked again after a second, then after two.
    let mut now = start();
    for wait_s in [1, 2] {
        pairing.handle_probed(now, &node(PEER), service(2), false);
        assert!(pairing.poll_timeout().unwrap() <= now + Duration::from_secs(wait_s));
        pairing.handle_timeout(now + Duration::from_millis(wait_s * 1000 - 1));
        assert_eq!(probes(&mut pairing), []);
        now += Duration::from_secs(wait_s);
        pairing.handle_timeout(now);
        assert_eq!(probes(&mut pairing), [probe(2, 7)]);
    }
    pairing.take_change();
    pairing.handle_probed(now, &node(PEER), service(3), true);
    assert!(!pairing.take_change(), "an answer from elsewhere proves nothing");
    pairing.handle_probed(now, &node(PEER), service(2), true);
    assert!(pairing.take_change());
    assert_eq!(routes(&pairing), [node(PEER)]);
    assert_eq!(pairing.open().collect::<Vec<_>>(), [&node(PEER)]);
    // It moves: what it has proven was about the old place.
    let mut moved = policy();
    moved.peers.get_mut(&node(PEER)).unwrap().service = service(9);
    pairing.note_services(&moved.peers);
    assert_eq!(routes(&pairing), []);
    assert_eq!(probes(&mut pairing), [probe(9, 7)]);
}

#[test]
fn who_tells_our_own_address_is_not_even_asked() {
    let mut pairing = pairing(Tokenless::All);
    let mut lie = policy();
    for peer in lie.peers.values_mut() {
        peer.service = service(1);
    }
    pairing.handle_peer_up(start(), &node(PEER));
    pairing.handle_told(start(), &node(PEER), token(7), true);
    pairing.note_services(&lie.peers);
    assert_eq!(probes(&mut pairing), []);
    let reasons = pairing.reasons(&lie, &FunctionName::new("f").unwrap());
    assert!(
        reasons[0].contains("10.0.0.1:80, which is this node's own address"),
        "{reasons:?}"
    );
    pairing.apply(&mut lie);
    assert!(lie.functions.values().all(|function| function.routes.is_empty()));
}

#[test]
fn a_token_that_changes_all_the_time_costs_a_policy_a_second() {
    let mut pairing = paired();
    let mut policies = 0;
    let mut last = start();
    for change in 0..1_000_u32 {
        last = start() + Duration::from_millis(10) * change;
        pairing.handle_told(last, &node(PEER), token((change % 251) as u8), true);
        policies += u32::from(pairing.take_change());
    }
    assert!((4..=14).contains(&policies), "{policies} in ten seconds");
    // The last one is not forgotten.
    let at = pairing.poll_timeout().unwrap();
    assert!(at <= last + Duration::from_secs(1), "{:?}", at - last);
    pairing.handle_timeout(at);
    assert_eq!(trust(&pairing).sends, Some(token((999 % 251) as u8)));
}

#[test]
fn whom_the_operator_does_not_admit_is_barred() {
    let mut pairing = pairing(Tokenless::All);
    let applied = |pairing: &Pairing| {
        let mut policy = policy();
        let figlet = policy.functions.values_mut().next().unwrap();
        figlet.admit = [(node(PEER), 1.0), (node("old"), 2.0)].into();
        pairing.apply(&mut policy);
        policy
    };
    assert_eq!(applied(&pairing).barred, [].into());
    pairing.handle_admitted([node("old"), node("unheard-of")].into(), &Policy::default());
    assert!(pairing.take_change());
    let policy = applied(&pairing);
    assert_eq!(policy.barred, [node(PEER)].into());
    assert_eq!(policy.peers.keys().collect::<Vec<_>>(), [&node("old")]);
    let figlet = policy.functions.values().next().unwrap();
    assert_eq!(figlet.admit, [(node("old"), 2.0)].into());
    assert_eq!(figlet.routes.len(), 1);
    assert_eq!(figlet.routes[&node("old")].weight, 1.0);
}

#[test]
fn a_token_is_text_in_requests_and_secret_in_logs() {
    let token = Token::new(*b"0123456789\0\xff;:ab");
    assert_eq!(token.text(), "3031323334353637383900ff3b3a6162");
    assert_eq!(Token::try_from(token.text()), Ok(token));
    assert_eq!(format!("{token:?}"), "Token(..)");
    let long = "0".repeat(33);
    for wrong in [
        "",
        "3031323334353637383900FF3b3a6162",
        &long,
        "+0313233343536373839003b3a6162ff",
    ] {
        assert_eq!(Token::try_from(wrong.to_owned()), Err(NotAToken), "{wrong}");
    }
}

/// A pairing whose peer was told token 1 at the start.
fn paired() -> Pairing {
    let mut pairing = pairing(Tokenless::default());
    pairing.handle_peer_up(start(), &node(PEER));
    pairing.handle_drawn(start(), &node(PEER), token(1));
    enforce(&mut pairing, start());
    pairing.outbox.clear();
    pairing
}

/// Has the data plane follow the policy, and returns what it then knows of the peer.
fn enforce(pairing: &mut Pairing, now: Instant) -> Trust {
    let mut policy = policy();
    pairing.apply(&mut policy);
    pairing.handle_in_force(now, &policy);
    policy.peers[&node(PEER)].trust
}

fn outputs(pairing: &mut Pairing) -> Vec<Output> {
    std::iter::from_fn(|| pairing.poll_output()).collect()
}

fn told(number: u8) -> Output {
    Output::SendToken {
        to: node(PEER),
        token: token(number),
        has_theirs: false,
    }
}

fn probes(pairing: &mut Pairing) -> Vec<Output> {
    let mut outputs = outputs(pairing);
    outputs.retain(|output| matches!(output, Output::Probe { .. }));
    outputs
}

fn probe(number: u8, with: u8) -> Output {
    Output::Probe {
        peer: node(PEER),
        service: service(number),
        token: token(with),
    }
}

fn service(number: u8) -> ServiceAddress {
    ServiceAddress::new(Ipv4Addr::new(10, 0, 0, number), 80)
}

fn trust(pairing: &Pairing) -> Trust {
    let mut policy = policy();
    pairing.apply(&mut policy);
    policy.peers[&node(PEER)].trust
}

/// A policy that sends a function's requests to the peer and to an old node.
fn policy() -> Policy {
    let peer = |number| Peer {
        service: service(number),
        trust: Trust::default(),
    };
    let route = |weight| Route { weight, cap_rps: 1.0 };
    let function = FunctionPolicy {
        routes: [(node(PEER), route(0.25)), (node("old"), route(0.75))].into(),
        ..FunctionPolicy::default()
    };
    Policy {
        functions: [(FunctionName::new("f").unwrap(), function)].into(),
        peers: [(node(PEER), peer(2)), (node("old"), peer(3))].into(),
        barred: BTreeSet::new(),
    }
}

fn pairing(tokenless: Tokenless) -> Pairing {
    Pairing::new(&Settings {
        node: node("self"),
        incarnation: 1,
        service: service(1),
        period: Duration::from_secs(1),
        strategy: StrategyKind::WaterFilling,
        token_rotation: ROTATION,
        tokenless,
        neighbourhood: Neighbourhood::default(),
        shadow: None,
        default_capacity_rps: 10.0,
        node_margin: MarginSettings::default(),
    })
}

fn token(number: u8) -> Token {
    Token::new([number; TOKEN_BYTES])
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn start() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    *START.get_or_init(Instant::now)
}
