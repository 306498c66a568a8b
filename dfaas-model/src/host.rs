//! A host with a server on it.

use std::collections::BTreeMap;

use crate::{
    Micros,
    app::{App, Log},
    script::{Listening, Request, Side},
    segment::{ACK, End, RST, SYN, Segment},
    tcp::{Settings, State, Tcp},
};

/// A host with a server on it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    address: End,
    listening: Listening,
    settings: Settings,
    /// How many stamps each request has to have that comes here.
    stamps: usize,
    sockets: BTreeMap<End, (Tcp, App)>,
    pub(crate) log: Log,
    random: fastrand::Rng,
    /// What is to be sent.
    out: Vec<Segment>,
}

impl Host {
    pub(crate) fn new(
        name: String,
        address: End,
        listening: Listening,
        side: Side,
        stamps: usize,
        seed: u64,
    ) -> Self {
        Self {
            name,
            address,
            listening,
            settings: settings(side, listening == Listening::Early),
            stamps,
            sockets: BTreeMap::new(),
            log: Log::default(),
            random: fastrand::Rng::with_seed(seed),
            out: Vec::new(),
        }
    }

    /// Takes a segment.
    pub(crate) fn receive(&mut self, now: Micros, segment: &Segment) {
        if segment.to != self.address {
            self.out.extend(segment.refusal());
            return;
        }
        let is_new = segment.flags & (SYN | ACK | RST) == SYN;
        let known = self.sockets.get_mut(&segment.from);
        let is_free = known
            .as_ref()
            .is_none_or(|(tcp, _)| matches!(tcp.state(), State::Closed(_) | State::TimeWait));
        if is_new && is_free {
            return self.accept(now, segment);
        }
        match known {
            Some((tcp, _)) => tcp.receive(now, segment),
            None => self.out.extend(segment.refusal()),
        }
    }

    fn accept(&mut self, now: Micros, syn: &Segment) {
        match self.listening {
            Listening::Refuses => return self.out.extend(syn.refusal()),
            Listening::DropsEarly if !syn.payload.is_empty() => return,
            Listening::Early | Listening::Late | Listening::DropsEarly => {}
        }
        let tcp = Tcp::accept(self.settings, syn, self.random.u32(..), now);
        self.sockets.insert(syn.from, (tcp, App::new(now)));
    }

    /// Does what is due, and returns what is to be sent.
    pub(crate) fn poll(&mut self, now: Micros, requests: &BTreeMap<u32, Request>) -> Vec<Segment> {
        for (tcp, app) in self.sockets.values_mut() {
            app.run(now, tcp, requests, self.stamps, &mut self.log);
            self.out.extend(tcp.poll(now));
            self.log.complaints.extend(tcp.take_complaints());
        }
        std::mem::take(&mut self.out)
    }

    pub(crate) fn deadline(&self) -> Option<Micros> {
        let of = |(tcp, app): &(Tcp, App)| {
            let has_app = matches!(tcp.state(), State::Open | State::Opening);
            let app = has_app.then(|| app.deadline());
            tcp.deadline().into_iter().chain(app).min()
        };
        self.sockets.values().filter_map(of).min()
    }

    /// Whether it remembers the connection of a segment as one that has ended.
    pub(crate) fn remembers_end(&self, segment: &Segment) -> bool {
        let known = self.sockets.get(&segment.from);
        known.is_some_and(|(tcp, _)| tcp.state() == State::TimeWait)
    }

    /// Whether nobody is connected.
    pub(crate) fn is_idle(&self) -> bool {
        self.sockets
            .values()
            .all(|(tcp, _)| matches!(tcp.state(), State::Closed(_) | State::TimeWait))
    }

    /// How many connections are open.
    pub(crate) fn live(&self) -> usize {
        let is_live = |tcp: &Tcp| matches!(tcp.state(), State::Open | State::Opening);
        self.sockets.values().filter(|(tcp, _)| is_live(tcp)).count()
    }

    pub(crate) fn summary(&self) -> Vec<String> {
        let of =
            |(end, (tcp, _)): (&End, &(Tcp, App))| format!("{} with {end}: {}", self.name, tcp.summary());
        self.sockets.iter().map(of).collect()
    }
}

pub(crate) fn settings(side: Side, takes_early_data: bool) -> Settings {
    Settings {
        segment_size: 1_460,
        scale: side.is_scaled.then_some(7),
        sack: side.sack,
        quick_acks: side.quick_acks,
        takes_early_data,
    }
}
