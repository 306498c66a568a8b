//! From what stands in a file to what can be run.

use std::collections::BTreeMap;
use std::time::Duration;

use dfaas_control::FunctionName;

use super::demand::{Place, demands};
use super::file::{At, Event, File, Function, Link, Node, Service, Topology};
use super::mistake::Book;
use super::{Happening, NodeSpec, Scenario, ServiceTime, Station};
use crate::strategy::StrategyName;
use crate::topology::{Graph, Quality};

/// More nodes would not have numbers in the data plane. `dfaas-sim scale` goes beyond.
const NODES_MAX: usize = 1_000;
/// A week.
const SECONDS_MAX: f64 = 604_800.0;
/// The largest rate that nodes believe.
const RATE_RPS_MAX: f64 = 1e9;
const LATENCY_MS_DEFAULT: f64 = 1.0;
/// Of a function without a capacity, which serves nobody.
const SERVICE_MS_IDLE: f64 = 10.0;
/// The share of its servers that a function's capacity uses.
const UTILISATION: f64 = 0.8;
const QUEUE_MIN: f64 = 16.0;
const QUEUE_S: f64 = 2.0;

impl Book<'_> {
    /// A number between two, or the lesser one and a note.
    pub(super) fn number(&mut self, what: &str, at: &At<f64>, least: f64, most: f64) -> f64 {
        if (least..=most).contains(&at.value) {
            return at.value;
        }
        self.note(
            &at.span,
            format!("{what} is {}", at.value),
            format!("give a number from {least} to {most}"),
        );
        least
    }

    pub(super) fn rate(&mut self, what: &str, at: &At<f64>) -> f64 {
        self.number(&format!("{what} (requests per second)"), at, 0.0, RATE_RPS_MAX)
    }

    pub(super) fn time(&mut self, what: &str, at: &At<f64>) -> f64 {
        self.number(&format!("{what} (seconds)"), at, 0.0, SECONDS_MAX)
    }

    fn milliseconds(&mut self, what: &str, at: &At<f64>) -> f64 {
        self.number(&format!("{what} (milliseconds)"), at, 0.0, 3_600_000.0)
    }
}

pub(super) fn scenario(file: &File, book: &mut Book<'_>) -> Scenario {
    let seconds = book.number("duration_s", &file.duration_s, 1.0, SECONDS_MAX);
    let warmup_s = book.number("warmup_s", &file.warmup_s, 0.0, (seconds - 1.0).max(0.0));
    let strategy = file.strategy.value.parse().unwrap_or_else(|error| {
        book.note(&file.strategy.span, format!("{error}"), "give one of these");
        StrategyName::WaterFilling
    });
    let period_s = book.number("period_s", &file.period_s, 0.1, 3_600.0);
    let threshold = book.milliseconds("latency_threshold_ms", &file.latency_threshold_ms);
    let functions = functions(file, book);
    let nodes = nodes(file, &functions, book);
    let numbers: BTreeMap<&str, usize> = nodes.iter().map(|node| node.name.as_str()).zip(0..).collect();
    let quality = quality(file, book);
    let place = Place {
        nodes: &numbers,
        functions: &functions,
        seconds,
    };
    Scenario {
        name: file.name.clone(),
        description: file.description.clone(),
        seed: file.seed,
        seconds: seconds.ceil() as u32,
        warmup_s: warmup_s.ceil() as u32,
        strategy,
        period: Duration::from_secs_f64(period_s),
        latency_threshold: Duration::from_secs_f64(threshold / 1e3),
        graph: graph(file, &numbers, quality, book),
        quality,
        demands: demands(&file.demands, &place, book),
        events: events(&file.events, &numbers, book),
        functions,
        nodes,
    }
}

fn functions(file: &File, book: &mut Book<'_>) -> Vec<FunctionName> {
    let mut names = BTreeMap::new();
    for node in &file.nodes {
        for (name, function) in &node.value.functions {
            match FunctionName::new(name.as_str()) {
                Ok(name) => drop(names.insert(name, ())),
                Err(error) => book.note(
                    &function.span,
                    format!("{name:?} cannot be a function: {error}"),
                    "use letters, digits, - and _",
                ),
            }
        }
    }
    if names.is_empty() {
        book.note(
            &(0..0),
            "no node runs a function",
            "give a node [node.functions.NAME] with a capacity_rps",
        );
    }
    names.into_keys().collect()
}

