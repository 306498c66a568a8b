//! Requests and answers as bytes, made of a script; each byte can be told from any other request's.

use std::fmt::Write as _;

use crate::script::{Answer, Framing, Function, Manner, Method, Request};

/// What a node writes into a request that it sends to a peer.
pub const STAMP_FIELD: &str = "DFaaS-Node-ID";

/// The line that each request has: its number.
const ID_FIELD: &str = "X-Id: ";

/// The bytes of a request.
#[must_use]
pub fn request(request: &Request) -> Vec<u8> {
    let mut bytes = request_head(request).into_bytes();
    bytes.extend(body(request.id, b'a', request.body_bytes));
    bytes
}

/// The head of a request.
#[must_use]
pub fn request_head(request: &Request) -> String {
    let method = match request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
    };
    let path = match request.function {
        Function::Here => "/function/here",
        Function::Away => "/function/away",
        Function::Shared => "/function/shared",
        Function::Unknown => "/function/unknown",
        Function::Full => "/function/full",
        Function::Outside => "/system/functions",
    };
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: n\r\n{ID_FIELD}{}\r\n",
        request.id
    );
    if request.body_bytes > 0 || request.method == Method::Post {
        let _ = write!(head, "Content-Length: {}\r\n", request.body_bytes);
    }
    if request.says_close {
        head.push_str("Connection: close\r\n");
    }
    pad(&mut head, request.head_bytes);
    head
}

/// Ends a head so that it has a length.
fn pad(head: &mut String, length: usize) {
    let pad = "X-Pad: ";
    let rest = length.saturating_sub(head.len() + 2);
    if rest > pad.len() + 2 {
        head.push_str(pad);
        head.extend(std::iter::repeat_n('p', rest - pad.len() - 2));
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
}

/// The body of a request or an answer.
pub fn body(id: u32, first: u8, length: usize) -> impl Iterator<Item = u8> {
    (0..length).map(move |at| first + ((at + id as usize * 7) % 26) as u8)
}

/// The number of the request whose head this is.
#[must_use]
pub fn id_of(head: &str) -> Option<u32> {
    let (_, rest) = head.split_once(ID_FIELD)?;
    rest.split_once('\r')?.0.parse().ok()
}

/// Where the first head ends in these bytes.
#[must_use]
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(at + 4)
}

/// The answer to a request, in the parts in which it is written.
#[must_use]
pub fn answer(request: &Request) -> Vec<Vec<u8>> {
    let answer = &request.answer;
    let mut bytes = Vec::new();
    if answer.has_interim {
        bytes.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n");
    }
    bytes.extend(answer_head(request).into_bytes());
    if request.method != Method::Head || answer.has_wrong_body {
        answer_body(request, &mut bytes);
    }
    if answer.manner == Manner::BreakOff {
        bytes.truncate(bytes.len() / 2 + 1);
    }
    let parts = usize::from(answer.writes.max(1));
    let size = bytes.len().div_ceil(parts).max(1);
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

fn answer_head(request: &Request) -> String {
    let answer = &request.answer;
    let status = if answer.manner == Manner::Refuse {
        "503 Service Unavailable\r\nDFaaS-Refused: 1"
    } else {
        "200 OK"
    };
    let mut head = format!("HTTP/1.1 {status}\r\n{ID_FIELD}{}\r\n", request.id);
    match answer.framing {
        Framing::Length => {
            let _ = write!(head, "Content-Length: {}\r\n", answer.body_bytes);
        }
        Framing::Chunks(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::End => {}
    }
    if answer.says_close {
        head.push_str("Connection: close\r\n");
    }
    pad(&mut head, answer.head_bytes);
    head
}

fn answer_body(request: &Request, bytes: &mut Vec<u8>) {
    let Answer {
        framing, body_bytes, ..
    } = request.answer;
    let body: Vec<u8> = body(request.id, b'A', body_bytes).collect();
    let Framing::Chunks(size) = framing else {
        bytes.extend(body);
        return;
    };
    for chunk in body.chunks(size.max(1)) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
}

/// An answer as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its status code.
    pub status: u16,
    /// The number of the request that it says it answers.
    pub id: Option<u32>,
    /// Its body without any framing.
    pub body: Vec<u8>,
    /// How many bytes it took.
    pub length: usize,
    /// Whether it says that the connection ends.
    pub says_close: bool,
}

/// Reads the first answer that is not interim: nothing if it is not whole yet.
///
/// # Errors
///
/// What is no answer.
pub fn read_answer(bytes: &[u8], method: Method, has_ended: bool) -> Result<Option<Read>, String> {
    let mut at = 0;
    loop {
        let Some(length) = head_end(&bytes[at..]) else {
            return check_start(&bytes[at..]).map(|()| None);
        };
        let head = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
        let status = status_of(&head)?;
        at += length;
        if status >= 200 {
            return read_body(bytes, at, &head, status, method, has_ended);
        }
    }
}

fn check_start(bytes: &[u8]) -> Result<(), String> {
    let start = b"HTTP/1.1 ";
    let known = bytes.len().min(start.len());
    if bytes[..known] == start[..known] {
        return Ok(());
    }
    Err(format!(
        "no answer: {}",
        bytes[..bytes.len().min(60)].escape_ascii()
    ))
}

fn status_of(head: &str) -> Result<u16, String> {
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| format!("no answer: {}", head[..head.len().min(60)].escape_debug()))
}

fn read_body(
    bytes: &[u8],
    at: usize,
    head: &str,
    status: u16,
    method: Method,
    has_ended: bool,
) -> Result<Option<Read>, String> {
    let field = |name: &str| {
        let rest = head.split_once(name)?.1;
        Some(rest.split_once('\r')?.0)
    };
    let id = id_of(head);
    // The data plane's own answers have a body in any case.
    let (body, end) = if method == Method::Head && id.is_some() {
        (Vec::new(), at)
    } else if head.contains("Transfer-Encoding: chunked") {
        match read_chunks(&bytes[at..])? {
            Some((body, length)) => (body, at + length),
            None => return Ok(None),
        }
    } else if let Some(length) = field("Content-Length: ").and_then(|text| text.parse::<usize>().ok()) {
        if bytes.len() < at + length {
            return Ok(None);
        }
        (bytes[at..at + length].to_vec(), at + length)
    } else if has_ended {
        (bytes[at..].to_vec(), bytes.len())
    } else {
        return Ok(None);
    };
    Ok(Some(Read {
        status,
        id,
        body,
        length: end,
        says_close: head.contains("Connection: close"),
    }))
}

fn read_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|window| window == b"\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let size = usize::from_str_radix(&text, 16).map_err(|_| format!("no chunk: {text:?}"))?;
        at += line + 2;
        if bytes.len() < at + size + 2 {
            return Ok(None);
        }
        body.extend_from_slice(&bytes[at..at + size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::generate::script;

    use super::*;

    #[test]
    fn answers_are_read_as_they_were_made() {
        for seed in 0..200 {
            for request in script(seed).requests() {
                let answer = &request.answer;
                if answer.manner != Manner::Answer || answer.has_wrong_body {
                    continue;
                }
                let bytes = super::answer(request).concat();
                let read = read_answer(&bytes, request.method, true).unwrap().unwrap();
                assert_eq!(
                    (read.status, read.id, read.length),
                    (200, Some(request.id), bytes.len())
                );
                for end in 0..bytes.len() {
                    let early = read_answer(&bytes[..end], request.method, false).unwrap();
                    assert_eq!(early, None, "{end} of {} bytes", bytes.len());
                }
            }
        }
    }
}
