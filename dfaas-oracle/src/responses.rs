//! Where responses end: here and according to hyper.

use dfaas_common::http::{CHUNK_LINE_BYTES, ChunkLine, HELD_BYTES, Marks, Response, STATES, Stage};

use crate::hyper_client::{FIELDS_MAX, Received, receive};

/// What is known of a response's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is the whole of so many bytes.
    At(usize),
    /// It has not come yet.
    Awaited,
    /// The connection's end is the response's end, or nothing is.
    Nowhere,
}

/// Why we know of no end where hyper knows one. There is no other reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stricter {
    /// 101: what follows is another protocol; hyper ends the response here.
    Switching,
    /// A line of the head that ends without a carriage return (RFC 9112, section 2.2).
    BareLineFeed,
    /// A coding other than exactly `chunked`.
    Coding,
    /// A length that is told twice, in a list, or in more digits than we read where they come in two segments.
    Length,
    /// A control byte in a chunk's extension (RFC 9112, section 7.1.1) or in a trailer.
    ControlByte,
}

/// Follows a response in parts of these lengths, again and again.
#[must_use]
pub fn follow(bytes: &[u8], wants_no_body: bool, parts: &[usize]) -> End {
    let mut response = Response::default();
    response.begin(wants_no_body);
    let mut at = 0;
    for part in parts.iter().cycle() {
        let segment_end = bytes.len().min(at + (*part).clamp(1, HELD_BYTES));
        while at < segment_end {
            at += step(&mut response, &bytes[at..segment_end]);
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
fn step(response: &mut Response, rest: &[u8]) -> usize {
    let used = match response.stage() {
        Stage::Head => {
            let mut buffer = [0xaa; HELD_BYTES];
            buffer[..rest.len()].copy_from_slice(rest);
            // What was in the marks before must not count.
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
    };
    used as usize
}

/// Follows a response and asks hyper about it. Returns where it ends.
///
/// # Panics
///
/// If they disagree in another way than [`Stricter`] says.
pub fn check(bytes: &[u8], wants_no_body: bool, parts: &[usize]) -> End {
    let end = follow(bytes, wants_no_body, parts);
    let method = if wants_no_body { "HEAD" } else { "GET" };
    let said = || format!("{method} {}: {end:?} in parts of {parts:?}", bytes.escape_ascii());
    match end {
        End::At(length) => {
            let whole = receive(&bytes[..length], method);
            assert!(matches!(whole, Received::Whole(_)), "{whole:?} {}", said());
            let short = receive(&bytes[..length - 1], method);
            assert_eq!(short, Received::Awaited, "one byte earlier: {}", said());
        }
        End::Awaited => {
            let received = receive(bytes, method);
            assert!(!matches!(received, Received::Whole(_)), "{received:?} {}", said());
        }
        End::Nowhere => {
            if let Received::Whole(_) = receive(bytes, method) {
                assert!(stricter(bytes).is_some(), "{}", said());
            }
        }
    }
    end
}

/// Why we do not know the end of these bytes, if there is a reason.
fn stricter(bytes: &[u8]) -> Option<Stricter> {
    let mut fields = vec![httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut at = 0;
    loop {
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = response.parse(&bytes[at..]) else {
            return None;
        };
        let head = &bytes[at..at + length];
        at += length;
        if has_bare_line_feed(head) {
            return Some(Stricter::BareLineFeed);
        }
        match response.code {
            Some(101) => return Some(Stricter::Switching),
            Some(100..200) => {}
            Some(_) | None => return of_fields(response.headers, &bytes[at..]),
        }
    }
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    let is_bare = |at: usize| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r');
    head.starts_with(b"\r") || (0..head.len()).any(is_bare)
}

fn of_fields(fields: &[httparse::Header<'_>], body: &[u8]) -> Option<Stricter> {
    let values = |name: &str| -> Vec<&[u8]> {
        let named = fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value.trim_ascii()).collect()
    };
    let codings = values("transfer-encoding");
    let lengths = values("content-length");
    if codings
        .iter()
        .any(|coding| !coding.eq_ignore_ascii_case(b"chunked"))
    {
        Some(Stricter::Coding)
    } else if lengths.len() > 1 || lengths.iter().any(|digits| !is_short_number(digits)) {
        Some(Stricter::Length)
    } else if codings.is_empty() {
        None
    } else {
        of_chunks(body)
    }
}

/// Looks for what no chunk's line and no trailer may hold.
fn of_chunks(body: &[u8]) -> Option<Stricter> {
    let mut at = 0;
    while let Ok(httparse::Status::Complete((used, size))) = httparse::parse_chunk_size(&body[at..]) {
        let line = &body[at..at + used - 2];
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Some(Stricter::ControlByte);
        }
        at += used;
        if size == 0 {
            break;
        }
        at += usize::try_from(size).ok()? + 2;
        if at > body.len() {
            return None;
        }
    }
    has_bare_line_feed(&body[at..]).then_some(Stricter::BareLineFeed)
}

fn is_short_number(digits: &[u8]) -> bool {
    digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit)
}