fn nodes(file: &File, functions: &[FunctionName], book: &mut Book<'_>) -> Vec<NodeSpec> {
    let mut nodes: Vec<NodeSpec> = Vec::new();
    for node in &file.nodes {
        let count = node.value.count.as_ref().map_or(1, |count| count.value) as usize;
        if count == 0 || nodes.len() + count > NODES_MAX {
            let span = node.value.count.as_ref().map_or(&node.span, |count| &count.span);
            book.note(
                span,
                format!("{count} nodes more make {}", nodes.len() + count),
                format!("give 1 to {NODES_MAX} nodes in all; `dfaas-sim scale` runs more"),
            );
            continue;
        }
        let stations = stations(&node.value, functions, book);
        for number in 1..=count {
            let name = node.value.name.value.clone();
            let name = if count == 1 {
                name
            } else {
                format!("{name}{number}")
            };
            let is_taken = nodes.iter().any(|other| other.name == name);
            if is_taken || dfaas_control::NodeId::new(name.as_str()).is_err() || name.contains('*') {
                book.note(
                    &node.value.name.span,
                    format!("{name:?} cannot be a node's name, or is another one's"),
                    "give each node a name of its own, of visible ASCII characters without *",
                );
            }
            nodes.push(NodeSpec {
                name,
                starts: node.value.starts,
                functions: stations.clone(),
            });
        }
    }
    nodes
}

fn stations(node: &Node, functions: &[FunctionName], book: &mut Book<'_>) -> Vec<Option<Station>> {
    let mut station = |name: &FunctionName| {
        let function = node.functions.get(name.as_str())?;
        Some(station(&function.value, book))
    };
    functions.iter().map(&mut station).collect()
}

fn station(function: &Function, book: &mut Book<'_>) -> Station {
    let capacity_rps = book.rate("capacity_rps", &function.capacity_rps);
    let service = match &function.service {
        Some(service) => service_time(&service.value, book),
        None if capacity_rps > 0.0 => ServiceTime::Exponential(UTILISATION * 1e3 / capacity_rps),
        None => ServiceTime::Exponential(SERVICE_MS_IDLE),
    };
    // A little less, so that rounding does not make it one more.
    let needed = (capacity_rps * service.mean_ms() / 1e3 / UTILISATION - 1e-6).ceil();
    let servers = function.servers.as_ref().map_or(needed.max(1.0) as u32, |at| {
        if at.value == 0 {
            book.note(
                &at.span,
                "servers is 0",
                "give at least 1, or leave it out for as many as the capacity needs",
            );
        }
        at.value.max(1)
    });
    let queue = (capacity_rps * QUEUE_S).max(QUEUE_MIN) as u32;
    Station {
        capacity_rps,
        service,
        servers,
        queue: function.queue.as_ref().map_or(queue, |at| at.value),
    }
}

fn service_time(service: &Service, book: &mut Book<'_>) -> ServiceTime {
    match service {
        Service::Constant(mean) => ServiceTime::Constant(book.milliseconds("mean_ms", &mean.mean_ms)),
        Service::Exponential(mean) => ServiceTime::Exponential(book.milliseconds("mean_ms", &mean.mean_ms)),
        Service::Uniform(uniform) => {
            let min = book.milliseconds("min_ms", &uniform.min_ms);
            let max = book.milliseconds("max_ms", &uniform.max_ms);
            if max < min {
                book.note(
                    &uniform.max_ms.span,
                    format!("max_ms is {max}, less than min_ms"),
                    format!("give {min} or more"),
                );
            }
            ServiceTime::Uniform(min, max.max(min))
        }
        Service::Lognormal(lognormal) => ServiceTime::Lognormal(
            book.milliseconds("median_ms", &lognormal.median_ms),
            book.number("sigma", &lognormal.sigma, 0.0, 5.0),
        ),
    }
}

fn quality(file: &File, book: &mut Book<'_>) -> Quality {
    let usual = Quality {
        latency_ns: (LATENCY_MS_DEFAULT * 1e6) as u64,
        jitter_ns: 0,
        loss: 0.0,
    };
    let network = &file.network;
    of_link(
        usual,
        [
            network.latency_ms.as_ref(),
            network.jitter_ms.as_ref(),
            network.loss.as_ref(),
        ],
        book,
    )
}

fn of_link(
    usual: Quality,
    [latency_ms, jitter_ms, loss]: [Option<&At<f64>>; 3],
    book: &mut Book<'_>,
) -> Quality {
    let mut time = |what: &str, at: &At<f64>| (book.milliseconds(what, at) * 1e6) as u64;
    let latency_ns = latency_ms.map_or(usual.latency_ns, |at| time("latency_ms", at));
    let jitter_ns = jitter_ms.map_or(usual.jitter_ns, |at| time("jitter_ms", at));
    let loss = loss.map_or(usual.loss, |at| book.number("loss (a share)", at, 0.0, 0.9));
    Quality {
        latency_ns,
        jitter_ns,
        loss,
    }
}

