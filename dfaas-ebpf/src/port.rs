//! Source ports of connections to peers.

use dfaas_common::{
    maps::{Config, FlowKey},
    packet::Be16,
};

use crate::{connect, ctx, maps};

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
    let start = ctx::random();
    // Odd, so that it leads to all ports: neighbours of one in use are more likely to be in use than others.
    let step = (start >> 16) | 1;
    let mut tries = 0;
    while tries < TRIES {
        let port = Be16::new(
            config.nat_first + (start.wrapping_add(tries.wrapping_mul(step)) as u16 & config.nat_mask),
        );
        scratch.server = FlowKey {
            remote: target.addresses[family as usize & 1],
            remote_port: target.port,
            local_port: port.raw().to_ne_bytes(),
        };
        let isn = sequence_start(config, &scratch.server, scratch.upstream.decided_ns);
        connect::number(isn.wrapping_add(1), 0, scratch);
        if maps::claim_upstream(&scratch.server, &scratch.upstream) {
            return 1;
        }
        tries += 1;
    }
    0
}

/// The initial sequence number of an upstream connection (RFC 9293, section 3.4.1: a clock and a secret), so that a
/// port can be used again while the peer still remembers its last connection.
#[inline(always)]
fn sequence_start(config: &Config, server: &FlowKey, now_ns: u64) -> u32 {
    let [a, b, c, d] = server.remote.words();
    let port = u32::from(u16::from_ne_bytes(server.local_port));
    let tuple = a ^ b.rotate_left(8) ^ c.rotate_left(16) ^ d ^ port.wrapping_mul(0x9e37_79b1);
    let mixed = (tuple ^ config.secret).wrapping_mul(0x85eb_ca6b);
    ((now_ns >> 6) as u32).wrapping_add(mixed ^ (mixed >> 15))
}
