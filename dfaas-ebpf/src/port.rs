//! Source ports of connections to peers.

use dfaas_common::{maps::FlowKey, packet::Be16, siphash::Purpose};

use crate::{connect, maps, secret};

/// How many are tried before a request is refused: where nine of ten are in use, one request in thirty finds none.
const TRIES: u32 = 32;

/// Claims a free port for a connection to the target of the request that is in the scratch space, by inserting its entry
/// under it, and leaves its key there. Returns 1, or 0 where none of those that were tried is free.
///
/// A global function: the verifier looks at what follows once, and not once for each port.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_claim(family: u32) -> u32 {
    let (Some(scratch), Some(config)) = (maps::scratch(), maps::config()) else {
        return 0;
    };
    let Some(target) = maps::target(scratch.upstream.target) else {
        return 0;
    };
    let now_ns = scratch.upstream.decided_ns;
    let server = FlowKey {
        remote: target.addresses[family as usize & 1],
        remote_port: target.port,
        local_port: [0; 2],
    };
    // RFC 6056, section 3.3.1, with a keyed hash of the time for the random number.
    let start = secret::hash(&server, Purpose::Port, now_ns) as u32;
    // Odd, so that it leads to all ports: neighbours of one in use are more likely to be in use than others.
    let step = (start >> 16) | 1;
    let mut tries = 0;
    while tries < TRIES {
        let port = Be16::new(
            config.nat_first + (start.wrapping_add(tries.wrapping_mul(step)) as u16 & config.nat_mask),
        );
        scratch.server = FlowKey {
            local_port: port.raw().to_ne_bytes(),
            ..server
        };
        // A port can be used again while the peer still remembers its last connection: later numbers are larger.
        let isn = secret::sequence_start(&scratch.server, Purpose::TowardsServer, now_ns);
        connect::number(isn.wrapping_add(1), 0, scratch);
        if maps::claim_upstream(&scratch.server, &scratch.upstream) {
            return 1;
        }
        tries += 1;
    }
    0
}
