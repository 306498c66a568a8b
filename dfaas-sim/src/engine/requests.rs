//! The way of a request: from its user, maybe to a peer and back, through a queue and a server, to its answer.

use dfaas_common::decide::{Decision, FAILURES, Failed};
use dfaas_control::Token;

use super::node::Mind;
use super::station::{Begun, Taken};
use super::{Engine, Event};
use crate::rivals::{Admission, Choice};

/// After so long a request is taken back from a peer that keeps silent: two SYNs of the client's, then one more each.
/// The data plane's patience, driven by the client's retransmissions at 0.2, 0.6, 1.4 and 3 s.
const PATIENCE_NS: [u64; FAILURES] = [600_000_000, 800_000_000, 1_600_000_000, 3_200_000_000];

/// A user's request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) origin: usize,
    pub(super) function: usize,
    pub(super) born_ns: u64,
    /// The start of the origin in which it came.
    incarnation: u64,
    failed: Failed,
    failures: u8,
    /// What the sender stamped it with.
    token: Option<Token>,
    /// When a server took it.
    taken_ns: u64,
    /// The node in whose queue or servers it is.
    inside: Option<usize>,
}

/// All requests under way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    all: Vec<Option<Request>>,
    free: Vec<usize>,
}

impl Requests {
    fn add(&mut self, request: Request) -> usize {
        if let Some(place) = self.free.pop() {
            self.all[place] = Some(request);
            return place;
        }
        self.all.push(Some(request));
        self.all.len() - 1
    }

    fn get(&mut self, place: usize) -> &mut Request {
        self.all[place]
            .as_mut()
            .expect("events name requests under way only")
    }

    fn remove(&mut self, place: usize) -> Request {
        self.free.push(place);
        self.all[place].take().expect("a request ends once")
    }

    pub(super) fn under_way(&self) -> usize {
        self.all.len() - self.free.len()
    }
}

