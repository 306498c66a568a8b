use crate::service_address::ServiceAddress;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Control, Input, Output};
use crate::counters::{Counters, FunctionCounters};
use crate::function_spec::FunctionSpec;
use crate::message::{Message, PEERS_MAX, Rejection};
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Neighbourhood;
use crate::node_usage::MarginSettings;
use crate::pairing::Tokenless;
use crate::policy::Policy;
use crate::settings::Settings;
use crate::strategy::StrategyKind;

const PERIOD: Duration = Duration::from_secs(1);

#[test]
fn messages_that_cannot_be_used_are_counted_and_dropped() {
    let now = start();
    let mut control = control(1, StrategyKind::WaterFilling, now);
    let state = r#"{"MsgType":"nodestate","Incarnation":1,"Sequence":1,"HAProxyHost":"10.0.0.2",
        "HAProxyPort":80,"Period":1,"Functions":{}}"#;
    let offer = r#"{"MsgType":"nodeinfo","HAProxyHost":"10.0.0.2","HAProxyPort":80,"FuncLimits":{}}"#;
    for (from, body) in [
        (1, state),
        (2, "{"),
        (2, r#"{"MsgType":"text"}"#),
        (2, offer),
        (2, state),
        (2, state),
    ] {
        control.handle_input(
            now,
            Input::Message {
                from: node(from),
                body: body.into(),
            },
        );
    }
    let status = control.status(now);
    assert_eq!(status.accepted, 1);
    let want = [
        (Rejection::OwnMessage, 1),
        (Rejection::Malformed, 1),
        (Rejection::UnknownType, 1),
        (Rejection::OtherStrategy, 1),
        (Rejection::Outdated, 1),
    ];
    assert_eq!(status.rejected, want.into_iter().collect());
}

#[test]
fn peers_beyond_the_table_are_dropped() {
    let now = start();
    let mut control = control(0, StrategyKind::WaterFilling, now);
    let body = r#"{"MsgType":"nodestate","Incarnation":1,"Sequence":1,"HAProxyHost":"10.0.0.2",
        "HAProxyPort":80,"Period":1,"Functions":{}}"#;
    for from in 1..=PEERS_MAX + 3 {
        control.handle_input(
            now,
            Input::Message {
                from: node(from),
                body: body.into(),
            },
        );
    }
    assert_eq!(control.status(now).rejected[&Rejection::TableFull], 3);
    // There is room again once the others are forgotten.
    let later = now + 11 * PERIOD;
    control.handle_timeout(later);
    control.handle_input(
        later,
        Input::Message {
            from: node(999),
            body: body.into(),
        },
    );
    assert_eq!(control.status(later).peers.len(), 1);
}

#[test]
fn a_lost_node_is_not_revived_by_what_it_said_last() {
    let now = start();
    let mut control = control(1, StrategyKind::WaterFilling, now);
    let knows = |control: &mut Control, at, body| {
        control.handle_input(at, Input::Message { from: node(2), body });
        last_policy(control);
        control.policy.peers.contains_key(&node(2))
    };
    control.handle_input(now, hosting(&[("f", 10.0)]));
    assert!(knows(&mut control, now, state(5, 7)));
    control.handle_input(now, Input::PeerDown { id: node(2) });
    last_policy(&mut control);
    assert!(control.policy.peers.is_empty());
    assert!(
        !knows(&mut control, now + PERIOD * 9 / 10, state(5, 8)),
        "still on its way through others"
    );
    assert!(!knows(&mut control, now + PERIOD, state(5, 7)), "seen before");
    assert!(
        !knows(&mut control, now + PERIOD, state(4, 9)),
        "of an earlier start"
    );
    assert!(
        knows(&mut control, now + PERIOD, state(5, 9)),
        "alive, though not connected with us"
    );
    control.handle_input(now + PERIOD, Input::PeerDown { id: node(2) });
    assert!(knows(&mut control, now + PERIOD, state(6, 1)), "restarted");
    assert_eq!(
        control.status(now).rejected,
        [(Rejection::Outdated, 2), (Rejection::SenderGone, 1)].into()
    );
}

#[test]
fn a_large_federation_shares_a_decision_among_messages() {
    let now = start();
    let mut control = control(0, StrategyKind::WaterFilling, now);
    control.handle_input(now, hosting(&[("f", 10.0)]));
    let mut decisions = 0;
    for from in 1..=100 {
        control.handle_input(
            now,
            Input::Message {
                from: node(from),
                body: state(1, 1),
            },
        );
        decisions += usize::from(last_policy(&mut control).is_some());
    }
    // The first 33 at once: the limit is checked before a newcomer is counted.
    assert_eq!(decisions, 33);
    let at = control.poll_timeout().expect("there is always a next period");
    assert!(at <= now + PERIOD / 10);
    control.handle_timeout(at);
    let policy = last_policy(&mut control).expect("the rest is decided with the next sample");
    assert_eq!(policy.peers.len(), 100);
}

