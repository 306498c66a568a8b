//! What nobody wants is dropped before the kernel makes a socket buffer of it.

use dfaas_common::{
    guard,
    packet::{ACK, SYN},
};

use crate::{
    count,
    ctx::{self, Arrival},
    is_ours, maps,
};

/// Whether a packet may come in. What is not for the service port is not judged.
#[inline(always)]
pub(crate) fn admits(arrival: &Arrival) -> bool {
    let (Some(seen), Some(config), Some(guard)) = (maps::seen(), maps::config(), maps::guard()) else {
        return true;
    };
    if !ctx::read_headers(arrival, seen) {
        return true;
    }
    let headers = &seen.headers;
    let is_service = headers.destination_port.raw() == u16::from_ne_bytes(config.port);
    if !is_service || !is_ours(config, headers, &headers.destination) {
        return true;
    }
    if guard.blocked != 0 && maps::is_blocked(&headers.source) {
        count::event(|events| &mut events.guard_blocked);
        return false;
    }
    if guard::are_impossible(headers.flags) {
        count::event(|events| &mut events.guard_flags);
        return false;
    }
    let is_metered = headers.flags & (SYN | ACK) == SYN && !guard.syns.is_unlimited();
    if is_metered && !maps::take_syn(&guard::network(&headers.source), &guard.syns, ctx::now_ns()) {
        count::event(|events| &mut events.guard_syns);
        return false;
    }
    true
}