impl Engine<'_> {
    pub(super) fn plan_arrival(&mut self, demand: usize) {
        if let Some(at_s) = self.arrivals[demand].next_s() {
            self.clock.plan((at_s * 1e9) as u64, Event::Arrival(demand));
        }
    }

    pub(super) fn arrive(&mut self, demand: usize) {
        self.plan_arrival(demand);
        let spec = &self.scenario.demands[demand];
        let (origin, function) = (spec.node, spec.function);
        let row = self.recorder.at(origin, function);
        row.arrived += 1;
        if !self.nodes[origin].is_up() {
            row.failed += 1;
            return;
        }
        self.nodes[origin].counted[function].user += 1;
        let request = self.requests.add(Request {
            origin,
            function,
            born_ns: self.clock.now_ns,
            incarnation: self.nodes[origin].incarnation,
            failed: Failed::NONE,
            failures: 0,
            token: None,
            taken_ns: 0,
            inside: None,
        });
        self.decide(request);
    }

    /// Decides at the node whose user asked.
    fn decide(&mut self, place: usize) {
        let request = *self.requests.get(place);
        if usize::from(request.failures) >= FAILURES {
            self.refuse(place);
            return;
        }
        let now_ns = self.clock.now_ns;
        let node = &mut self.nodes[request.origin];
        let function = request.function;
        let choice = match &mut node.mind {
            Mind::None => {
                self.fail(place);
                return;
            }
            Mind::Agent(_) => match node.kernel.decide_user(function as u32, request.failed, now_ns) {
                Decision::Local => Choice::Here,
                Decision::Forward(peer) => Choice::There(peer as usize - 1),
                Decision::Refuse(_) => Choice::Nowhere,
            },
            // A proxy does not try again: its client is told.
            Mind::Rival(_) if request.failures > 0 => Choice::Nowhere,
            Mind::Rival(rival) => {
                if rival.is_local_first() {
                    if node.take_capacity(function, now_ns) {
                        Choice::Here
                    } else {
                        self.choose(request.origin, function)
                    }
                } else {
                    rival.choose(function, &node.outstanding, &mut node.random)
                }
            }
        };
        match choice {
            Choice::Here => self.take(place, request.origin),
            Choice::There(peer) => self.send(place, peer),
            Choice::Nowhere => self.refuse(place),
        }
    }

    fn choose(&mut self, node: usize, function: usize) -> Choice {
        let node = &mut self.nodes[node];
        match &mut node.mind {
            Mind::Rival(rival) => rival.choose(function, &node.outstanding, &mut node.random),
            Mind::None | Mind::Agent(_) => Choice::Nowhere,
        }
    }

    /// Gives a request to the servers of a node. If they have no room, it is as if they had refused the connection.
    fn take(&mut self, place: usize, node: usize) {
        let Request { origin, function, .. } = *self.requests.get(place);
        let at = &mut self.nodes[node];
        let taken = at.servers[function]
            .as_mut()
            .map_or(Taken::Full, |servers| servers.take(place, &mut at.service_random));
        if taken == Taken::Full {
            self.turn_away(place, node);
            return;
        }
        let request = self.requests.get(place);
        (request.taken_ns, request.inside) = (self.clock.now_ns, Some(node));
        if node == origin {
            at.counted[function].local += 1;
        } else {
            *at.counted[function].admitted.entry(origin).or_insert(0) += 1;
            *self.nodes[origin].counted[function]
                .forwarded
                .entry(node)
                .or_insert(0) += 1;
        }
        self.nodes[origin].outstanding[node] += 1;
        let inside = self.nodes[node].servers[function]
            .as_ref()
            .map_or(0, |servers| servers.inside());
        let row = self.recorder.at(node, function);
        row.taken += 1;
        row.inside_most = row.inside_most.max(inside);
        if let Taken::Begins(begun) = taken {
            self.plan_done(begun, node);
        }
    }

    fn plan_done(&mut self, begun: Begun, node: usize) {
        let done = Event::Done {
            request: begun.request,
            node,
            incarnation: self.nodes[node].incarnation,
        };
        self.clock.after(begun.takes_ns, done);
    }

    /// Sends a request to a peer.
    fn send(&mut self, place: usize, peer: usize) {
        let Request { origin, failures, .. } = *self.requests.get(place);
        let token = self.nodes[origin].kernel.token_for(peer as u32 + 1);
        self.requests.get(place).token = token;
        let patience_ns = PATIENCE_NS[usize::from(failures).min(FAILURES - 1)];
        let travel_ns = match self.way(origin, peer) {
            Some(way) if self.nodes[peer].is_up() => self.travel_ns(way),
            Some(_) | None => u64::MAX,
        };
        if travel_ns >= patience_ns && self.is_agent() || travel_ns == u64::MAX {
            let back = Event::Back { request: place, peer };
            self.clock.after(patience_ns, back);
        } else {
            self.clock
                .after(travel_ns, Event::AtPeer { request: place, peer });
        }
    }

    pub(super) fn arrive_at_peer(&mut self, place: usize, peer: usize) {
        let request = *self.requests.get(place);
        let now_ns = self.clock.now_ns;
        let node = &mut self.nodes[peer];
        let is_admitted = match &node.mind {
            Mind::None => {
                let back = Event::Back { request: place, peer };
                self.clock.after(PATIENCE_NS[0], back);
                return;
            }
            Mind::Agent(_) => {
                let from = request.origin as u32 + 1;
                let decision = node
                    .kernel
                    .decide_peer(request.function as u32, from, request.token, now_ns);
                decision == Decision::Local
            }
            Mind::Rival(rival) => {
                rival.admission() == Admission::All || node.take_capacity(request.function, now_ns)
            }
        };
        if is_admitted {
            self.take(place, peer);
        } else {
            self.turn_away(place, peer);
        }
    }

    /// A node does not serve a request: it goes back to where it came from.
    fn turn_away(&mut self, place: usize, node: usize) {
        let Request { origin, function, .. } = *self.requests.get(place);
        if node == origin {
            self.note_failure(place, 0);
            self.decide(place);
            return;
        }
        self.recorder.at(node, function).sent_back += 1;
        let travel_ns = match self.way(node, origin) {
            Some(way) => self.travel_ns(way),
            None => PATIENCE_NS[0],
        };
        self.clock.after(
            travel_ns,
            Event::Back {
                request: place,
                peer: node,
            },
        );
    }

    pub(super) fn come_back(&mut self, place: usize, peer: usize) {
        if self.has_lost_origin(place) {
            self.fail(place);
            return;
        }
        self.note_failure(place, peer as u32 + 1);
        self.decide(place);
    }

    fn note_failure(&mut self, place: usize, target: u32) {
        let request = self.requests.get(place);
        request.failed.add(request.failures, target);
        request.failures += 1;
    }

    pub(super) fn finish(&mut self, place: usize, node: usize, incarnation: u64) {
        // What a crashed node had was failed when it crashed.
        if self.nodes[node].incarnation != incarnation || !self.nodes[node].is_up() {
            return;
        }
        let request = *self.requests.get(place);
        let at = &mut self.nodes[node];
        let next = at.servers[request.function]
            .as_mut()
            .and_then(|servers| servers.finish(&mut at.service_random));
        let took_us = (self.clock.now_ns - request.taken_ns) / 1_000;
        at.counted[request.function]
            .times_us
            .push(u32::try_from(took_us).unwrap_or(u32::MAX));
        if let Some(begun) = next {
            self.plan_done(begun, node);
        }
        self.requests.get(place).inside = None;
        if node == request.origin {
            self.answer(place, node);
            return;
        }
        match self.way(node, request.origin) {
            Some(way) => {
                let travel_ns = self.travel_ns(way);
                self.clock.after(
                    travel_ns,
                    Event::Answered {
                        request: place,
                        server: node,
                    },
                );
            }
            None => self.fail(place),
        }
    }

    pub(super) fn answer(&mut self, place: usize, server: usize) {
        if self.has_lost_origin(place) {
            self.fail(place);
            return;
        }
        let request = self.requests.remove(place);
        self.release(&request, server);
        let Request {
            origin,
            function,
            born_ns,
            ..
        } = request;
        self.recorder
            .served(origin, function, server, born_ns, self.clock.now_ns);
    }

    fn release(&mut self, request: &Request, server: usize) {
        if self.nodes[request.origin].incarnation == request.incarnation {
            let outstanding = &mut self.nodes[request.origin].outstanding[server];
            *outstanding = outstanding.saturating_sub(1);
        }
    }

    fn has_lost_origin(&mut self, place: usize) -> bool {
        let request = self.requests.get(place);
        let origin = &self.nodes[request.origin];
        !origin.is_up() || origin.incarnation != request.incarnation
    }

    fn refuse(&mut self, place: usize) {
        let request = self.requests.remove(place);
        self.nodes[request.origin].counted[request.function].refused += 1;
        self.recorder.at(request.origin, request.function).refused += 1;
    }

    fn fail(&mut self, place: usize) {
        let request = self.requests.remove(place);
        self.recorder.at(request.origin, request.function).failed += 1;
    }

    /// All that a node had in its queues and servers gets no answer.
    pub(super) fn fail_inside(&mut self, node: usize) {
        for place in 0..self.requests.all.len() {
            let is_inside = |request: &Request| request.inside == Some(node);
            if let Some(request) = self.requests.all[place].filter(is_inside) {
                self.release(&request, node);
                self.fail(place);
            }
        }
    }

    pub(super) fn fail_rest(&mut self) {
        for place in 0..self.requests.all.len() {
            if self.requests.all[place].is_some() {
                self.fail(place);
            }
        }
    }
}
