//! The strategies at work: the acting one, at times one that comes or leaves, and maybe a shadow.
//!
//! A strategy that starts knows nobody, and a node that knows nobody refuses its peers. So one that is to take over first
//! learns and tells beside the acting one, and the one that has left is listened to for as long as peers may still act
//! on what it told. All the while, what either would admit is admitted.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::message::{self, Rejection};
use crate::names::NodeId;
use crate::node_usage::NodeUsage;
use crate::policy::Policy;
use crate::strategy::{self, Local, Strategy, StrategyKind};

/// Recalc decides for the first time after two and a half periods, if its peers began with it.
const COMING_PERIODS: u32 = 4;
/// Peers forget a node after at most two periods and a half, and some look only once a period.
const LEAVING_PERIODS: u32 = 4;

/// Why the strategy cannot be changed now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{leaving} is just being replaced by {coming}; try again in {periods} periods")]
pub struct SwitchError {
    leaving: StrategyKind,
    coming: StrategyKind,
    periods: u32,
}

/// A strategy and what it has decided last.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) kind: StrategyKind,
    pub(crate) strategy: Box<dyn Strategy>,
    pub(crate) policy: Policy,
    awaits_answer: bool,
}

#[derive(Debug)]
enum Handover {
    /// It takes over at that time.
    Coming(Seat, Instant),
    /// It is listened to until that time.
    Leaving(Seat, Instant),
}

#[derive(Debug)]
pub(crate) struct Lineup {
    pub(crate) acting: Seat,
    handover: Option<Handover>,
    pub(crate) shadow: Option<Seat>,
    changed: bool,
}

impl Seat {
    fn new(kind: StrategyKind, local: &Local, now: Instant) -> Self {
        let mut strategy = strategy::start(kind, &local.settings, now);
        if !local.functions.is_empty() {
            strategy.handle_functions(local, now);
        }
        for id in local.connected.keys() {
            strategy.handle_peer_up(local, now, id);
        }
        Self {
            kind,
            strategy,
            policy: Policy::default(),
            awaits_answer: false,
        }
    }

    fn poll_question(&mut self) -> Option<(StrategyKind, Vec<u8>)> {
        if self.awaits_answer {
            return None;
        }
        let question = self.strategy.poll_question()?;
        self.awaits_answer = true;
        Some((self.kind, question))
    }
}

impl Handover {
    fn seat(&self) -> &Seat {
        match self {
            Self::Coming(seat, _) | Self::Leaving(seat, _) => seat,
        }
    }

    fn seat_mut(&mut self) -> &mut Seat {
        match self {
            Self::Coming(seat, _) | Self::Leaving(seat, _) => seat,
        }
    }

    fn at(&self) -> Instant {
        match self {
            Self::Coming(_, at) | Self::Leaving(_, at) => *at,
        }
    }
}

impl Lineup {
    pub(crate) fn new(local: &Local, now: Instant) -> Self {
        let (acting, shadow) = (local.settings.strategy, local.settings.shadow);
        Self {
            acting: Seat::new(acting, local, now),
            handover: None,
            changed: false,
            shadow: shadow
                .filter(|&shadow| shadow != acting)
                .map(|shadow| Seat::new(shadow, local, now)),
        }
    }

    /// Begins to replace the acting strategy. The shadow ends if it is the new one.
    pub(crate) fn switch(
        &mut self,
        local: &mut Local,
        now: Instant,
        kind: StrategyKind,
    ) -> Result<(), SwitchError> {
        if let Some(handover) = &self.handover {
            let (leaving, coming, more) = match handover {
                Handover::Coming(seat, _) => (self.acting.kind, seat.kind, LEAVING_PERIODS),
                Handover::Leaving(seat, _) => (seat.kind, self.acting.kind, 0),
            };
            let left = handover.at().saturating_duration_since(now).as_secs_f64();
            let periods = (left / local.settings.period.as_secs_f64()).ceil() as u32 + more;
            return Err(SwitchError {
                leaving,
                coming,
                periods,
            });
        }
        if kind == self.acting.kind {
            return Ok(());
        }
        self.shadow = self.shadow.take().filter(|shadow| shadow.kind != kind);
        // What the strategy told when it last acted must not make peers take it for outdated.
        local.settings.incarnation += 1;
        let coming = Seat::new(kind, local, now);
        self.handover = Some(Handover::Coming(
            coming,
            now + local.settings.period * COMING_PERIODS,
        ));
        Ok(())
    }

    /// The strategy that is to take over.
    pub(crate) fn coming(&self) -> Option<StrategyKind> {
        match self.handover.as_ref()? {
            Handover::Coming(seat, _) => Some(seat.kind),
            Handover::Leaving(..) => None,
        }
    }

    /// Why peers may send more than the acting strategy says.
    pub(crate) fn handover_reason(&self) -> Option<String> {
        Some(match self.handover.as_ref()? {
            Handover::Coming(seat, _) => format!("{} is about to take over, and admits too", seat.kind),
            Handover::Leaving(seat, _) => {
                format!("{} has just left, and what it would admit is admitted", seat.kind)
            }
        })
    }

    pub(crate) fn handle_counters(&mut self, counters: &Counters) {
        self.each(|strategy| strategy.handle_counters(counters));
    }

    pub(crate) fn handle_usage(&mut self, usage: &NodeUsage) {
        self.each(|strategy| strategy.handle_usage(usage));
    }

    pub(crate) fn handle_clock(&mut self, local: &Local, now: Instant, since_1970: Duration) {
        self.each(|strategy| strategy.handle_clock(local, now, since_1970));
    }

