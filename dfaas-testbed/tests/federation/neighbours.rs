//! Who sends the excess only to some, and knows all.

use std::{collections::BTreeSet, fs, time::Duration};

use dfaas_testbed::{
    Federation, LateLink, Load, Node, NodeSpec, Running, Tally, figlet, patience, wait_until,
};

use crate::kit::{is_on_haproxy, run_ours, turn};

const FORMED: Duration = Duration::from_secs(120);
const SETTLED: Duration = Duration::from_secs(2);
/// How long it is looked at afterwards.
const SECONDS: usize = 5;
/// More than the first two can serve, and less than all.
const RATE_RPS: u32 = 50;

/// How late everything is on the link of a far node, each way.
const FAR: Duration = Duration::from_millis(200);
/// How long the way to a neighbour and back may take: more than it does on a busy machine.
const WITHIN: &str = "within:200ms";
/// Who has come nearer is noticed with the next answer, who has gone away when the last six have been late.
const FOLLOWED: Duration = Duration::from_secs(30);
/// A node that a busy machine keeps from speaking is missed after three of these.
const PERIOD: Duration = Duration::from_secs(2);
/// Twice what the first of them serves.
const BUSY_RPS: u32 = 20;

#[test]
fn in_a_chain_the_excess_goes_to_the_next_only() {
    let _turn = turn();
    let federation = chain();
    let [first, .., last] = &federation.nodes[..] else {
        panic!("three nodes");
    };
    let mut load = Load::new(first.service(), "figlet", RATE_RPS);
    load.at_most = patience(SETTLED) + Duration::from_secs(SECONDS as u64);
    let samples = load.start(&federation.client).unwrap().finish().unwrap();
    let tally = Tally::of("node1", &samples);
    let told = || format!("{tally:#?}\n{}", federation.logs());
    let from = patience(SETTLED).as_secs() as usize;
    let [own, next] = ["node1", "node2"].map(|name| tally.rate_of(name, from..from + SECONDS));
    println!("node 1 served {own:.1}/s, node 2 {next:.1}/s, node 3 nothing");
    assert!((9.0..=11.0).contains(&own), "{own} {}", told());
    assert!((18.0..=21.0).contains(&next), "{next} {}", told());
    assert_eq!(tally.served_by.get("node3"), None, "{}", told());
    assert_eq!(tally.lost(), 0, "{}", told());
    // The last one is a member, and known for what it has.
    let status = first.status().unwrap();
    let peer = &status.0["control"]["peers"][last.status().unwrap().node()];
    assert_eq!(
        (&peer["connected"], &peer["neighbour"]),
        (&true.into(), &false.into())
    );
    assert_eq!(peer["functions"]["figlet"]["capacity_rps"], 30.0);
    let (code, text) = run_ours(first.namespace(), "dfaas-agent", &["explain", "figlet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("this node sends to its neighbours only, which are 12D3"),
        "{text}"
    );
    federation.stop().unwrap();
}

#[test]
fn who_is_within_a_time_is_a_neighbour_for_as_long() {
    let _turn = turn();
    let mut far = Distant::start(WITHIN);
    far.check_excess_goes_to(&[2]);
    far.links[1].set_delay(Duration::ZERO);
    far.check_excess_goes_to(&[2, 3]);
    far.links[1].set_delay(FAR);
    far.check_excess_goes_to(&[2]);
    far.end();
}

#[test]
fn the_nearest_is_the_neighbour_whoever_it_is() {
    let _turn = turn();
    let mut far = Distant::start("nearest:1");
    far.check_excess_goes_to(&[2]);
    far.links[0].set_delay(FAR);
    far.links[1].set_delay(Duration::ZERO);
    far.check_excess_goes_to(&[3]);
    far.links[0].set_delay(Duration::ZERO);
    far.links[1].set_delay(FAR);
    far.check_excess_goes_to(&[2]);
    far.end();
}

/// Three nodes, of which the first is asked for more than it can serve and chooses its neighbours by their distance.
struct Distant {
    federation: Federation,
    /// Of nodes 2 and 3; the latter is far at first.
    links: [LateLink; 2],
    load: Running,
    tally: Tally,
}

impl Distant {
    fn start(neighbours: &str) -> Self {
        // Peers have room for what a busy machine's load generator sends at once.
        let mut specs = [10, 1_000, 1_000].map(|rate| NodeSpec {
            period: PERIOD,
            ..NodeSpec::new(vec![figlet(rate)])
        });
        specs[0].agent_arguments = vec!["--neighbours".to_owned(), neighbours.to_owned()];
        let mut federation = Federation::unformed(&specs).unwrap();
        let links = [2, 3].map(|number| federation.network.stretch(number).unwrap());
        links[1].set_delay(FAR);
        federation.start_agents().unwrap();
        let knows_all = |node: &Node| {
            node.status()
                .is_ok_and(|status| status.peers_with_functions() == 2)
        };
        let is_formed = || federation.nodes.iter().all(knows_all) && receivers(&federation) == [2].into();
        wait_until("routes to the near node", FORMED, is_formed)
            .unwrap_or_else(|error| panic!("{error:#}{}", federation.logs()));
        let load = Load::new(federation.nodes[0].service(), "figlet", BUSY_RPS);
        let load = load.start(&federation.client).unwrap();
        Self {
            federation,
            links,
            load,
            tally: Tally::new("node1"),
        }
    }

    /// Waits until the first node sends to these only, and looks whether they get something and others nothing.
    #[track_caller]
    fn check_excess_goes_to(&mut self, want: &[u8]) {
        let want: BTreeSet<u8> = want.iter().copied().collect();
        let what = format!("the excess goes to {want:?}");
        let followed = wait_until(&what, FOLLOWED, || receivers(&self.federation) == want)
            .unwrap_or_else(|error| panic!("{error:#}{}", self.federation.logs()));
        println!("{what} after {followed:.1?}");
        self.tally.add(&self.load.samples());
        let from = self.tally.seconds.len() + patience(2 * PERIOD).as_secs() as usize;
        let is_seen = || {
            self.tally.add(&self.load.samples());
            self.tally.seconds.len() > from + SECONDS
        };
        wait_until("requests for some seconds", FORMED, is_seen).unwrap();
        let seconds = &self.tally.seconds[from..from + SECONDS];
        let served: BTreeSet<&str> = seconds
            .iter()
            .flat_map(|second| second.served_by.keys().map(String::as_str))
            .collect();
        let names: Vec<String> = [1]
            .iter()
            .chain(&want)
            .map(|number| format!("node{number}"))
            .collect();
        let told = || format!("{seconds:#?}{}", self.federation.logs());
        assert_eq!(served, names.iter().map(String::as_str).collect(), "{}", told());
        // Who gets nothing is a member as before.
        let [first, others @ ..] = &self.federation.nodes[..] else {
            panic!("three nodes");
        };
        for other in others {
            let status = first.status().unwrap();
            let peer = &status.0["control"]["peers"][other.status().unwrap().node()];
            let is_wanted = want.contains(&other.number());
            assert_eq!(
                (&peer["connected"], &peer["neighbour"]),
                (&true.into(), &is_wanted.into()),
                "{}: {peer}",
                other.name()
            );
        }
    }

    fn end(mut self) {
        self.tally.add(&self.load.stop().unwrap());
        let told = || format!("{:#?}{}", self.tally, self.federation.logs());
        assert_eq!(self.tally.lost(), 0, "{}", told());
        // Only the kernel takes back what a peer refuses that knows already that it is no neighbour.
        if !is_on_haproxy() {
            assert_eq!(self.tally.failed_after(Duration::ZERO), 0, "{}", told());
        }
        println!("{} requests, none lost", self.tally.sent);
        self.federation.stop().unwrap();
    }
}

/// The numbers of those to whom the first node sends its excess.
fn receivers(federation: &Federation) -> BTreeSet<u8> {
    let status = |node: &Node| node.status().unwrap_or_default();
    let weights = status(&federation.nodes[0]).weights("figlet");
    let nodes = federation.nodes.iter();
    let chosen = nodes.filter(|node| {
        weights
            .get(status(node).node())
            .is_some_and(|weight| *weight > 0.0)
    });
    chosen.map(Node::number).collect()
}

/// Three nodes for 10, 20 and 30 requests a second, of which the first and the last are no neighbours.
fn chain() -> Federation {
    let specs = [10, 20, 30].map(|rate| NodeSpec {
        agent_arguments: vec!["--config".to_owned(), "/run/neighbours.toml".to_owned()],
        ..NodeSpec::new(vec![figlet(rate)])
    });
    let mut federation = Federation::unformed(&specs).unwrap();
    let ids: Vec<String> = federation.nodes.iter().map(id).collect();
    let neighbours = [&ids[1..2], &[ids[0].clone(), ids[2].clone()], &ids[1..2]];
    for (node, neighbours) in federation.nodes.iter().zip(neighbours) {
        let text = format!("neighbours = {neighbours:?}\n");
        fs::write(node.namespace().path("/run/neighbours.toml"), text).unwrap();
    }
    federation.start_agents().unwrap();
    let has_routes = |(node, count): (&Node, usize)| {
        let status = node.status().unwrap_or_default();
        status.peers_with_functions() == 2 && status.weights("figlet").len() == count
    };
    let is_formed = || federation.nodes.iter().zip([1, 2, 1]).all(has_routes);
    wait_until("a chain", FORMED, is_formed).unwrap_or_else(|error| panic!("{error:#}{}", federation.logs()));
    federation
}

/// Makes a node's identity before its agent starts.
fn id(node: &Node) -> String {
    let create = ["id", "--create", "--state-dir=/run/agent"];
    let (code, text) = run_ours(node.namespace(), "dfaas-agent", &create);
    assert_eq!(code, Some(0), "{text}");
    text.lines().last().unwrap().to_owned()
}
