use serde_json::Value;

use super::*;
use crate::counters::FunctionCounters;
use crate::function_spec::FunctionSpec;
use crate::neighbourhood::Neighbourhood;
use crate::node_usage::{ForecasterKind, LoadGroup, MarginSettings};
use crate::pairing::Tokenless;
use crate::service_address::ServiceAddress;
use crate::strategy::StrategyKind;

const PERIOD: Duration = Duration::from_secs(1);
/// A hundred requests of `f` a second need 150 percent of a processor, and 120 are allowed.
const RATE_RPS: u64 = 100;

#[test]
fn an_overloaded_node_sends_on_in_steps_of_a_percent_until_it_is_not() {
    let mut node = Node::new();
    node.hear("b", 100.0);
    let (policy, sent) = node.round(RATE_RPS);
    // 0.99^23 of 100 requests are the first below 80, which need 120 percent: 79.4 here, 20.6 there.
    let f = &policy.functions[&name("f")];
    assert_eq!((f.here, f.routes[&id("b")].weight), (0.79, 0.21));
    assert_eq!((f.local_rps, f.admit[&id("b")]), (0.0, f64::INFINITY));
    // Whoever is overloaded has no margin, and tells no load.
    assert_eq!(sent[1]["Margin"], 0.0);
    assert_eq!(sent[1]["Load"]["RateHighUsage"], 0.0);
}

#[test]
fn a_neighbour_gets_no_more_than_its_margin() {
    let mut node = Node::new();
    // A request per second is a rise of 1.25 percent of one of three metrics, so 12 are 5 percent of all.
    node.hear("b", 5.0);
    let (policy, _) = node.round(RATE_RPS);
    let f = &policy.functions[&name("f")];
    // 100 * (1 - 0.99^12) = 11.4; the thirteenth step would bring it to 12.2.
    assert_eq!((f.here, f.routes[&id("b")].weight), (0.89, 0.11));
}

#[test]
fn neighbours_take_turns_and_those_without_margin_get_nothing() {
    let mut node = Node::new();
    node.hear("b", 100.0);
    node.hear("c", 0.0);
    node.hear("d", 100.0);
    let (policy, _) = node.round(RATE_RPS);
    let f = &policy.functions[&name("f")];
    let routes: Vec<&NodeId> = f.routes.keys().collect();
    assert_eq!(routes, [&id("b"), &id("d")]);
    // b has the first of 23 steps and the last.
    let weights = [f.here, f.routes[&id("b")].weight, f.routes[&id("d")].weight];
    let total: f64 = weights.iter().sum();
    assert!(
        (total - 1.0).abs() < 1e-9 && weights[1] >= weights[2],
        "{weights:?}"
    );
}

#[test]
fn the_margin_is_what_is_free_divided_among_neighbours() {
    let mut node = Node::new();
    node.hear("b", 0.0);
    node.hear("c", 0.0);
    let (policy, sent) = node.round(40);
    // 60 percent of 120 are half of it: a sixth of three metrics, and two neighbours share the rest.
    let margin = sent[1]["Margin"].as_f64().unwrap();
    assert!((margin - (100.0 - 50.0 / 3.0) / 2.0).abs() < 1e-9, "{margin}");
    assert_eq!(sent[1]["Load"]["RateHighUsage"], 40.0);
    assert_eq!(policy.functions[&name("f")].here, 1.0);
}

#[test]
fn it_tells_of_itself_as_the_go_agents_do() {
    let mut node = Node::new();
    let (_, sent) = node.round(0);
    let want = serde_json::json!({"MsgType": "nodeinfoNMS", "HAProxyHost": "10.0.0.1", "HAProxyPort": 80, "NodeType": 1,
        "MaxValues": {"cpu_usage_node": 120.0, "ram_usage_node": 5.5e9, "power_usage_node": 2.1e6}, "Functions": ["f"]});
    assert_eq!(sent, [want], "without a neighbour there is no margin to tell");
}

#[test]
fn the_margin_comes_a_while_behind_what_it_belongs_to() {
    let mut node = Node::new();
    node.hear("b", 0.0);
    node.begin_round(40);
    assert_eq!(node.told(), ["nodeinfoNMS"]);
    let due = node.strategy.poll_timeout();
    assert_eq!(due, node.now + PERIOD / 4);
    node.strategy
        .handle_timeout(&node.local, due - Duration::from_millis(1));
    assert_eq!(node.told(), [""; 0]);
    node.strategy.handle_timeout(&node.local, due);
    assert_eq!(node.told(), ["nodemargininfoNMS"]);
    assert_eq!(node.strategy.poll_timeout(), node.now + PERIOD);
}

#[test]
fn a_peer_that_did_not_hear_the_info_hears_no_margin() {
    let mut node = Node::new();
    node.hear("b", 0.0);
    node.local.connected.insert(id("b"), None);
    node.begin_round(40);
    node.told();
    node.local.connected.insert(id("c"), None);
    let due = node.strategy.poll_timeout();
    node.strategy.handle_timeout(&node.local, due);
    assert_eq!(node.told(), [""; 0]);
    // It hears of the next round from its beginning.
    node.now += PERIOD;
    node.hear("b", 0.0);
    node.begin_round(40);
    let due = node.strategy.poll_timeout();
    node.strategy.handle_timeout(&node.local, due);
    assert_eq!(node.told(), ["nodeinfoNMS", "nodemargininfoNMS"]);
}

