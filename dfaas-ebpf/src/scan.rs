//! The automata as global functions, which the verifier checks once and not at every call (kernel 5.6).
//!
//! Such functions take numbers only; the bytes and the marks are in the scratch space.

use dfaas_common::{
    decide::Origin,
    http::{HELD_BYTES, scan_request, scan_response},
    pairing::TokenText,
};

use crate::{ctx::words, maps};

/// Reads the first `length` of the held bytes as a request's head. Returns the automaton's state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_scan_request(length: u32) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return 0;
    };
    scan_request(words(&scratch.held.bytes), length as usize, &mut scratch.marks).into()
}

/// What [`dfaas_sender`] returns instead of an index; 0 is this node.
pub(crate) const STRANGER: u32 = 0;
/// As [`STRANGER`]; no index is as large.
pub(crate) const FORGED: u32 = u32::MAX;

/// The index of the peer whose identity and token are in the scratch space.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_sender() -> u32 {
    let Some(scratch) = maps::scratch() else {
        return STRANGER;
    };
    let Some(peer) = maps::peer(&scratch.peer) else {
        return STRANGER;
    };
    match peer.origin(&TokenText::new(&scratch.token)) {
        Origin::Peer(index) => index,
        Origin::User | Origin::Stranger | Origin::Forged => FORGED,
    }
}

/// Reads the first `length` of the copied bytes as (a part of) a response's head, from a state. Returns the
/// automaton's state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_scan_response(length: u32, from: u32) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return 0;
    };
    let Some(bytes) = scratch.copy.first_chunk::<HELD_BYTES>() else {
        return 0;
    };
    scan_response(words(bytes), length as usize, from as u8, &mut scratch.marks).into()
}

/// Notes in the response in the scratch space what [`dfaas_scan_response`] found in the first `length` of the copied
/// bytes, which it left in this state. Returns how many of them belong to the head.
///
/// On its own, it has registers for its indices: 5.10 forgets the bounds of those that are spilled.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_note_head(length: u32, state: u32) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return 0;
    };
    let Some(bytes) = scratch.copy.first_chunk::<HELD_BYTES>() else {
        return 0;
    };
    scratch
        .response
        .note_head(bytes, length as usize, state as u8, &scratch.marks)
}

/// Follows the response in the scratch space through the first `length` bytes of the chunk's line there. Returns how
/// many of them belong to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_follow_chunk_line(length: u32) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return 0;
    };
    scratch.response.follow_chunk_line(&scratch.line, length as usize)
}