#[test]
fn a_node_alone_serves_what_it_hosts() {
    let now = start();
    for strategy in [StrategyKind::WaterFilling, StrategyKind::Recalc] {
        let mut control = control(1, strategy, now);
        control.handle_input(now, hosting(&[("f", 10.0)]));
        let policy = last_policy(&mut control).expect("hosting a function is a policy");
        assert_eq!(policy.functions[&function("f")].local_rps, 10.0);
        assert!(policy.functions[&function("f")].hosted);
        assert!(policy.peers.is_empty());
        control.handle_input(now, hosting(&[("f", 10.0)]));
        assert_eq!(control.poll_output(), None, "the same list is no news");
    }
}

#[test]
fn a_state_is_published_each_period_and_when_functions_change() {
    let now = start();
    let mut control = control(1, StrategyKind::WaterFilling, now);
    assert_eq!(published(&mut control), 0);
    control.handle_input(now, hosting(&[("f", 10.0)]));
    assert_eq!(published(&mut control), 1);
    let mut sent = 0;
    while control.poll_timeout().is_some_and(|at| at <= now + 5 * PERIOD) {
        let at = control.poll_timeout().expect("there is always a next period");
        control.handle_timeout(at);
        sent += published(&mut control);
    }
    assert_eq!(sent, 5);
}

#[test]
fn nothing_makes_a_node_say_what_peers_reject() {
    let now = start();
    let mut control = control(1, StrategyKind::WaterFilling, now);
    control.handle_input(
        now,
        hosting(&[("f", f64::NAN), ("g", f64::INFINITY), ("h", -1.0), ("i", 1e9)]),
    );
    let counted = FunctionCounters {
        user: u64::MAX,
        service_time_p95: Some(Duration::MAX),
        ..FunctionCounters::default()
    };
    let functions = [(function("f"), counted)].into_iter().collect();
    control.handle_input(
        now,
        Input::Counters(Counters {
            elapsed: Duration::from_nanos(1),
            functions,
        }),
    );
    control.handle_timeout(now + PERIOD);
    let Some(Output::Publish(body)) = control.poll_output() else {
        panic!("nothing published");
    };
    assert!(
        Message::decode(&body).is_ok(),
        "{}",
        String::from_utf8_lossy(&body)
    );
}

#[test]
fn timeouts_always_lie_ahead() {
    for strategy in [StrategyKind::WaterFilling, StrategyKind::Recalc] {
        let mut now = start();
        let mut control = control(1, strategy, now);
        // The last one is a machine that slept.
        for late_ms in [0, 3, 170, 1000, 12_345, 86_400_000] {
            let due = control.poll_timeout().expect("there is always a next period");
            assert!(due > now, "due again at once");
            now = due + Duration::from_millis(late_ms);
            control.handle_timeout(now);
        }
    }
}

#[test]
fn near_peers_are_preferred_once_measured() {
    let now = start();
    let mut nodes = federation(&[(0.0, 20), (50.0, 0), (50.0, 0)], now);
    let rtt = |ms| Some(Duration::from_millis(ms));
    nodes[0].handle_input(
        now,
        Input::PeerUp {
            id: node(1),
            rtt: rtt(90),
        },
    );
    nodes[0].handle_input(
        now,
        Input::PeerUp {
            id: node(2),
            rtt: rtt(1),
        },
    );
    exchange(&mut nodes, now + PERIOD, &[0, 1, 2]);
    let routes = &nodes[0].policy.functions[&function("f")].routes;
    assert_eq!(routes[&node(2)].weight, 1.0);
    // The far one has no weight, but takes what the near one has no room for.
    assert_eq!(routes[&node(1)].weight, 0.0);
    assert_eq!(routes[&node(1)].cap_rps, 25.0);
}

#[test]
fn status_is_json() {
    let now = start();
    let mut nodes = federation(&[(10.0, 50), (20.0, 0)], now);
    exchange(&mut nodes, now + PERIOD, &[0, 1]);
    nodes[0].handle_input(
        now,
        Input::Message {
            from: node(1),
            body: vec![],
        },
    );
    let status = serde_json::to_value(nodes[0].status(now + PERIOD)).unwrap();
    assert_eq!(status["functions"]["f"]["demand_rps"], 50.0);
    assert_eq!(status["functions"]["f"]["routes"]["n001"]["cap_rps"], 20.0);
    assert_eq!(status["peers"]["n001"]["functions"]["f"]["capacity_rps"], 20.0);
    assert_eq!(status["strategy"], "water-filling");
    assert_eq!(status["rejected"]["malformed"], 1);
}

