//! A node of ours among Go agents: what those said and when, as they were seen to, and what a node must make of it.
//!
//! The agents themselves are not in the project. Messages, times and outcomes are data, `go_agents.json`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use dfaas_control::{
    Control, Counters, FunctionCounters, FunctionName, FunctionSpec, Input, MarginSettings, Neighbourhood,
    NodeId, Output, Policy, Rejection, Settings, Token, Tokenless,
};
use serde::Deserialize;
use serde_json::Value;

use super::*;

const STEP_MS: u64 = 50;
/// A moment of 2026 that is a multiple of all periods.
const MIDNIGHT: Duration = Duration::from_secs(1_780_272_000);
/// How long behind its moment a message of ours may be told.
const LATE_MS: u64 = 100;

/// What happens around a node, all times since a multiple of the period.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    /// What it is, and where it stands.
    says: String,
    strategy: String,
    period_ms: u64,
    starts_past_ms: u64,
    capacity_rps: f64,
    users_rps: u64,
    events: Vec<Event>,
    decided: Vec<Decided>,
    told: Vec<Told>,
    /// What is not listened to, by why, and how often.
    rejected: BTreeMap<Rejection, u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    at_ms: u64,
    connected: Option<String>,
    lost: Option<String>,
    from: Option<String>,
    body: Option<Value>,
}

/// What must hold at a moment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    at_ms: u64,
    here: Option<f64>,
    routes: Option<BTreeMap<String, f64>>,
    admit: Option<BTreeMap<String, f64>>,
}

/// What the Go agents must have heard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    at_ms: u64,
    limits: Value,
}

#[test]
fn go_agents_are_answered_as_by_one_of_their_own() {
    let replays: Vec<Replay> = serde_json::from_str(include_str!("go_agents.json")).unwrap();
    assert_eq!(replays.len(), 3);
    for replay in replays {
        println!("{}", replay.says);
        Node::start(&replay).play(&replay);
    }
}

struct Node {
    control: Control,
    start: Instant,
    starts_past_ms: u64,
    policy: Policy,
    told: Vec<(u64, Value)>,
}