    pub(crate) fn handle_functions(&mut self, local: &Local, now: Instant) {
        self.each(|strategy| strategy.handle_functions(local, now));
    }

    pub(crate) fn handle_peer_up(&mut self, local: &Local, now: Instant, id: &NodeId) {
        self.each(|strategy| strategy.handle_peer_up(local, now, id));
    }

    pub(crate) fn handle_peer_down(&mut self, now: Instant, id: &NodeId) {
        self.each(|strategy| strategy.handle_peer_down(now, id));
    }

    pub(crate) fn handle_admitted(&mut self) {
        self.each(|strategy| strategy.handle_admitted());
    }

    /// Of whom any of the strategies has heard.
    pub(crate) fn known(&self) -> BTreeSet<NodeId> {
        let others = [self.handover.as_ref().map(Handover::seat), self.shadow.as_ref()];
        let seats = [Some(&self.acting)].into_iter().chain(others).flatten();
        seats.flat_map(|seat| seat.strategy.known().into_keys()).collect()
    }

    /// Gives a message to whom it may concern. It was of use if it was to one of them.
    pub(crate) fn handle_message(
        &mut self,
        local: &Local,
        now: Instant,
        from: &NodeId,
        body: &[u8],
    ) -> Result<(), Rejection> {
        let tell = |seat: &mut Seat, body: &[u8]| seat.strategy.handle_message(local, now, from, body);
        if let Some(inner) = message::unwrap_shadow(body) {
            let shadow = self.shadow.as_mut().ok_or(Rejection::OtherStrategy)?;
            return tell(shadow, &inner?);
        }
        let result = tell(&mut self.acting, body);
        let others = [
            self.handover.as_mut().map(Handover::seat_mut),
            self.shadow.as_mut(),
        ];
        let is_of_use = |used: bool, seat: &mut Seat| tell(seat, body).is_ok() || used;
        if others.into_iter().flatten().fold(false, is_of_use) {
            Ok(())
        } else {
            result
        }
    }

    pub(crate) fn handle_answer(&mut self, local: &Local, kind: StrategyKind, answer: Option<&[u8]>) {
        for seat in self.seats().into_iter().filter(|seat| seat.kind == kind) {
            seat.awaits_answer = false;
            seat.strategy.handle_answer(local, answer);
        }
    }

    pub(crate) fn handle_timeout(&mut self, local: &mut Local, now: Instant) {
        self.each(|strategy| strategy.handle_timeout(local, now));
        if self.handover.as_ref().is_none_or(|handover| now < handover.at()) {
            return;
        }
        self.changed = true;
        if let Some(Handover::Coming(coming, _)) = self.handover.take() {
            local.settings.strategy = coming.kind;
            let leaving = std::mem::replace(&mut self.acting, coming);
            let until = now + local.settings.period * LEAVING_PERIODS;
            self.handover = Some(Handover::Leaving(leaving, until));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        let seats = [self.handover.as_ref().map(Handover::seat), self.shadow.as_ref()];
        let handover = self.handover.as_ref().map(Handover::at);
        let times = seats
            .into_iter()
            .flatten()
            .map(|seat| seat.strategy.poll_timeout());
        times
            .chain(handover)
            .fold(self.acting.strategy.poll_timeout(), Instant::min)
    }

    /// What to tell peers. What a shadow tells is for shadows; who leaves is silent, so that peers forget it.
    pub(crate) fn poll_publish(&mut self) -> Option<Vec<u8>> {
        let published = self.acting.strategy.poll_publish();
        let published = published.or_else(|| match self.handover.as_mut()? {
            Handover::Coming(seat, _) => seat.strategy.poll_publish(),
            Handover::Leaving(seat, _) => {
                while seat.strategy.poll_publish().is_some() {}
                None
            }
        });
        published.or_else(|| {
            let body = self.shadow.as_mut()?.strategy.poll_publish()?;
            Some(message::wrap_shadow(&body))
        })
    }

    pub(crate) fn poll_question(&mut self) -> Option<(StrategyKind, Vec<u8>)> {
        self.seats().into_iter().find_map(Seat::poll_question)
    }

    /// Whether one of the strategies has decided since the last call.
    pub(crate) fn poll_decision(&mut self, local: &Local) -> bool {
        let mut changed = std::mem::take(&mut self.changed);
        for seat in self.seats() {
            if let Some(policy) = seat.strategy.poll_policy(local) {
                seat.policy = policy;
                changed = true;
            }
        }
        changed
    }

    /// What the strategies decided last.
    pub(crate) fn decided(&self) -> Policy {
        let mut policy = self.acting.policy.clone();
        if let Some(handover) = &self.handover {
            admit_too(&mut policy, &handover.seat().policy);
        }
        policy
    }

    fn each(&mut self, mut tell: impl FnMut(&mut dyn Strategy)) {
        for seat in self.seats() {
            tell(&mut *seat.strategy);
        }
    }

    fn seats(&mut self) -> Vec<&mut Seat> {
        let others = [
            self.handover.as_mut().map(Handover::seat_mut),
            self.shadow.as_mut(),
        ];
        [Some(&mut self.acting)]
            .into_iter()
            .chain(others)
            .flatten()
            .collect()
    }
}

/// Adds what another policy admits.
fn admit_too(policy: &mut Policy, other: &Policy) {
    for (id, peer) in &other.peers {
        policy.peers.entry(id.clone()).or_insert(*peer);
    }
    for (name, function) in &mut policy.functions {
        let Some(other) = other.functions.get(name) else {
            continue;
        };
        for (id, &rate_rps) in &other.admit {
            let admitted = function.admit.entry(id.clone()).or_insert(0.0);
            *admitted = admitted.max(rate_rps);
        }
    }
}
