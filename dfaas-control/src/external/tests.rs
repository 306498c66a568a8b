use serde_json::{Value, json};

use super::*;
use crate::function_spec::FunctionSpec;
use crate::neighbourhood::Neighbourhood;
use crate::node_usage::MarginSettings;
use crate::pairing::Tokenless;
use crate::service_address::ServiceAddress;
use crate::settings::Settings;
use crate::strategy::StrategyKind;

const PERIOD: Duration = Duration::from_secs(1);

#[test]
fn the_service_is_told_what_the_node_sees() {
    let mut node = Node::new();
    node.hear("b", 1, 20.0);
    let question = node.round(&[("f", 50)]);
    assert_eq!(question["functions"]["f"]["demand_rps"], 50.0);
    assert_eq!(question["functions"]["f"]["capacity_rps"], 10.0);
    assert_eq!(question["peers"]["b"]["functions"]["f"]["capacity_rps"], 20.0);
    assert_eq!(
        (&question["node"], &question["sequence"]),
        (&json!("a"), &json!(1))
    );
}

#[test]
fn weights_and_limits_come_back() {
    let mut node = Node::new();
    node.hear("b", 1, 20.0);
    node.round(&[]);
    let answer = json!({"functions": {"f": {"local_rps": 0, "here": 3, "admit": {"b": 5},
        "routes": {"b": {"weight": 1, "cap_rps": 7}, "gone": {"weight": 4}}}}});
    let policy = node.answer(&answer.to_string());
    let f = &policy.functions[&name("f")];
    let route = Route {
        weight: 0.25,
        cap_rps: 7.0,
    };
    assert_eq!(
        (f.local_rps, f.here),
        (0.0, 0.75),
        "who is not there has no share"
    );
    assert_eq!(f.routes, BTreeMap::from([(id("b"), route)]));
    assert_eq!(f.admit, BTreeMap::from([(id("b"), 5.0)]));
}

#[test]
fn without_an_answer_a_node_serves_up_to_its_capacity() {
    let mut node = Node::new();
    node.strategy.handle_functions(&node.local, node.now);
    let policy = node.strategy.poll_policy(&node.local).unwrap();
    let f = &policy.functions[&name("f")];
    assert_eq!((f.local_rps, f.here, f.routes.len()), (10.0, 0.0, 0));
}

#[test]
fn the_last_good_answer_stays() {
    let mut node = Node::new();
    node.round(&[]);
    let before = node.answer(r#"{"functions":{"f":{"local_rps":4}}}"#);
    for bad in [
        "",
        "{}",
        r#"{"functions":{"f":{"local_rps":-1}}}"#,
        r#"{"functions":{"f":{"here":1e300}}}"#,
        r#"{"functions":{"f":{"locel_rps":1}}}"#,
        r#"{"functions":{"f":{"routes":{"b":{"weight":null}}}}}"#,
    ] {
        node.strategy.handle_answer(&node.local, Some(bad.as_bytes()));
        assert!(node.strategy.fault.is_some(), "{bad}");
        assert_eq!(node.strategy.poll_policy(&node.local), None, "{bad}");
    }
    node.strategy.handle_answer(&node.local, None);
    assert_eq!(node.strategy.fault.as_deref(), Some("there was none in time"));
    node.strategy.changed = true;
    assert_eq!(node.strategy.poll_policy(&node.local), Some(before));
}

#[test]
fn silent_and_late_peers_are_left_out() {
    let mut node = Node::new();
    node.hear("b", 2, 20.0);
    assert_eq!(node.tell("b", 1, 20.0), Err(Rejection::Outdated));
    node.now += PERIOD * 5 / 2;
    let question = node.round(&[]);
    assert_eq!(question["peers"], json!({}));
}

/// Node `a`, which serves ten of `f` a second.
struct Node {
    strategy: External,
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
            strategy: StrategyKind::External,
            neighbourhood: Neighbourhood::default(),
            shadow: None,
            token_rotation: Duration::from_secs(600),
            tokenless: Tokenless::All,
            default_capacity_rps: 10.0,
            node_margin: MarginSettings::default(),
        };
        let now = Instant::now();
        Self {
            strategy: External::new(now),
            local: Local {
                settings,
                functions: BTreeMap::from([(name("f"), FunctionSpec { capacity_rps: 10.0 })]),
                connected: BTreeMap::new(),
                admitted: Scope::default(),
                open: BTreeSet::new(),
            },
            now,
        }
    }

    fn tell(&mut self, from: &str, sequence: u64, capacity: f64) -> Result<(), Rejection> {
        let body = format!(
            r#"{{"MsgType":"nodestateExternal","Incarnation":1,"Sequence":{sequence},"HAProxyHost":"10.0.0.2",
                "HAProxyPort":80,"Period":1,"Functions":{{"f":{{"Capacity":{capacity},"Demand":0}}}}}}"#
        );
        self.strategy
            .handle_message(&self.local, self.now, &id(from), body.as_bytes())
    }

    fn hear(&mut self, from: &str, sequence: u64, capacity: f64) {
        self.tell(from, sequence, capacity).unwrap();
    }

    /// A period with so many requests: what the service is told.
    fn round(&mut self, counts: &[(&str, u64)]) -> Value {
        let counted = |user| FunctionCounters {
            user,
            ..FunctionCounters::default()
        };
        self.strategy.handle_counters(&Counters {
            elapsed: PERIOD,
            functions: counts
                .iter()
                .map(|&(text, user)| (name(text), counted(user)))
                .collect(),
        });
        self.strategy.handle_timeout(&self.local, self.now);
        serde_json::from_slice(&self.strategy.poll_question().unwrap()).unwrap()
    }

    fn answer(&mut self, body: &str) -> Policy {
        self.strategy.handle_answer(&self.local, Some(body.as_bytes()));
        self.strategy.poll_policy(&self.local).unwrap()
    }
}

fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn name(text: &str) -> FunctionName {
    FunctionName::new(text).unwrap()
}
