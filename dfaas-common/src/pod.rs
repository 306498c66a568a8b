//! Tells aya that every key and value may be copied to and from the kernel as bytes.

use crate::guard::Guard;
use crate::maps::{
    Client, Config, Counters, Events, FlowKey, Function, FunctionKey, Held, Latency, Locked, Name, Number,
    Opening, Pair, Peer, PeerKey, Reply, Stamp, Target, Upstream,
};
use crate::meter::Limit;
use crate::packet::Address;

macro_rules! pod {
    ($($name:ty,)*) => {
        $(
            // SAFETY: `repr(C)`, integers and arrays of them only, no padding (sizes are asserted beside the types).
            unsafe impl aya::Pod for $name {}
        )*
    };
}

pod! {
    Address,
    Client,
    Config,
    Counters,
    Events,
    FlowKey,
    Function,
    FunctionKey,
    Guard,
    Held,
    Latency,
    Limit,
    Locked<Client>,
    Locked<u64>,
    Locked<Upstream>,
    Name,
    Number,
    Opening,
    Pair,
    Peer,
    PeerKey,
    Reply,
    Stamp,
    Target,
    Upstream,
}