#[test]
#[should_panic(expected = "settings were not checked")]
fn unchecked_settings_are_a_mistake_of_the_shell() {
    let settings = Settings {
        period: Duration::ZERO,
        ..settings(1, StrategyKind::Recalc)
    };
    let _ = Control::new(settings, start());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The invariants of the design: all compute the same allocation, whatever arrived in what order.
    #[test]
    fn senders_and_receivers_agree(
        (loads, orders) in proptest::collection::vec((0.0..100.0, 0u64..100), 2..6).prop_flat_map(|loads| {
            let order = Just((0..loads.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just(loads), order)
        }),
    ) {
        let now = start();
        let mut nodes = federation(&loads, now);
        exchange(&mut nodes, now + PERIOD, &orders);
        for (i, j) in (0..nodes.len()).flat_map(|i| (0..loads.len()).map(move |j| (i, j))) {
            let sent = nodes[i].policy.functions.get(&function("f")).and_then(|f| f.routes.get(&node(j)));
            let admitted = nodes[j].policy.functions.get(&function("f")).and_then(|f| f.admit.get(&node(i)));
            prop_assert_eq!(sent.map(|route| route.cap_rps), admitted.copied(), "from {} to {}", i, j);
        }
        for control in &nodes {
            for policy in control.policy.functions.values() {
                let weights: f64 = policy.routes.values().map(|route| route.weight).sum();
                prop_assert!(policy.routes.is_empty() || (weights - 1.0).abs() < 1e-9);
                prop_assert!(!policy.routes.contains_key(&control.local.settings.node));
            }
        }
    }

    #[test]
    fn any_message_is_survived(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20)) {
        let now = start();
        for strategy in [StrategyKind::WaterFilling, StrategyKind::Recalc] {
            let mut control = control(1, strategy, now);
            for body in &bodies {
                control.handle_input(now, Input::Message { from: node(2), body: body.clone() });
            }
            let status = control.status(now);
            prop_assert_eq!(status.accepted + status.rejected.values().sum::<u64>(), bodies.len() as u64);
        }
    }
}

/// Nodes that host one function with such capacities and have counted so many requests in their first period.
fn federation(loads: &[(f64, u64)], now: Instant) -> Vec<Control> {
    let node = |(index, &(capacity_rps, user)): (usize, &(f64, u64))| {
        let mut control = control(index, StrategyKind::WaterFilling, now);
        control.handle_input(now, hosting(&[("f", capacity_rps)]));
        let counters = FunctionCounters {
            user,
            ..FunctionCounters::default()
        };
        let functions = [(function("f"), counters)].into_iter().collect();
        control.handle_input(
            now,
            Input::Counters(Counters {
                elapsed: PERIOD,
                functions,
            }),
        );
        control
    };
    loads.iter().enumerate().map(node).collect()
}

/// Ends a period on all nodes and delivers what they publish in the given order.
fn exchange(nodes: &mut [Control], now: Instant, order: &[usize]) {
    let mut bodies = Vec::new();
    for (index, control) in nodes.iter_mut().enumerate() {
        control.handle_timeout(now);
        while let Some(output) = control.poll_output() {
            if let Output::Publish(body) = output {
                bodies.push((index, body));
            }
        }
    }
    for (receiver, control) in nodes.iter_mut().enumerate() {
        for &(from, ref body) in order
            .iter()
            .map(|&i| &bodies[i])
            .filter(|(from, _)| *from != receiver)
        {
            control.handle_input(
                now,
                Input::Message {
                    from: node(from),
                    body: body.clone(),
                },
            );
            if receiver % 2 == 0 {
                last_policy(control);
            }
        }
        last_policy(control);
    }
}

fn last_policy(control: &mut Control) -> Option<Arc<Policy>> {
    let mut last = None;
    while let Some(output) = control.poll_output() {
        if let Output::Apply(policy) = output {
            last = Some(policy);
        }
    }
    last
}

fn published(control: &mut Control) -> usize {
    std::iter::from_fn(|| control.poll_output())
        .filter(|output| matches!(output, Output::Publish(_)))
        .count()
}

fn control(index: usize, strategy: StrategyKind, now: Instant) -> Control {
    Control::new(settings(index, strategy), now)
}

fn settings(index: usize, strategy: StrategyKind) -> Settings {
    Settings {
        node: node(index),
        incarnation: 1,
        service: ServiceAddress::new(Ipv4Addr::new(10, 0, 0, index as u8), 80),
        period: PERIOD,
        strategy,
        token_rotation: Duration::from_secs(600),
        tokenless: Tokenless::All,
        neighbourhood: Neighbourhood::default(),
        shadow: None,
        default_capacity_rps: 10.0,
        node_margin: MarginSettings::default(),
    }
}

fn hosting(functions: &[(&str, f64)]) -> Input {
    let spec = |&(name, capacity_rps): &(&str, f64)| (function(name), FunctionSpec { capacity_rps });
    Input::Functions(functions.iter().map(spec).collect())
}

/// The state of a node that hosts nothing.
fn state(incarnation: u64, sequence: u64) -> Vec<u8> {
    let body = format!(
        r#"{{"MsgType":"nodestate","Incarnation":{incarnation},"Sequence":{sequence},
            "HAProxyHost":"10.0.0.2","HAProxyPort":80,"Period":1,"Functions":{{}}}}"#
    );
    body.into_bytes()
}

fn node(index: usize) -> NodeId {
    NodeId::new(format!("n{index:03}")).unwrap()
}

fn function(name: &str) -> FunctionName {
    FunctionName::new(name).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has no other origin; only differences matter"
)]
fn start() -> Instant {
    Instant::now()
}
