//! Where chunked responses end: here and according to httparse.

use proptest::{collection::vec, prelude::*};
use std::{format, string::String, vec::Vec};

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
/// What follows a response must not be taken for a part of it.
const NEXT: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n0\r\n\r\n";

/// What is known of a message's end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It is the whole of so many bytes.
    At(usize),
    /// It has not come yet.
    Awaited,
    /// This is no message that has one.
    Nowhere,
}

proptest! {
    #[test]
    fn chunked_responses_end_where_they_end_for_httparse(
        chunks in vec(chunk(), 0..6),
        trailers in vec(trailer(), 0..3),
        parts in vec(1usize..60, 1..8),
        cut in 0usize..2_000,
    ) {
        let response = response(&chunks, &trailers);
        let mut bytes = response.clone();
        bytes.extend_from_slice(NEXT);
        prop_assert_eq!(of_httparse(&bytes), End::At(response.len()));
        prop_assert_eq!(ours(&bytes, &parts), End::At(response.len()));
        let cut = cut % response.len();
        prop_assert_eq!(ours(&response[..cut], &parts), End::Awaited);
    }

    #[test]
    fn no_damage_makes_another_end_of_it(
        chunks in vec(chunk(), 1..4),
        trailers in vec(trailer(), 0..2),
        parts in vec(1usize..60, 1..8),
        damage in vec((any::<prop::sample::Index>(), "[\r\n0a;: G\0-]"), 1..4),
    ) {
        let mut bytes = response(&chunks, &trailers);
        for (place, byte) in damage {
            let place = HEAD.len() + place.index(bytes.len() - HEAD.len());
            bytes[place] = byte.as_bytes()[0];
        }
        bytes.extend_from_slice(NEXT);
        // A client that takes no such message ends the connection; any other has to agree with us.
        match (of_httparse(&bytes), ours(&bytes, &parts)) {
            (End::Nowhere, _) | (_, End::Nowhere) => {}
            (theirs, ours) => prop_assert_eq!(theirs, ours, "{:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

fn chunk() -> impl Strategy<Value = (Vec<u8>, String)> {
    let line = ("0{0,3}", "(;[a-z]{1,4}(=[a-z0-9]{1,20})?){0,2}", any::<bool>());
    (vec(any::<u8>(), 1..100), line).prop_map(|(data, (zeros, extension, is_upper))| {
        let size = if is_upper {
            format!("{zeros}{:X}{extension}", data.len())
        } else {
            format!("{zeros}{:x}{extension}", data.len())
        };
        (data, size)
    })
}

fn trailer() -> impl Strategy<Value = String> {
    "[A-Za-z-]{1,20}: ?[ -~]{0,30}"
}

fn response(chunks: &[(Vec<u8>, String)], trailers: &[String]) -> Vec<u8> {
    let mut bytes = Vec::from(HEAD);
    for (data, line) in chunks {
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n");
    for trailer in trailers {
        bytes.extend_from_slice(trailer.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Follows a response in parts of these lengths, again and again.
fn ours(bytes: &[u8], parts: &[usize]) -> End {
    let mut response = Response::default();
    response.begin(false);
    let mut at = 0;
    for part in parts.iter().cycle() {
        let segment_end = bytes.len().min(at + part);
        while at < segment_end {
            at += follow(&mut response, &bytes[at..segment_end]) as usize;
            match response.stage() {
                Stage::Idle => return End::At(at),
                Stage::Endless | Stage::Unknown => return End::Nowhere,
                Stage::Head | Stage::Length | Stage::ChunkLine | Stage::ChunkData => {}
            }
        }
        if at == bytes.len() {
            break;
        }
    }
    End::Awaited
}

/// Follows a response by one step. Returns how many bytes that took.
pub(super) fn follow(response: &mut Response, rest: &[u8]) -> u32 {
    match response.stage() {
        Stage::Head => {
            let mut buffer = [0xaa; HELD_BYTES];
            buffer[..rest.len()].copy_from_slice(rest);
            response.follow_head(&buffer, rest.len(), &mut Marks([7; STATES]))
        }
        Stage::Length | Stage::ChunkData => response.follow_body(rest.len() as u32),
        Stage::ChunkLine => {
            let length = rest.len().min(CHUNK_LINE_BYTES);
            let mut line = ChunkLine::default();
            line.0[..length].copy_from_slice(&rest[..length]);
            response.follow_chunk_line(&line, length)
        }
        Stage::Idle | Stage::Endless | Stage::Unknown => rest.len() as u32,
    }
}

fn of_httparse(bytes: &[u8]) -> End {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut at = HEAD.len();
    loop {
        let (used, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return End::Awaited,
            Err(_) => return End::Nowhere,
        };
        at += used;
        if size == 0 {
            break;
        }
        at += size as usize;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return End::Nowhere,
            None => return End::Awaited,
        }
    }
    match httparse::parse_headers(&bytes[at..], &mut fields) {
        Ok(httparse::Status::Complete((used, _))) => End::At(at + used),
        Ok(httparse::Status::Partial) => End::Awaited,
        Err(_) => End::Nowhere,
    }
}