fn graph(file: &File, numbers: &BTreeMap<&str, usize>, quality: Quality, book: &mut Book<'_>) -> Graph {
    let nodes = numbers.len();
    let mesh = At::from(Topology::Mesh);
    let topology = file.network.topology.as_ref().unwrap_or(&mesh);
    let mut graph = match &topology.value {
        Topology::Mesh => Graph::mesh(nodes),
        Topology::Line => Graph::line(nodes),
        Topology::Star => Graph::star(nodes),
        Topology::Ring => {
            if nodes < 3 {
                let what = format!("{nodes} nodes are no ring");
                book.note(
                    &topology.span,
                    what,
                    "give at least 3 nodes, or the topology \"line\"",
                );
            }
            Graph::ring(nodes)
        }
        Topology::Tree(tree) => {
            if tree.branching.value == 0 {
                let what = "a tree with 0 below each node has only its root";
                book.note(&tree.branching.span, what, "give a branching of at least 1");
            }
            Graph::tree(nodes, tree.branching.value as usize)
        }
        Topology::Random(random) => {
            let p = book.number("p (a probability)", &random.p, 0.0, 1.0);
            Graph::random(nodes, p, random.seed.unwrap_or(file.seed))
        }
        Topology::Listed(pairs) => {
            let mut graph = Graph::empty(nodes);
            for pair in pairs {
                if let Some([a, b]) = ends(pair, numbers, book) {
                    graph.link(a, b);
                }
            }
            if let Some(apart) = graph.apart() {
                let name = numbers.iter().find(|&(_, &number)| number == apart);
                let what = format!("no way leads to {}", name.map_or("a node", |(name, _)| name));
                book.note(
                    &topology.span,
                    what,
                    "list a link between it and a node that is reached",
                );
            }
            graph
        }
    };
    for link in &file.links {
        change_link(&mut graph, link, numbers, quality, book);
    }
    graph
}

fn change_link(
    graph: &mut Graph,
    link: &Link,
    numbers: &BTreeMap<&str, usize>,
    quality: Quality,
    book: &mut Book<'_>,
) {
    let own = [
        link.latency_ms.as_ref(),
        link.jitter_ms.as_ref(),
        link.loss.as_ref(),
    ];
    let quality = of_link(quality, own, book);
    if let Some([a, b]) = ends(&link.between, numbers, book)
        && !graph.set_quality(a, b, quality)
    {
        let [first, second] = &link.between.value;
        book.note(
            &link.between.span,
            format!("{first} and {second} have no link in this topology"),
            "name the ends of a link that there is",
        );
    }
}

fn ends(pair: &At<[String; 2]>, numbers: &BTreeMap<&str, usize>, book: &mut Book<'_>) -> Option<[usize; 2]> {
    let [a, b] = pair
        .value
        .each_ref()
        .map(|name| numbers.get(name.as_str()).copied());
    if a.is_none() || b.is_none() || a == b {
        let what = format!("{:?} are not two nodes", pair.value);
        book.note(&pair.span, what, format!("the nodes are {}", some(numbers)));
    }
    Some([a?, b?]).filter(|[a, b]| a != b)
}

/// The first names, of maybe many.
pub(super) fn some(numbers: &BTreeMap<&str, usize>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&str> = numbers.keys().take(SHOWN).copied().collect();
    let more = numbers.len().saturating_sub(SHOWN);
    let and = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    names.join(", ") + &and
}

fn events(events: &[Event], numbers: &BTreeMap<&str, usize>, book: &mut Book<'_>) -> Vec<(u64, Happening)> {
    let mut found = Vec::new();
    for event in events {
        let at_ns = (book.time("at_s", &event.at_s) * 1e9) as u64;
        let mut node = |at: &At<String>| {
            let number = numbers.get(at.value.as_str()).copied();
            if number.is_none() {
                let what = format!("there is no node {:?}", at.value);
                book.note(&at.span, what, format!("the nodes are {}", some(numbers)));
            }
            number
        };
        let crash = event.crash.as_ref().and_then(&mut node).map(Happening::Crash);
        let join = event.join.as_ref().and_then(&mut node).map(Happening::Join);
        let partition = event.partition.as_ref().map(|groups| {
            let mut group_of = vec![0; numbers.len()];
            for (group, name) in (1..)
                .zip(&groups.value)
                .flat_map(|(g, names)| names.iter().map(move |n| (g, n)))
            {
                let at = At {
                    value: name.clone(),
                    span: groups.span.clone(),
                };
                if let Some(number) = node(&at) {
                    group_of[number] = group;
                }
            }
            Happening::Partition(group_of)
        });
        let heal = event
            .heal
            .as_ref()
            .filter(|heal| heal.value)
            .map(|_| Happening::Heal);
        let happenings: Vec<Happening> = [crash, join, partition, heal].into_iter().flatten().collect();
        let given = [
            event.crash.is_some(),
            event.join.is_some(),
            event.partition.is_some(),
            event.heal.is_some(),
        ];
        if given.iter().filter(|&&given| given).count() != 1 {
            let what = "an event is not exactly one of crash, join, partition and heal";
            book.note(&event.at_s.span, what, "give each its own [[event]]");
        }
        found.extend(happenings.into_iter().map(|happening| (at_ns, happening)));
    }
    found.sort_by_key(|&(at_ns, _)| at_ns);
    found
}