impl Node {
    #[expect(
        clippy::disallowed_methods,
        reason = "the first moment of virtual time may be any"
    )]
    fn start(replay: &Replay) -> Self {
        let start = Instant::now();
        let settings = Settings {
            node: id("ours"),
            incarnation: 1,
            service: "10.0.0.9:80".parse().unwrap(),
            period: Duration::from_millis(replay.period_ms),
            strategy: replay.strategy.parse().unwrap(),
            shadow: None,
            neighbourhood: Neighbourhood::default(),
            token_rotation: Duration::from_secs(600),
            tokenless: Tokenless::All,
            default_capacity_rps: 100.0,
            node_margin: MarginSettings::default(),
        };
        let mut node = Self {
            control: Control::new(settings, start),
            start,
            starts_past_ms: replay.starts_past_ms,
            policy: Policy::default(),
            told: Vec::new(),
        };
        let since_1970 = MIDNIGHT + Duration::from_millis(replay.starts_past_ms);
        node.hear(replay.starts_past_ms, Input::Clock(since_1970));
        let spec = FunctionSpec {
            capacity_rps: replay.capacity_rps,
        };
        let functions = BTreeMap::from([(function(), spec)]);
        node.hear(replay.starts_past_ms, Input::Functions(functions));
        node
    }

    fn play(mut self, replay: &Replay) {
        let end = replay.decided.iter().map(|decided| decided.at_ms).max().unwrap();
        for at_ms in (replay.starts_past_ms..=end).step_by(STEP_MS as usize) {
            self.wake(at_ms);
            let counted = FunctionCounters {
                user: replay.users_rps * at_ms / 1000 - replay.users_rps * (at_ms - STEP_MS) / 1000,
                ..FunctionCounters::default()
            };
            let counters = Counters {
                elapsed: Duration::from_millis(STEP_MS),
                functions: BTreeMap::from([(function(), counted)]),
            };
            self.hear(at_ms, Input::Counters(counters));
            let is_now = |moment: u64| (at_ms..at_ms + STEP_MS).contains(&moment);
            for event in replay.events.iter().filter(|event| is_now(event.at_ms)) {
                self.hear(at_ms, event.input());
            }
            for decided in replay.decided.iter().filter(|decided| is_now(decided.at_ms)) {
                self.check(decided);
            }
        }
        for told in &replay.told {
            self.check_told(told);
        }
        let status = self.control.status(self.at(end));
        assert_eq!(status.rejected, replay.rejected, "{}", replay.says);
    }

    fn at(&self, at_ms: u64) -> Instant {
        self.start + Duration::from_millis(at_ms - self.starts_past_ms)
    }

    fn wake(&mut self, at_ms: u64) {
        while let Some(due) = self.control.poll_timeout()
            && due <= self.at(at_ms)
        {
            self.control.handle_timeout(due);
            self.drain(at_ms);
        }
    }

    fn hear(&mut self, at_ms: u64, input: Input) {
        self.control.handle_input(self.at(at_ms), input);
        self.drain(at_ms);
    }

    /// Does what the shell of a node does.
    fn drain(&mut self, at_ms: u64) {
        while let Some(output) = self.control.poll_output() {
            let now = self.at(at_ms);
            match output {
                Output::Publish(body) => self.told.push((at_ms, serde_json::from_slice(&body).unwrap())),
                Output::Apply(policy) => {
                    self.policy = policy.as_ref().clone();
                    self.control.handle_input(now, Input::InForce);
                }
                Output::DrawToken { peer } => {
                    let token = Token::new([7; 16]);
                    self.control.handle_input(now, Input::TokenDrawn { peer, token });
                }
                Output::Probe { peer, service, .. } => {
                    let is_there = true;
                    let probed = Input::Probed {
                        peer,
                        service,
                        is_there,
                    };
                    self.control.handle_input(now, probed);
                }
                // The Go agents have no tokens, and nobody else is asked.
                Output::SendToken { .. } | Output::Ask { .. } => {}
            }
        }
    }

    #[track_caller]
    fn check(&self, decided: &Decided) {
        let found = self
            .policy
            .functions
            .get(&function())
            .cloned()
            .unwrap_or_default();
        if let Some(here) = decided.here {
            assert!((found.here - here).abs() < 1e-9, "{decided:?}: {found:?}");
        }
        if let Some(routes) = &decided.routes {
            let found: BTreeMap<String, f64> = found
                .routes
                .iter()
                .map(|(peer, route)| (peer.to_string(), route.weight))
                .collect();
            assert_eq!(&found, routes, "{decided:?}");
        }
        if let Some(admit) = &decided.admit {
            let found = found.admit.iter().map(|(peer, rate)| (peer.to_string(), *rate));
            assert_eq!(&found.collect::<BTreeMap<_, _>>(), admit, "{decided:?}");
        }
    }

    /// The Go agents take `FuncLimits` of the message that comes at the multiple of the period.
    #[track_caller]
    fn check_told(&self, told: &Told) {
        let mut found = self.told.iter().filter(|(at_ms, body)| {
            body["MsgType"] == "nodeinfoRecalc" && (told.at_ms..told.at_ms + LATE_MS).contains(at_ms)
        });
        let (_, body) = found
            .next()
            .unwrap_or_else(|| panic!("{told:?} is not in {:#?}", self.told));
        assert_eq!(body["FuncLimits"], told.limits);
        assert_eq!(
            (&body["HAProxyHost"], &body["HAProxyPort"]),
            (&"10.0.0.9".into(), &80.into())
        );
    }
}

impl Event {
    fn input(&self) -> Input {
        match (&self.connected, &self.lost, &self.from, &self.body) {
            (Some(peer), None, None, None) => Input::PeerUp {
                id: id(peer),
                rtt: Some(Duration::from_millis(1)),
            },
            (None, Some(peer), None, None) => Input::PeerDown { id: id(peer) },
            (None, None, Some(peer), Some(body)) => Input::Message {
                from: id(peer),
                body: body.to_string().into_bytes(),
            },
            _ => panic!("one thing at a time: {self:?}"),
        }
    }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn function() -> FunctionName {
    FunctionName::new("f").unwrap()
}
