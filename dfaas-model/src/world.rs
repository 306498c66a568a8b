//! A run: what is due happens, one moment after another.

use std::collections::BTreeMap;

use crate::{
    Micros, SECOND, allowed,
    client::Caller,
    host::Host,
    network::{Fate, Kind, Link},
    node::{self, NODE, Node, PORT},
    outcome::{Finding, Report, Wrong},
    script::{Request, Script},
    segment::{ACK, End, FIN, Options, RST, SYN, Segment},
    trace::Trace,
};

/// No run takes longer.
const TIME_MAX: Micros = 600 * SECOND;
/// No run has more moments: somebody talks for ever else.
const MOMENTS_MAX: u32 = 200_000;

/// A run under way.
struct World<'a, N: Node> {
    script: &'a Script,
    node: &'a mut N,
    now: Micros,
    requests: BTreeMap<u32, Request>,
    callers: Vec<Caller>,
    /// The local server, and the peers'.
    hosts: Vec<Host>,
    /// To the node and from it: of clients, and of peers.
    links: Vec<Link>,
    fate: Fate,
    trace: Trace,
    findings: Vec<Finding>,
    segments: u64,
}

/// Runs a script.
#[must_use]
pub fn run(script: &Script, node: &mut impl Node, is_traced: bool) -> Report {
    let mut world = World::new(script, node, is_traced);
    if let Err(error) = world.node.begin(script) {
        world.find(Wrong::Node, error);
    }
    world.live();
    world.end()
}

impl<'a, N: Node> World<'a, N> {
    fn new(script: &'a Script, node: &'a mut N, is_traced: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(script.seed ^ 0x006d_6f64_656c);
        let callers = (0..).zip(&script.clients);
        let callers = callers.map(|(number, plan)| Caller::new(plan, number, random.u32(..)));
        let callers = callers.collect();
        let stamps = |index: usize| usize::from(index > 0);
        let listening = script.listening.iter().enumerate();
        let hosts = listening.map(|(index, listening)| {
            let address = if index == 0 { NODE } else { node::peer(index as u8) };
            let end = End { address, port: PORT };
            let name = if index == 0 {
                "local".to_owned()
            } else {
                format!("peer {index}")
            };
            Host::new(
                name,
                end,
                *listening,
                script.servers,
                stamps(index),
                random.u64(..),
            )
        });
        let hosts = hosts.collect();
        let links = (0..4).map(|number| Link::new(number, script.networks[number as usize / 2]));
        Self {
            callers,
            hosts,
            links: links.collect(),
            requests: script
                .requests()
                .map(|request| (request.id, request.clone()))
                .collect(),
            fate: Fate::new(script.seed, script.mishaps.clone()),
            trace: Trace::new(is_traced),
            findings: Vec::new(),
            segments: 0,
            now: 0,
            script,
            node,
        }
    }

    fn find(&mut self, wrong: Wrong, text: String) {
        self.trace.say(self.now, &format!("!!! {wrong:?}: {text}"));
        self.findings.push(Finding { wrong, text });
    }

    fn live(&mut self) {
        for _ in 0..MOMENTS_MAX {
            self.poll();
            let Some(next) = self.deadline() else {
                return;
            };
            if self.is_over() || next > TIME_MAX {
                return;
            }
            self.now = self.now.max(next);
            self.deliver();
        }
        self.find(Wrong::Hang, format!("no end after {MOMENTS_MAX} moments"));
    }

    fn is_over(&self) -> bool {
        self.callers.iter().all(Caller::is_over)
            && self.hosts.iter().all(Host::is_idle)
            && self.links.iter().all(|link| link.deadline().is_none())
    }

    fn deadline(&self) -> Option<Micros> {
        let links = self.links.iter().filter_map(Link::deadline);
        let callers = self.callers.iter().filter_map(Caller::deadline);
        let hosts = self.hosts.iter().filter_map(Host::deadline);
        links.chain(callers).chain(hosts).min()
    }

    /// Lets packets come that are due.
    fn deliver(&mut self) {
        for number in 0..self.links.len() {
            for segment in self.links[number].take(self.now) {
                match number {
                    0 | 2 => self.arrive(&segment),
                    1 => self.come_to_client(&segment),
                    _ => self.come_to_peer(&segment),
                }
            }
        }
    }

    fn come_to_client(&mut self, segment: &Segment) {
        let number = usize::from(segment.to.port.wrapping_sub(node::CLIENT_PORT));
        match self.callers.get_mut(number) {
            Some(caller) => caller.receive(self.now, segment),
            None => self.find(Wrong::Protocol, format!("a segment to no client: {segment:?}")),
        }
    }

    fn come_to_peer(&mut self, segment: &Segment) {
        let is_to = |index: usize| node::peer(index as u8) == segment.to.address;
        match (1..self.hosts.len()).find(|index| is_to(*index)) {
            Some(index) => self.hosts[index].receive(self.now, segment),
            None => self.find(Wrong::Protocol, format!("a segment to no peer: {segment:?}")),
        }
    }

