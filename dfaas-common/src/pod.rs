//! Tells aya that every key and value may be copied to and from the kernel as bytes.

use crate::maps::{
    Bucket, Config, Counters, Events, Flow, FlowKey, Function, FunctionKey, Held, Latency, Opening, Pair,
    Peer, PeerKey, Reply, Stamp, Target,
};
use crate::meter::Limit;

macro_rules! pod {
    ($($name:ident,)*) => {
        $(
            // SAFETY: `repr(C)`, integers and arrays of them only, no padding (sizes are asserted beside the types).
            unsafe impl aya::Pod for $name {}
        )*
    };
}

pod! {
    Bucket,
    Config,
    Counters,
    Events,
    Flow,
    FlowKey,
    Function,
    FunctionKey,
    Held,
    Latency,
    Limit,
    Opening,
    Pair,
    Peer,
    PeerKey,
    Reply,
    Stamp,
    Target,
}