#[test]
fn a_margin_of_an_unknown_node_is_dropped() {
    let mut node = Node::new();
    let margin = r#"{"MsgType":"nodemargininfoNMS","Margin":12.5,"Load":{"RateHighUsage":0,"RateLowUsage":3,"RateMediumUsage":0}}"#;
    assert_eq!(node.tell("b", margin), Err(Rejection::NotAddressed));
    node.hear("b", 0.0);
    assert_eq!(node.tell("b", margin), Ok(()));
    assert_eq!(node.strategy.margins[&id("b")].load.low, 3.0);
    for absurd in ["-1", "101", "1e999"] {
        assert!(node.tell("b", &margin.replace("12.5", absurd)).is_err());
    }
}

#[test]
fn what_the_service_does_not_answer_leaves_the_last_decision() {
    let mut node = Node::new();
    node.hear("b", 100.0);
    let (before, _) = node.round(RATE_RPS);
    node.now += PERIOD;
    node.hear("b", 100.0);
    node.count(10);
    node.strategy.handle_timeout(&node.local, node.now);
    assert!(node.strategy.poll_question().is_some());
    assert_eq!(node.strategy.poll_question(), None, "one question at a time");
    node.strategy.handle_answer(&node.local, None);
    assert_eq!(node.strategy.poll_question(), None);
    node.strategy.changed = true;
    assert_eq!(node.strategy.poll_policy(&node.local), Some(before));
}

/// Node `a`, with a service that tells 1.5 percent of a processor for each request of the group `HIGH_USAGE`.
struct Node {
    strategy: NodeMargin,
    local: Local,
    now: Instant,
}

impl Node {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    fn new() -> Self {
        let settings = Settings {
            node: id("a"),
            incarnation: 1,
            service: ServiceAddress::new([10, 0, 0, 1].into(), 80),
            period: PERIOD,
            strategy: StrategyKind::NodeMargin,
            neighbourhood: Neighbourhood::default(),
            shadow: None,
            token_rotation: Duration::from_secs(600),
            tokenless: Tokenless::All,
            default_capacity_rps: 10.0,
            node_margin: MarginSettings {
                forecaster: ForecasterKind::Service,
                groups: BTreeMap::from([(name("f"), LoadGroup::High)]),
                ..MarginSettings::default()
            },
        };
        let now = Instant::now();
        Self {
            strategy: NodeMargin::new(&settings, now),
            local: Local {
                settings,
                functions: BTreeMap::from([(name("f"), FunctionSpec { capacity_rps: 10.0 })]),
                connected: BTreeMap::new(),
                admitted: Scope::default(),
                open: std::collections::BTreeSet::new(),
            },
            now,
        }
    }

    fn tell(&mut self, from: &str, body: &str) -> Result<(), Rejection> {
        self.strategy
            .handle_message(&self.local, self.now, &id(from), body.as_bytes())
    }

    fn hear(&mut self, from: &str, margin: f64) {
        let info = r#"{"MsgType":"nodeinfoNMS","HAProxyHost":"10.0.0.2","HAProxyPort":80,"NodeType":1,"Functions":["f"],
            "MaxValues":{"cpu_usage_node":120,"ram_usage_node":5.5e9,"power_usage_node":2.1e6}}"#;
        self.tell(from, info).unwrap();
        let load = r#"{"RateHighUsage":0,"RateLowUsage":0,"RateMediumUsage":0}"#;
        let margin = format!(r#"{{"MsgType":"nodemargininfoNMS","Margin":{margin},"Load":{load}}}"#);
        self.tell(from, &margin).unwrap();
    }

    fn count(&mut self, user: u64) {
        let counted = FunctionCounters {
            user,
            ..FunctionCounters::default()
        };
        self.strategy.handle_counters(&Counters {
            elapsed: PERIOD,
            functions: BTreeMap::from([(name("f"), counted)]),
        });
    }

    /// A period in which so many requests came: what follows, and what was told.
    fn round(&mut self, user: u64) -> (Policy, Vec<Value>) {
        self.begin_round(user);
        let due = self.strategy.poll_timeout();
        if due < self.now + PERIOD {
            self.strategy.handle_timeout(&self.local, due);
        }
        let mut sent = Vec::new();
        while let Some(body) = self.strategy.poll_publish() {
            sent.push(serde_json::from_slice(&body).unwrap());
        }
        (self.strategy.poll_policy(&self.local).unwrap(), sent)
    }

    /// The kinds of what is told now.
    fn told(&mut self) -> Vec<String> {
        let kind = |body: Vec<u8>| {
            let message: Value = serde_json::from_slice(&body).unwrap();
            message["MsgType"].as_str().unwrap().to_owned()
        };
        std::iter::from_fn(|| self.strategy.poll_publish())
            .map(kind)
            .collect()
    }

    fn begin_round(&mut self, user: u64) {
        self.count(user);
        self.strategy.handle_timeout(&self.local, self.now);
        while let Some(question) = self.strategy.poll_question() {
            let question: Value = serde_json::from_slice(&question).unwrap();
            let cpu = 1.5 * question["rate_group_HIGH_USAGE"].as_f64().unwrap();
            let answer = format!(r#"[{{"cpu_usage_node":{cpu},"ram_usage_node":0,"power_usage_node":0}}]"#);
            self.strategy.handle_answer(&self.local, Some(answer.as_bytes()));
        }
    }
}

fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn name(text: &str) -> FunctionName {
    FunctionName::new(text).unwrap()
}
