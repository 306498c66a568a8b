//! The tokens that a decision takes: of this node's capacity, of what peers may send, and of what they may be sent.

use dfaas_common::{
    decide::Meter,
    maps::{Config, Function, Pair},
    pick::slot,
};

use crate::maps;

/// The tokens of this moment. There are none of peers while no agent answers for what is agreed with them.
pub(crate) struct Tokens<'a> {
    config: &'a Config,
    now_ns: u64,
}

impl<'a> Tokens<'a> {
    #[inline(always)]
    pub(crate) fn new(config: &'a Config, now_ns: u64) -> Self {
        Self { config, now_ns }
    }
}

impl Meter for Tokens<'_> {
    #[inline(always)]
    fn take_local(&mut self, function: &Function) -> bool {
        maps::take(&function.local, self.now_ns)
    }

    #[inline(always)]
    fn take_admission(&mut self, function: &Function, peer: u32) -> bool {
        if !self.config.is_attended(self.now_ns) {
            return false;
        }
        let limit = maps::admission(&Pair {
            function: function.id,
            peer,
        });
        limit.is_some_and(|limit| maps::take(limit, self.now_ns))
    }

    #[inline(always)]
    fn draw(&mut self, function: &Function) -> u32 {
        function.slots[slot(maps::next_draw(function.id))].into()
    }

    #[inline(always)]
    fn take_cap(&mut self, function: &Function, index: u32) -> bool {
        if !self.config.is_attended(self.now_ns) {
            return false;
        }
        let limit = maps::cap(&Pair {
            function: function.id,
            peer: index,
        });
        limit.is_some_and(|limit| maps::take(limit, self.now_ns))
    }
}
