//! Checksums of segments that arrive. What is made of a segment gets a new one, by which nobody could tell any more that the
//! segment was damaged.

use aya_ebpf::bindings::__sk_buff;
use dfaas_common::{http::HELD_BYTES, packet::SYN};

use crate::{
    ctx::{self, Packet},
    maps,
};

/// Whether the segment that was read last was damaged on its way.
///
/// Notes for later whether its checksum is whole. Segments that are longer than anything is made of are left to their
/// readers.
#[inline(always)]
pub(crate) fn is_wrong(packet: &Packet) -> bool {
    packet.ask(|skb| dfaas_is_damaged(skb))
}

/// As [`is_wrong`], but global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_is_damaged(skb: *mut __sk_buff) -> u32 {
    let (Some(seen), Some(scratch)) = (maps::seen(), maps::scratch()) else {
        return 0;
    };
    let packet = Packet::of(skb);
    let headers = &mut seen.headers;
    if packet.is_verified() {
        headers.is_whole = 1;
        return 0;
    }
    let length = u32::from(headers.segment_bytes);
    if length > HELD_BYTES as u32 {
        return 0;
    }
    let at = headers.tcp_offset();
    if packet.read(at, scratch.copy.as_mut_ptr(), length).is_err() {
        return 0;
    }
    if headers.is_right(ctx::sum(&mut scratch.copy, length)) {
        // One that leaves it to hardware may be right by chance, too. Of the two chances, that of a SYN is taken for the
        // rarer: its sender may repeat it byte by byte, where the interface verifies nothing. What follows has the SYN's
        // word for it (`SYN_IS_PARTIAL`).
        headers.is_whole = (headers.flags & SYN != 0).into();
        return 0;
    }
    // Hardware is to finish it, which nothing has damaged before.
    (!headers.looks_partial()).into()
}
