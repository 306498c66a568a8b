//! Connections that our tables have forgotten, and the local stack has not.

use core::mem::zeroed;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock_tuple},
    helpers::{bpf_sk_release, bpf_skc_lookup_tcp},
};

use crate::maps;

/// `TCP_TIME_WAIT`
const TIME_WAIT: u32 = 6;
/// `BPF_F_CURRENT_NETNS`
const CURRENT_NETNS: u64 = u64::MAX;

/// Addresses and ports, in bytes.
const IPV4_BYTES: u32 = 12;
const IPV6_BYTES: u32 = 36;

/// Whether the local stack remembers the connection of the segment that was read last as one that has ended (TIME-WAIT): 1
/// or 0.
///
/// A global function, so that the reference to the socket lives nowhere else.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_has_ended(skb: *mut __sk_buff) -> u32 {
    let Some(seen) = maps::seen() else {
        return 0;
    };
    let headers = &seen.headers;
    // SAFETY: consists of integers.
    let mut tuple: bpf_sock_tuple = unsafe { zeroed() };
    let parts = &mut tuple.__bindgen_anon_1;
    let bytes = if headers.is_ipv6() {
        parts.ipv6.saddr = headers.source.words();
        parts.ipv6.daddr = headers.destination.words();
        parts.ipv6.sport = headers.source_port.raw();
        parts.ipv6.dport = headers.destination_port.raw();
        IPV6_BYTES
    } else {
        parts.ipv4.saddr = headers.source.ipv4_word();
        parts.ipv4.daddr = headers.destination.ipv4_word();
        parts.ipv4.sport = headers.source_port.raw();
        parts.ipv4.dport = headers.destination_port.raw();
        IPV4_BYTES
    };
    // SAFETY: the tuple holds as many bytes; the socket is read before it is given back.
    unsafe {
        let socket = bpf_skc_lookup_tcp(skb.cast(), &raw mut tuple, bytes, CURRENT_NETNS, 0);
        if socket.is_null() {
            return 0;
        }
        let state = (&raw const (*socket).state).read_volatile();
        bpf_sk_release(socket.cast());
        (state == TIME_WAIT).into()
    }
}
