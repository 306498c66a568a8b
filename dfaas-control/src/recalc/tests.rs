use std::time::Duration;

use super::*;
use crate::counters::FunctionCounters;
use crate::function_spec::FunctionSpec;
use crate::neighbourhood::Neighbourhood;
use crate::node_usage::MarginSettings;
use crate::pairing::Tokenless;
use crate::service_address::ServiceAddress;
use crate::strategy::StrategyKind;

const PERIOD: Duration = Duration::from_secs(60);

#[test]
fn the_worked_example_gives_weights_of_40_and_60() {
    let mut node = Node::hosting(&[("f", 10.0)]);
    node.hear("b", r#"{"a":{"f":10}}"#);
    node.hear("c", r#"{"a":{"f":15}}"#);
    node.round(&[("f", 3000)]);
    assert_eq!(node.weights("f"), [40, 60]);
    assert_eq!(node.policy().functions[&name("f")].routes[&id("c")].weight, 0.6);
}

#[test]
fn weights_are_truncated_and_small_shares_vanish() {
    let mut node = Node::hosting(&[("f", 10.0)]);
    for peer in ["b", "c", "d"] {
        node.hear(peer, r#"{"a":{"f":10}}"#);
    }
    node.round(&[("f", 3000)]);
    assert_eq!(node.weights("f"), [33, 33, 33]);
    node.hear("b", r#"{"a":{"f":1}}"#);
    node.hear("c", r#"{"a":{"f":120}}"#);
    node.hear("d", r#"{"a":{"f":0}}"#);
    node.round(&[("f", 3000)]);
    assert_eq!(node.weights("f"), [0, 99, 0]);
    let routes = &node.policy().functions[&name("f")].routes;
    assert_eq!(routes.keys().collect::<Vec<_>>(), [&id("c")]);
    assert_eq!(
        routes[&id("c")],
        Route {
            weight: 1.0,
            cap_rps: f64::INFINITY
        }
    );
}

#[test]
fn offers_of_nothing_give_no_route() {
    let mut node = Node::hosting(&[("f", 10.0)]);
    node.hear("b", r#"{"a":{"f":0}}"#);
    node.round(&[("f", 3000)]);
    assert!(node.policy().functions[&name("f")].routes.is_empty());
}

#[test]
fn the_margin_is_divided_in_whole_numbers() {
    let mut node = Node::hosting(&[("f", 20.0)]);
    for peer in ["b", "c", "d"] {
        node.hear(peer, r#"{"a":{"f":0}}"#);
    }
    // 10.5 req/s count as 10: a margin of 10 among three.
    let sent = node.round(&[("f", 630)]);
    assert_eq!(
        node.policy().functions[&name("f")]
            .admit
            .values()
            .collect::<Vec<_>>(),
        [&3.0; 3]
    );
    assert!(
        sent.contains(r#""FuncLimits":{"b":{"f":3},"c":{"f":3},"d":{"f":3}}"#),
        "{sent}"
    );
}

#[test]
fn a_margin_below_the_number_of_peers_offers_nothing() {
    let mut node = Node::hosting(&[("f", 2.0)]);
    for peer in ["b", "c", "d"] {
        node.hear(peer, r#"{"a":{"f":0}}"#);
    }
    node.round(&[]);
    assert!(node.policy().functions[&name("f")].admit.is_empty());
}

#[test]
fn overload_begins_at_the_capacity() {
    let mut node = Node::hosting(&[("f", 10.0)]);
    node.hear("b", r#"{"a":{"f":5}}"#);
    node.round(&[("f", 599)]);
    assert_eq!(node.weights("f"), [0]);
    assert_eq!(node.policy().functions[&name("f")].admit[&id("b")], 1.0);
    node.hear("b", r#"{"a":{"f":5}}"#);
    node.round(&[("f", 600)]);
    assert_eq!(node.weights("f"), [100]);
    assert!(node.policy().functions[&name("f")].admit.is_empty());
}

#[test]
fn without_a_request_there_is_no_overload_even_at_capacity_zero() {
    let mut node = Node::hosting(&[("f", 0.0)]);
    node.hear("b", r#"{"a":{"f":5}}"#);
    node.round(&[]);
    assert_eq!(node.weights("f"), [0]);
    node.hear("b", r#"{"a":{"f":5}}"#);
    node.round(&[("f", 1)]);
    assert_eq!(node.weights("f"), [100]);
}

#[test]
fn own_functions_are_listed_for_every_connected_peer() {
    let mut node = Node::hosting(&[("f", 20.0), ("g", 5.0)]);
    node.local.connected.insert(id("z"), None);
    node.hear("b", r#"{"a":{"f":0,"h":7}}"#);
    let sent = node.round(&[]);
    assert!(
        sent.contains(r#""FuncLimits":{"b":{"f":20,"g":0},"z":{"f":0,"g":0}}"#),
        "{sent}"
    );
}

#[test]
fn functions_of_peers_are_known_but_not_forwarded() {
    let mut node = Node::hosting(&[]);
    node.hear("b", r#"{"a":{"h":7}}"#);
    node.round(&[("h", 100)]);
    assert_eq!(node.policy().functions[&name("h")], FunctionPolicy::default());
}

#[test]
fn an_entry_expires_after_a_period_and_a_fifth() {
    let mut node = Node::hosting(&[("f", 10.0)]);
    node.hear("b", r#"{"a":{"f":5}}"#);
    node.now += PERIOD * 6 / 5;
    node.recalc.expire(&node.local, node.now);
    assert_eq!(node.recalc.entries.len(), 1);
    node.now += Duration::from_nanos(1);
    node.recalc.expire(&node.local, node.now);
    assert_eq!(node.recalc.entries.len(), 0);
}

#[test]
fn steps_are_where_the_go_agents_have_them() {
    let mut node = Node::hosting(&[("f", 10.0)]);
    // Four seconds past a multiple of the period.
    let clock = PERIOD * 30_000_000 + Duration::from_secs(4);
    node.recalc.handle_clock(&node.local, node.now, clock);
    let until = |at: Instant| at - node.now;
    assert_eq!(until(node.recalc.next_step_1), Duration::from_secs(56));
    assert_eq!(until(node.recalc.next_step_2), Duration::from_secs(26));
}

#[test]
fn a_clock_that_is_a_little_off_moves_no_step() {
    let mut node = Node::hosting(&[("f", 10.0)]);
    let [first, second] = [node.recalc.next_step_1, node.recalc.next_step_2];
    // The period began with a multiple of it, but for two seconds more or less.
    for clock in [
        PERIOD * 7 + Duration::from_secs(2),
        PERIOD * 7 - Duration::from_secs(2),
    ] {
        node.recalc.handle_clock(&node.local, node.now, clock);
        assert_eq!(
            [node.recalc.next_step_1, node.recalc.next_step_2],
            [first, second]
        );
    }
}

#[test]
fn a_message_that_names_others_is_ignored() {
    let mut node = Node::hosting(&[("f", 10.0)]);
    assert_eq!(
        node.try_hear("b", r#"{"c":{"f":5}}"#),
        Err(Rejection::NotAddressed)
    );
    assert!(node.recalc.entries.is_empty());
}

/// Node `a` with a period of a minute.
struct Node {
    recalc: Recalc,
    local: Local,
    now: Instant,
}

impl Node {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    fn hosting(functions: &[(&str, f64)]) -> Self {
        let settings = Settings {
            node: id("a"),
            incarnation: 1,
            service: ServiceAddress::new([10, 0, 0, 1].into(), 80),
            period: PERIOD,
            strategy: StrategyKind::Recalc,
            token_rotation: Duration::from_secs(600),
            tokenless: Tokenless::All,
            neighbourhood: Neighbourhood::default(),
            shadow: None,
            default_capacity_rps: 10.0,
            node_margin: MarginSettings::default(),
        };
        let spec = |&(name, capacity_rps): &(&str, f64)| (self::name(name), FunctionSpec { capacity_rps });
        let functions = functions.iter().map(spec).collect();
        let now = Instant::now();
        let recalc = Recalc::new(&settings, now);
        Self {
            recalc,
            local: Local {
                settings,
                functions,
                connected: BTreeMap::new(),
                admitted: Scope::default(),
                open: BTreeSet::new(),
            },
            now,
        }
    }

    fn hear(&mut self, from: &str, limits: &str) {
        self.local.connected.insert(id(from), None);
        self.try_hear(from, limits).unwrap();
    }

    fn try_hear(&mut self, from: &str, limits: &str) -> Result<(), Rejection> {
        let body = format!(
            r#"{{"MsgType":"nodeinfo","HAProxyHost":"10.0.0.2","HAProxyPort":80,"FuncLimits":{limits}}}"#
        );
        self.recalc
            .handle_message(&self.local, self.now, &id(from), body.as_bytes())
    }

    /// Both steps of a period in which so many requests were counted; returns what was published.
    fn round(&mut self, counts: &[(&str, u64)]) -> String {
        let count = |&(name, user): &(&str, u64)| {
            (
                self::name(name),
                FunctionCounters {
                    user,
                    ..FunctionCounters::default()
                },
            )
        };
        let functions = counts.iter().map(count).collect();
        self.recalc.handle_counters(&Counters {
            elapsed: PERIOD,
            functions,
        });
        self.recalc.step_1(&self.local, self.now);
        self.recalc.step_2(&self.local, self.now);
        String::from_utf8(self.recalc.poll_publish().unwrap()).unwrap()
    }

    fn policy(&self) -> &Policy {
        &self.recalc.applied
    }

    fn weights(&self, function: &str) -> Vec<u64> {
        let entries = self.recalc.entries.values();
        entries
            .filter_map(|entry| entry.functions.get(&name(function)))
            .map(|limits| limits.weight)
            .collect()
    }
}

fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn name(text: &str) -> FunctionName {
    FunctionName::new(text).unwrap()
}
