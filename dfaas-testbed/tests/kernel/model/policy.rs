//! What the node of a model knows: functions, peers, and limits whose tokens can be counted.

use dfaas_common::{
    maps::{DATA_IN_SYN_LOCAL, FALLBACKS, Function, Pair, STAMP_BYTES, Stamp, TARGET_DATA_IN_SYN, Target},
    meter::Limit,
    packet::Address,
    pick::{SELF, SLOTS, fallbacks, fill},
};
use dfaas_model::{
    node::{PORT, peer},
    script::Script,
};

use crate::bench::Bench;

pub(super) const HERE: u32 = 0;
pub(super) const AWAY: u32 = 1;
pub(super) const SHARED: u32 = 2;
pub(super) const FULL: u32 = 3;
/// The buckets of these functions, without limit and with one.
pub(super) const BUCKETS: [u32; 3] = [1, 2, 3];
/// What a token counts for: so much that the time which a run really takes gives none back.
pub(super) const INTERVAL: u64 = 1_000_000_000_000_000;
/// So many tokens of the function that is served here in part.
const SHARED_TOKENS: u64 = 2;

/// A limit of so many tokens.
fn limit(bucket: u32, tokens: u64) -> Limit {
    Limit {
        interval_ns: INTERVAL,
        tolerance_ns: (tokens - 1) * INTERVAL,
        bucket,
        reserved: 0,
    }
}

/// Has a node know what a script needs. Bit 0 of the seed says whether requests travel in SYNs to the local server, bit
/// 1 whether to peers, bit 2 whether SYNs with data to peers were lost just before.
pub(super) fn write(bench: &mut Bench, script: &Script) {
    let early = [script.seed & 1 == 0, script.seed & 2 == 0];
    bench.set_flags(|flags| {
        if early[0] {
            flags | DATA_IN_SYN_LOCAL
        } else {
            flags & !DATA_IN_SYN_LOCAL
        }
    });
    let flags = if early[1] { TARGET_DATA_IN_SYN } else { 0 };
    let weights: Vec<(u16, f64)> = (1..=script.peers).map(|index| (index.into(), 1.0)).collect();
    for index in 1..=script.peers {
        write_peer(bench, index, flags);
        bench.set_data_lost(index.into(), u32::from(script.seed & 4 != 0));
    }
    let peers = (fill(&weights), fallbacks(&weights));
    let nobody = ([SELF; SLOTS], [SELF; FALLBACKS]);
    let here = limit(BUCKETS[0], 10_000);
    let shared = limit(BUCKETS[1], SHARED_TOKENS);
    for (id, name, local, (slots, fallbacks)) in [
        (HERE, "here", here, nobody),
        (AWAY, "away", Limit::NONE, peers),
        (SHARED, "shared", shared, peers),
        (FULL, "full", Limit::NONE, nobody),
    ] {
        let function = Function {
            id,
            hosted: 1,
            local,
            slots,
            fallbacks,
        };
        bench.set_function(name, function);
    }
}

fn write_peer(bench: &mut Bench, index: u8, flags: u32) {
    let target = Target {
        addresses: [Address::from_ipv4(peer(index)), Address::default()],
        port: PORT.to_be_bytes(),
        reserved: 0,
        flags,
    };
    let text = format!("DFaaS-Node-ID: 12D3KooWSelf\r\nDFaaS-Node-Token: {index:032x}\r\n");
    let mut stamp = Stamp {
        length: u32::try_from(text.len()).unwrap(),
        reserved: 0,
        bytes: [0; STAMP_BYTES],
    };
    stamp.bytes[..text.len()].copy_from_slice(text.as_bytes());
    bench.set_target(index.into(), target, stamp);
    for function in [AWAY, SHARED] {
        let pair = Pair {
            function,
            peer: index.into(),
        };
        bench.set_cap(pair, limit(BUCKETS[2], 10_000));
    }
}

/// Gives all buckets their tokens back, at this time of the kernel's clock.
pub(super) fn refill(bench: &mut Bench, now_ns: u64) -> u64 {
    let start = now_ns + INTERVAL / 1_000;
    for bucket in BUCKETS {
        bench.fill_bucket(bucket, start);
    }
    start
}
