#!/usr/bin/env bash
# etherparse 0.19.0 (crates.io): `Ipv6FragmentHeader` has "more fragments" at the other end of its byte than RFC 8200, 4.5, says.
# `to_bytes` and the reader agree with each other, so a round trip hides it: what is written is misread by every stack, and a
# captured fragment by the crate.
source "$(dirname "$0")/lib.sh"
crate etherparse 0.19.0 <<'RS'
use etherparse::{IpFragOffset, IpNumber, Ipv6FragmentHeader};
fn main() {
    let header = |offset: u16, more| Ipv6FragmentHeader::new(IpNumber::TCP, IpFragOffset::try_new(offset).unwrap(), more, 7);
    let first = header(0, true).to_bytes();
    let second = header(1, false).to_bytes();
    print!("{:02x}{:02x} {:02x}{:02x}", first[2], first[3], second[2], second[3]);
}
RS
# RFC 8200: thirteen bits of offset, two reserved ones, then the flag: 0001 and 0008.
same "bytes of the first fragment, and of the second one at 8 bytes" "0080 0001" "$("$program")"
