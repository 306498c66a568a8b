//! What serves a function on a node: some servers and a queue.

use std::collections::VecDeque;

use crate::random::Random;
use crate::scenario;

/// A function's servers.
#[derive(Debug)]
pub(super) struct Servers {
    spec: scenario::Station,
    busy: u32,
    waiting: VecDeque<usize>,
    /// Nanoseconds of work begun since the node was last asked how busy it is.
    work_ns: u64,
}

/// A request whose service begins, and how long it takes in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) request: usize,
    pub(super) takes_ns: u64,
}

/// What becomes of a request that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Begins(Begun),
    Waits,
    Full,
}

impl Servers {
    pub(super) fn new(spec: scenario::Station) -> Self {
        Self {
            spec,
            busy: 0,
            waiting: VecDeque::new(),
            work_ns: 0,
        }
    }

    pub(super) fn spec(&self) -> &scenario::Station {
        &self.spec
    }

    /// How many requests wait or are served.
    pub(super) fn inside(&self) -> u32 {
        self.busy + self.waiting.len() as u32
    }

    /// The work begun since the last call, in nanoseconds.
    pub(super) fn take_work_ns(&mut self) -> u64 {
        std::mem::take(&mut self.work_ns)
    }

    pub(super) fn take(&mut self, request: usize, random: &mut Random) -> Taken {
        if self.busy < self.spec.servers {
            self.busy += 1;
            return Taken::Begins(self.begin(request, random));
        }
        if self.waiting.len() >= self.spec.queue as usize {
            return Taken::Full;
        }
        self.waiting.push_back(request);
        Taken::Waits
    }

    /// A server is free again; tells which request is next.
    pub(super) fn finish(&mut self, random: &mut Random) -> Option<Begun> {
        let Some(request) = self.waiting.pop_front() else {
            self.busy -= 1;
            return None;
        };
        Some(self.begin(request, random))
    }

    fn begin(&mut self, request: usize, random: &mut Random) -> Begun {
        let takes_ns = self.spec.service.draw_ns(random);
        self.work_ns += takes_ns;
        Begun { request, takes_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;
    use crate::scenario::ServiceTime;

    #[test]
    fn who_finds_no_server_waits_and_who_finds_no_place_is_refused() {
        let mut random = Random::new(1, Purpose::Service(0));
        let mut servers = Servers::new(scenario::Station {
            capacity_rps: 1.0,
            service: ServiceTime::Constant(5.0),
            servers: 1,
            queue: 1,
        });
        let begun = |request| Begun {
            request,
            takes_ns: 5_000_000,
        };
        assert_eq!(servers.take(0, &mut random), Taken::Begins(begun(0)));
        assert_eq!(servers.take(1, &mut random), Taken::Waits);
        assert_eq!(servers.take(2, &mut random), Taken::Full);
        assert_eq!(servers.inside(), 2);
        assert_eq!(servers.finish(&mut random), Some(begun(1)));
        assert_eq!(servers.finish(&mut random), None);
        assert_eq!(servers.inside(), 0);
        assert_eq!(servers.take_work_ns(), 10_000_000);
    }
}
