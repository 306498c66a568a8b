//! What this node offers: what the platform lists, as long as somebody listens for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dfaas_control::{FunctionName, FunctionSpec};

use crate::data_plane::Listener;

/// A platform that restarts is back by then; traffic for it goes to peers afterwards.
const ABSENCE_MAX: Duration = Duration::from_secs(1);

/// All functions that are offered.
pub(crate) type Functions = BTreeMap<FunctionName, FunctionSpec>;

/// What the platform lists, and whether its listener is there.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    functions: Functions,
    presence: Presence,
    /// What the core was told last.
    told: Functions,
}

#[derive(Debug, Default)]
enum Presence {
    /// Not seen yet, or missing for too long.
    #[default]
    Gone,
    /// Missing since then.
    Missing(Instant),
    Present,
}

impl Offer {
    /// Takes a new list; returns what to tell the core.
    pub(crate) fn list(&mut self, functions: Functions) -> Option<Functions> {
        self.functions = functions;
        self.news()
    }

    /// Takes what is known about the listener; returns what to tell the core.
    pub(crate) fn follow(&mut self, now: Instant, listener: &Listener) -> Option<Functions> {
        match (listener, &self.presence) {
            (Listener::Present, _) => self.presence = Presence::Present,
            (Listener::Absent | Listener::Hidden, Presence::Present) => {
                self.presence = Presence::Missing(now)
            }
            (Listener::Absent | Listener::Hidden, Presence::Missing(since))
                if now.duration_since(*since) > ABSENCE_MAX =>
            {
                self.presence = Presence::Gone;
            }
            (Listener::Absent | Listener::Hidden, Presence::Missing(_) | Presence::Gone) => {}
        }
        self.news()
    }

    fn news(&mut self) -> Option<Functions> {
        let nothing = Functions::new();
        let offered = match self.presence {
            Presence::Gone => &nothing,
            Presence::Missing(_) | Presence::Present => &self.functions,
        };
        if *offered == self.told {
            return None;
        }
        self.told.clone_from(offered);
        Some(self.told.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn nothing_is_offered_before_somebody_listens() {
        let mut offer = Offer::default();
        assert_eq!(offer.list(functions()), None);
        assert_eq!(offer.follow(clock::now(), &Listener::Absent), None);
        assert_eq!(offer.follow(clock::now(), &Listener::Present), Some(functions()));
        assert_eq!(offer.list(functions()), None);
        assert_eq!(offer.list(Functions::new()), Some(Functions::new()));
    }

    #[test]
    fn a_short_absence_is_overlooked() {
        let (mut offer, start) = offering();
        assert_eq!(offer.follow(start, &Listener::Absent), None);
        assert_eq!(offer.follow(start + ABSENCE_MAX, &Listener::Absent), None);
        assert_eq!(offer.follow(start + ABSENCE_MAX, &Listener::Present), None);
    }

    #[test]
    fn a_long_absence_takes_all_back_until_it_ends() {
        let (mut offer, start) = offering();
        offer.follow(start, &Listener::Absent);
        let late = start + ABSENCE_MAX + Duration::from_millis(1);
        assert_eq!(offer.follow(late, &Listener::Absent), Some(Functions::new()));
        assert_eq!(offer.follow(late, &Listener::Absent), None);
        assert_eq!(offer.list(Functions::new()), None);
        assert_eq!(offer.list(functions()), None);
        assert_eq!(offer.follow(late, &Listener::Present), Some(functions()));
    }

    fn offering() -> (Offer, Instant) {
        let mut offer = Offer::default();
        let start = clock::now();
        offer.list(functions());
        assert_eq!(offer.follow(start, &Listener::Present), Some(functions()));
        (offer, start)
    }

    fn functions() -> Functions {
        BTreeMap::from([(
            FunctionName::new("figlet").unwrap(),
            FunctionSpec { capacity_rps: 10.0 },
        )])
    }
}
