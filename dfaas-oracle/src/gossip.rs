//! Messages of peers, whatever is in them: a node rejects them, or goes on deciding and telling sensibly.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dfaas_control::{
    Control, Counters, FunctionCounters, FunctionName, FunctionSpec, Input, MarginSettings, Neighbourhood,
    NodeId, Output, Policy, Rejection, Settings, StrategyKind, Token, Tokenless,
};

/// No JSON has this byte.
pub const SEPARATOR: u8 = 0xff;

const PERIOD: Duration = Duration::from_secs(1);
const CAPACITY_RPS: f64 = 10.0;

/// Feeds messages to a node that hosts a function and has too many requests for it.
///
/// # Panics
///
/// If a message is not counted, if the node then makes a policy that cannot be carried out, or if it says what a peer
/// of its kind rejects.
pub fn check(bodies: &[u8], strategy: StrategyKind, mut now: Instant) {
    let mut node = node("n1", strategy, now);
    let mut listener = self::node("n9", strategy, now);
    node.handle_input(
        now,
        Input::PeerUp {
            id: id("n9"),
            rtt: None,
        },
    );
    let mut count = 0;
    for (body, from) in bodies
        .split(|byte| *byte == SEPARATOR)
        .zip(["n2", "n3"].into_iter().cycle())
    {
        node.handle_input(
            now,
            Input::Message {
                from: id(from),
                body: body.to_vec(),
            },
        );
        count += 1;
        let status = node.status(now);
        assert_eq!(status.accepted + status.rejected.values().sum::<u64>(), count);
        drain(&mut node, &mut listener, now);
        now += PERIOD / 10;
        node.handle_input(now, Input::Counters(requests()));
        node.handle_timeout(now);
        drain(&mut node, &mut listener, now);
    }
    let mut rejected = listener.status(now).rejected;
    // An offer names only who has offered something.
    rejected.remove(&Rejection::NotAddressed);
    assert!(rejected.is_empty(), "{rejected:?}");
}

fn node(name: &str, strategy: StrategyKind, now: Instant) -> Control {
    let settings = Settings {
        node: id(name),
        incarnation: 1,
        service: "10.77.0.1:80".parse().expect("an address"),
        period: PERIOD,
        strategy,
        token_rotation: Duration::from_secs(600),
        tokenless: Tokenless::All,
        neighbourhood: Neighbourhood::default(),
        shadow: None,
        default_capacity_rps: CAPACITY_RPS,
        node_margin: MarginSettings::default(),
    };
    let mut node = Control::new(settings, now);
    let spec = FunctionSpec {
        capacity_rps: CAPACITY_RPS,
    };
    node.handle_input(now, Input::Functions(BTreeMap::from([(figlet(), spec)])));
    node
}

/// A tenth of a period with more requests than the node has capacity for.
fn requests() -> Counters {
    let counters = FunctionCounters {
        user: 5,
        local: 1,
        refused: 4,
        ..FunctionCounters::default()
    };
    Counters {
        elapsed: PERIOD / 10,
        functions: BTreeMap::from([(figlet(), counters)]),
    }
}

fn drain(node: &mut Control, listener: &mut Control, now: Instant) {
    while let Some(output) = node.poll_output() {
        match output {
            Output::Publish(body) => listener.handle_input(now, Input::Message { from: id("n1"), body }),
            Output::Ask { strategy, .. } => panic!("{strategy} asks nobody"),
            Output::Apply(policy) => {
                check_policy(&policy);
                node.handle_input(now, Input::InForce);
            }
            Output::DrawToken { peer } => {
                let token = Token::new([7; 16]);
                node.handle_input(now, Input::TokenDrawn { peer, token });
            }
            Output::Probe { peer, .. } => panic!("{peer} needs no token, and cannot be asked for it"),
            Output::SendToken { to, .. } => assert!(node.status(now).peers.contains_key(&to)),
        }
    }
}

/// The rules of [`Policy`] that hold for any strategy.
fn check_policy(policy: &Policy) {
    let is_rate = |rate: f64| rate >= 0.0 && rate.is_finite();
    for function in policy.functions.values() {
        assert!(is_rate(function.local_rps), "{function:?}");
        assert!(function.admit.values().all(|rate| is_rate(*rate)), "{function:?}");
        let weights: f64 = function.routes.values().map(|route| route.weight).sum();
        assert!(
            function.routes.is_empty() || (weights - 1.0).abs() < 1e-9,
            "{function:?}"
        );
        for (to, route) in &function.routes {
            assert!(route.weight >= 0.0 && route.cap_rps >= 0.0, "{function:?}");
            assert!(policy.peers.contains_key(to), "{function:?}");
        }
    }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("a short name is an identity")
}

fn figlet() -> FunctionName {
    FunctionName::new("figlet").expect("a short name is a function's")
}
