//! Heads that came in parts: who acknowledges bytes is responsible for them (RFC 9293, section 3.8.1), so their server gets
//! them again from here.

use dfaas_common::{
    http::HELD_BYTES,
    maps::{Client, FlowKey, Held},
    numbering::Numbering,
    packet::{Address, Headers},
};

use crate::{
    Fault,
    client::send_data,
    ctx::{Packet, forgotten, masked},
    maps::{self, Scratch},
};

/// The bytes of the client's current request as its server is to get them, if they are still held.
#[inline(always)]
fn whole(key: &FlowKey, client: &Client) -> Option<&'static Held> {
    let length = client
        .first_bytes
        .wrapping_add(client.numbering.stamp_bytes.into());
    let held: &Held = maps::held(key)?;
    (held.at == client.numbering.client && held.length >= length).then_some(held)
}

/// Makes a segment that a client sends again the whole head, of which the client sends no more than the last part. Nothing if
/// the head is no longer held.
#[inline(always)]
pub(crate) fn replay(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    client: &Client,
    scratch: &mut Scratch,
) -> Result<Option<i32>, Fault> {
    let Some(held) = whole(key, client) else {
        return Ok(None);
    };
    send_data(packet, headers, client, held, scratch).map(Some)
}

/// Has what is held be again what the client's connection has acknowledged of its request, without a stamp.
#[inline(never)]
pub(crate) fn take_back(key: &FlowKey, client: &Client) {
    let Numbering {
        stamp_at,
        stamp_bytes,
        ..
    } = client.numbering;
    let [a, b, c, d] = key.remote.words();
    let remote = [
        u64::from(a) | u64::from(b) << 32,
        u64::from(c) | u64::from(d) << 32,
    ];
    let ports =
        u32::from(u16::from_ne_bytes(key.remote_port)) | u32::from(u16::from_ne_bytes(key.local_port)) << 16;
    let stamp = u32::from(stamp_at) | u32::from(stamp_bytes) << 16;
    dfaas_unstamp(remote[0], remote[1], ports, client.asking.held, stamp);
}

/// Takes the stamp, whose place is in the lower half of `stamp` and whose length in the upper, out of the held bytes of the
/// connection with this remote end, and keeps the first `length` of them.
///
/// A global function: the verifier looks at the loop once, and not at every call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_unstamp(high: u64, low: u64, ports: u32, length: u32, stamp: u32) -> u32 {
    let key = FlowKey {
        remote: Address::from_words([high as u32, (high >> 32) as u32, low as u32, (low >> 32) as u32]),
        remote_port: (ports as u16).to_ne_bytes(),
        local_port: ((ports >> 16) as u16).to_ne_bytes(),
    };
    let (Some(held), Some(scratch)) = (maps::held(&key), maps::scratch()) else {
        return 0;
    };
    if held.length <= length {
        return 0;
    }
    // In the scratch space, so that the verifier forgets what it knows of it: else every step is a path of its own.
    scratch.offset = stamp & 0xffff;
    scratch.held.length = stamp >> 16;
    let mut steps = 0;
    while steps < HELD_BYTES {
        steps += 1;
        let to = forgotten(&scratch.offset);
        let from = masked::<2047>((forgotten(&scratch.held.length) + to).into()) as usize;
        let to = masked::<2047>(to.into()) as usize;
        if to >= HELD_BYTES || from >= HELD_BYTES {
            break;
        }
        held.bytes[to] = held.bytes[from];
        scratch.offset = to as u32 + 1;
    }
    held.length = length;
    1
}
