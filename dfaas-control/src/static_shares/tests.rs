use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::function_spec::FunctionSpec;
use crate::neighbourhood::Neighbourhood;
use crate::node_usage::MarginSettings;
use crate::pairing::Tokenless;
use crate::service_address::ServiceAddress;
use crate::settings::Settings;
use crate::strategy::{Strategy, StrategyKind};

const PERIOD: Duration = Duration::from_secs(60);

#[test]
fn without_a_neighbour_all_is_served_here() {
    let mut node = Node::hosting(&["f"]);
    node.hear("b", r#"["other"]"#);
    let policy = node.round();
    let f = &policy.functions[&name("f")];
    assert_eq!((f.hosted, f.local_rps, f.here), (true, 0.0, 1.0));
    assert!(f.routes.is_empty());
    assert_eq!(
        f.admit[&id("b")],
        f64::INFINITY,
        "a known node may send without limit"
    );
}

#[test]
fn forty_of_a_hundred_go_to_the_neighbours_in_equal_rounded_parts() {
    for (count, each) in [(1, 40), (2, 20), (3, 13), (6, 7), (80, 1), (81, 0)] {
        let mut node = Node::hosting(&["f"]);
        for peer in 0..count {
            node.hear(&format!("n{peer}"), r#"["f"]"#);
        }
        let weights = node.strategy.weights(&node.local, &name("f"));
        assert_eq!(weights.here, 60);
        assert_eq!(
            weights.peers.values().copied().collect::<Vec<_>>(),
            vec![each; count]
        );
    }
}

#[test]
fn a_neighbour_gets_nothing_of_what_it_does_not_run() {
    let mut node = Node::hosting(&["f", "g"]);
    node.hear("b", r#"["f"]"#);
    node.hear("c", r#"["f","g"]"#);
    let policy = node.round();
    // 60 and 20 of 80: b is counted as a neighbour, as the reference does.
    let g = &policy.functions[&name("g")];
    assert_eq!(
        (g.here, g.routes.len(), g.routes[&id("c")].weight),
        (0.75, 1, 0.25)
    );
    let f = &policy.functions[&name("f")];
    assert_eq!(
        (f.here, f.routes[&id("b")].weight, f.routes[&id("c")].weight),
        (0.6, 0.2, 0.2)
    );
}

#[test]
fn it_tells_its_functions_as_the_go_agents_do() {
    let mut node = Node::hosting(&["f", "g"]);
    node.round();
    let sent = String::from_utf8(node.strategy.poll_publish().unwrap()).unwrap();
    assert_eq!(
        sent,
        r#"{"MsgType":"nodeinfoStatic","HAProxyHost":"10.0.0.1","HAProxyPort":80,"Functions":["f","g"]}"#
    );
}

#[test]
fn an_entry_expires_after_two_periods_or_with_its_connection() {
    let mut node = Node::hosting(&["f"]);
    node.hear("b", r#"["f"]"#);
    node.hear("c", r#"["f"]"#);
    node.now += 2 * PERIOD;
    assert_eq!(node.round().peers.len(), 2);
    node.strategy.handle_peer_down(node.now, &id("b"));
    let policy = node.strategy.poll_policy(&node.local).unwrap();
    assert_eq!(
        policy.functions[&name("f")].routes.keys().collect::<Vec<_>>(),
        [&id("c")]
    );
    node.now += PERIOD;
    assert_eq!(node.round().peers.len(), 0);
}

#[test]
fn an_empty_list_of_go_is_null() {
    let mut node = Node::hosting(&["f"]);
    node.hear("b", "null");
    assert!(node.round().functions[&name("f")].routes.is_empty());
}

proptest! {
    #[test]
    fn shares_add_up_whoever_runs_what(lists in proptest::collection::vec(0u8..8, 0..20), own in 1u8..8) {
        let names = |bits: u8| -> Vec<&str> {
            ["f", "g", "h"].into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| name).collect()
        };
        let mut node = Node::hosting(&names(own));
        for (peer, &bits) in lists.iter().enumerate() {
            node.hear(&format!("n{peer}"), &serde_json::to_string(&names(bits)).unwrap());
        }
        for (name, function) in node.round().functions {
            let total: f64 = function.here + function.routes.values().map(|route| route.weight).sum::<f64>();
            prop_assert!(!function.hosted || (total - 1.0).abs() < 1e-9, "{name}: {total}");
            prop_assert!(function.hosted || total == 0.0);
            for peer in function.routes.keys() {
                let list = lists[peer.as_str()[1..].parse::<usize>().unwrap()];
                prop_assert!(names(list).contains(&name.as_str()));
            }
        }
    }
}

/// Node `a` with a period of a minute.
struct Node {
    strategy: StaticShares,
    local: Local,
    now: Instant,
}

impl Node {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    fn hosting(functions: &[&str]) -> Self {
        let settings = Settings {
            node: id("a"),
            incarnation: 1,
            service: ServiceAddress::new([10, 0, 0, 1].into(), 80),
            period: PERIOD,
            strategy: StrategyKind::Static,
            neighbourhood: Neighbourhood::default(),
            shadow: None,
            token_rotation: Duration::from_secs(600),
            tokenless: Tokenless::All,
            default_capacity_rps: 10.0,
            node_margin: MarginSettings::default(),
        };
        let spec = |&function: &&str| (name(function), FunctionSpec { capacity_rps: 10.0 });
        let now = Instant::now();
        Self {
            strategy: StaticShares::new(now),
            local: Local {
                settings,
                functions: functions.iter().map(spec).collect(),
                connected: BTreeMap::new(),
                admitted: Scope::default(),
                open: std::collections::BTreeSet::new(),
            },
            now,
        }
    }

    fn hear(&mut self, from: &str, functions: &str) {
        let body = format!(
            r#"{{"MsgType":"nodeinfoStatic","HAProxyHost":"10.0.0.2","HAProxyPort":80,"Functions":{functions}}}"#
        );
        self.strategy
            .handle_message(&self.local, self.now, &id(from), body.as_bytes())
            .unwrap();
    }

    fn round(&mut self) -> Policy {
        self.strategy.handle_timeout(&self.local, self.now);
        self.strategy.poll_policy(&self.local).unwrap()
    }
}

fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn name(text: &str) -> FunctionName {
    FunctionName::new(text).unwrap()
}
