//! A server's segment, followed to its end.

use aya_ebpf::bindings::__sk_buff;
use dfaas_common::http::{CHUNK_LINE_BYTES, HELD_BYTES, Stage};

use crate::{
    ctx::{HelperFailed, Packet},
    maps::{self, Scratch},
    scan,
};

/// The most steps in one segment. The stack gives us up to 64 kB at once, and a step takes a chunk, or a piece of a head.
const STEPS_MAX: u32 = 2_048;

/// Follows the response in the scratch space from where it has got to in a segment of so many bytes, which begin at an
/// offset in the packet. Returns whether a helper failed.
///
/// Global functions: the verifier looks at a step once, and not for each of a loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_follow(skb: *mut __sk_buff, at: u32, length: u32) -> u32 {
    let mut step = 0;
    while step < STEPS_MAX {
        step += 1;
        let result = dfaas_follow_step(skb, at, length);
        if result != MORE {
            return result;
        }
    }
    DONE
}

/// There is nothing (more) to follow.
const DONE: u32 = 0;
const FAILED: u32 = 1;
/// There may be more.
const MORE: u32 = 2;

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_follow_step(skb: *mut __sk_buff, at: u32, length: u32) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return FAILED;
    };
    match follow_step(&Packet::of(skb), at, length, scratch) {
        Ok(true) => MORE,
        Ok(false) => DONE,
        Err(HelperFailed) => FAILED,
    }
}

/// Follows a piece of a head, a part of a body, or a chunk with the line before it. Returns whether there was one.
#[inline(always)]
fn follow_step(packet: &Packet, at: u32, length: u32, scratch: &mut Scratch) -> Result<bool, HelperFailed> {
    if scratch.offset >= length {
        return Ok(false);
    }
    let rest = length - scratch.offset;
    let stage = scratch.response.stage;
    if stage == Stage::Head as u8 {
        let part = rest.min(HELD_BYTES as u32);
        packet.read(at + scratch.offset, scratch.copy.as_mut_ptr(), part)?;
        let state = scan::dfaas_scan_response(part, scratch.response.state.into());
        scratch.offset += scan::dfaas_note_head(part, state);
        return Ok(true);
    }
    if stage == Stage::ChunkLine as u8 {
        let part = rest.min(CHUNK_LINE_BYTES as u32);
        packet.read_line(at + scratch.offset, &mut scratch.line, part)?;
        scratch.offset += scan::dfaas_follow_chunk_line(part);
    }
    let is_line = stage == Stage::ChunkLine as u8;
    let stage = scratch.response.stage;
    if stage != Stage::Length as u8 && stage != Stage::ChunkData as u8 {
        return Ok(is_line);
    }
    if scratch.offset < length {
        scratch.offset += scratch.response.follow_body(length - scratch.offset);
    }
    Ok(true)
}
