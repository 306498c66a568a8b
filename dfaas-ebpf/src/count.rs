//! Counting what happens. A counter that cannot be found is not counted: the packet matters more.

use dfaas_common::{
    decide::{Answer, Origin},
    histogram,
    maps::{Counters, Events, IS_PROXIED, NO_FUNCTION, Pair, Upstream},
};

use crate::{ctx, log, maps};

/// Counts an event.
#[inline(always)]
pub(crate) fn event(count: impl FnOnce(&mut Events) -> &mut u64) {
    if let Some(events) = maps::events() {
        *count(events) += 1;
    }
}

#[inline(always)]
fn request(function: u32, peer: u32, count: impl FnOnce(&mut Counters) -> &mut u64) {
    if let Some(counters) = maps::counters(&Pair { function, peer }) {
        *count(counters) += 1;
    } else {
        event(|events| &mut events.uncounted);
    }
}

/// Counts a request whose server has begun to take it. A request that is taken back from a server is not counted
/// there, so each is counted once.
#[inline(always)]
pub(crate) fn served(upstream: &Upstream) {
    let function = upstream.function;
    if upstream.is(IS_PROXIED) {
        // The proxy may make several of it, and counts them itself.
    } else if upstream.target != 0 {
        request(function, upstream.target, |counters| &mut counters.forwarded);
        log::forwarded(function, upstream.target);
    } else if upstream.origin != 0 {
        request(function, upstream.origin, |counters| &mut counters.admitted);
        log::admitted(function, upstream.origin);
    } else {
        request(function, 0, |counters| &mut counters.local);
        log::local(function);
    }
}

/// Counts a refused request for a function, [`NO_FUNCTION`] if there is none of the name.
#[inline(always)]
pub(crate) fn refused(function: u32, origin: Origin, answer: Answer) {
    let sender = match origin {
        Origin::Peer(peer) => peer,
        Origin::User | Origin::Stranger | Origin::Forged => 0,
    };
    refusal(function, sender, answer);
}

#[inline(always)]
fn refusal(function: u32, sender: u32, answer: Answer) {
    log::refused(function, sender, answer);
    match answer {
        Answer::NotFound if function == NO_FUNCTION => event(|events| &mut events.unknown_function),
        Answer::NotFound => request(function, sender, |counters| &mut counters.not_found),
        Answer::OverLimit => request(function, sender, |counters| &mut counters.over_limit),
        Answer::Unavailable => request(function, sender, |counters| &mut counters.unavailable),
        Answer::Stranger => event(|events| &mut events.stranger),
        Answer::Forged => event(|events| &mut events.forged),
        Answer::Malformed => event(|events| &mut events.malformed),
        Answer::Forbidden => event(|events| &mut events.forbidden),
        Answer::HeadTooLong => event(|events| &mut events.head_too_long),
        Answer::Root => event(|events| &mut events.root),
        Answer::NotAnswered => event(|events| &mut events.unanswered),
        Answer::NotImplemented => event(|events| &mut events.proxy_missing),
    }
}

/// Counts an answer that needed no look at any function.
#[inline(always)]
pub(crate) fn answer(answer: Answer) {
    refusal(NO_FUNCTION, 0, answer);
}

/// Notes the first byte of an answer, once a request.
#[inline(always)]
pub(crate) fn first_byte(upstream: &mut Upstream) {
    if upstream.first_byte_ns != 0 || upstream.is(IS_PROXIED) {
        return;
    }
    let now_ns = ctx::now_ns();
    upstream.first_byte_ns = now_ns;
    let pair = Pair {
        function: upstream.function,
        peer: upstream.target,
    };
    let Some(latency) = maps::latency(&pair) else {
        return event(|events| &mut events.untimed);
    };
    let duration_ns = now_ns.wrapping_sub(upstream.decided_ns);
    latency.sum_ns = latency.sum_ns.wrapping_add(duration_ns);
    if let Some(count) = latency.bins.get_mut(histogram::bin(duration_ns)) {
        *count += 1;
    }
}