    /// Has everybody do what is due, and sends what comes of it.
    fn poll(&mut self) {
        loop {
            let mut is_quiet = true;
            for index in 0..self.callers.len() {
                for segment in self.callers[index].poll(self.now) {
                    self.send(0, &segment);
                    is_quiet = false;
                }
            }
            for index in 0..self.hosts.len() {
                for segment in self.hosts[index].poll(self.now, &self.requests) {
                    if index == 0 {
                        self.depart(&segment);
                    } else {
                        self.send(2, &segment);
                    }
                    is_quiet = false;
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn send(&mut self, link: usize, segment: &Segment) {
        let kind = self.links[link].send(self.now, segment, &mut self.fate);
        let what = match kind {
            None => String::new(),
            Some(Kind::Lost) => "LOST ".to_owned(),
            Some(kind) => format!("{kind:?} "),
        };
        self.trace.note(self.now, false, segment, &what);
    }

    /// A segment comes to the node.
    fn arrive(&mut self, segment: &Segment) {
        self.segments += 1;
        let is_end = segment.flags & (ACK | FIN | SYN | RST) == ACK | FIN;
        let gone = if is_end && self.hosts[0].remembers_end(segment) && self.node.has_forgotten(segment) {
            Ok(vec![acknowledgment_again(segment)])
        } else {
            self.node.arrive(self.now, segment)
        };
        self.go_on(gone);
    }

    /// The local stack sends a segment.
    fn depart(&mut self, segment: &Segment) {
        self.segments += 1;
        self.trace.note(self.now, true, segment, "");
        let gone = self.node.depart(self.now, segment);
        self.go_on(gone);
    }

    fn go_on(&mut self, gone: Result<Vec<Segment>, String>) {
        let segments = match gone {
            Ok(segments) => segments,
            Err(error) => return self.find(Wrong::Node, error),
        };
        for segment in segments {
            if segment.to.address == NODE {
                self.trace.note(self.now, true, &segment, "");
                self.hosts[0].receive(self.now, &segment);
            } else if segment.to.address == node::CLIENT {
                self.send(1, &segment);
            } else {
                self.send(3, &segment);
            }
        }
        let found = self.node.look(self.script);
        for finding in found {
            self.find(finding.wrong, finding.text);
        }
    }

    fn end(mut self) -> Report {
        let mut asked = Vec::new();
        for index in 0..self.callers.len() {
            asked.extend(self.callers[index].asked().iter().cloned());
            let summary = self.callers[index].summary();
            self.trace.say(self.now, &summary);
            for text in std::mem::take(&mut self.callers[index].complaints) {
                let is_expected = self.script.clients[index]
                    .requests
                    .iter()
                    .any(|request| request.answer.has_wrong_body);
                let is_byte = text.starts_with("byte ");
                if is_byte || !is_expected {
                    self.find(if is_byte { Wrong::Protocol } else { Wrong::Mixed }, text);
                }
            }
        }
        let mut served = Vec::new();
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            let log = std::mem::take(&mut host.log);
            served.extend(log.served.into_iter().map(|id| (host.name.clone(), id)));
            for line in host.summary() {
                self.trace.say(self.now, &line);
            }
            for text in log.complaints {
                let is_byte = text.starts_with("byte ");
                self.find(if is_byte { Wrong::Protocol } else { Wrong::Garbage }, text);
            }
            let live = self.hosts[index].live();
            if live > 0 {
                let name = &self.hosts[index].name;
                self.find(
                    Wrong::Abandoned,
                    format!("{live} connections of {name} are still open"),
                );
            }
        }
        let mut report = Report {
            asked,
            served,
            findings: self.findings,
            mishaps: self.fate.happened,
            trace: self.trace.lines,
            took: self.now,
            segments: self.segments,
        };
        let judged = allowed::judge(self.script, self.node.decides(), &report);
        report.findings.extend(judged);
        let ended = self.node.end(self.now, self.script, &report);
        report.findings.extend(ended);
        report
    }
}

/// What a node says to an end that its stack alone remembers: the model's stack is not the one that programs could ask.
fn acknowledgment_again(segment: &Segment) -> Segment {
    Segment {
        from: segment.to,
        to: segment.from,
        sequence: segment.acknowledgment,
        acknowledgment: segment.end(),
        flags: ACK,
        window: 0,
        options: Options::default(),
        payload: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{generate, node::Plain};

    #[test]
    fn the_ends_are_right_without_a_node() {
        for seed in 0..1_500 {
            let script = generate::script(seed);
            let report = run(&script, &mut Plain, false);
            let texts: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            assert!(texts.is_empty(), "seed {seed}: {texts:#?}");
        }
    }

    #[test]
    fn a_seed_replays() {
        for seed in 0..50 {
            let script = generate::script(seed);
            let [one, other] = [0, 1].map(|_| run(&script, &mut Plain, true).trace);
            assert_eq!(one, other, "seed {seed}");
        }
    }
}
