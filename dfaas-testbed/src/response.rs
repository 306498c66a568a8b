//! Responses as they stand on the wire, for a client that takes nothing on trust (RFC 9112).

use anyhow::{Context as _, Result, anyhow, ensure};

/// The end of a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A whole response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// Its status code.
    pub status: u16,
    /// Its status line and header fields, as sent.
    pub head: String,
    /// Its body, without the framing of chunks.
    pub body: Vec<u8>,
    /// Whether nothing can follow it on its connection.
    pub is_last: bool,
}

/// How a body's end is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    Length(usize),
    Chunks,
    UntilEnd,
}

impl Response {
    /// Reads the first response in what came for a request with this method, and tells how many bytes it has.
    /// There is none yet where more bytes are needed.
    ///
    /// # Errors
    ///
    /// When these bytes are no response, or where its body ends is not clear.
    pub fn read(bytes: &[u8], method: &str) -> Result<Option<(Self, usize)>> {
        let Some((response, framing, body)) = head_of(bytes, method)? else {
            return Ok(None);
        };
        let whole = match framing {
            Framing::Length(length) => body.get(..length).map(|body| (body.to_vec(), length)),
            Framing::Chunks => chunks(body)?,
            Framing::UntilEnd => None,
        };
        let head_bytes = bytes.len() - body.len();
        Ok(whole.map(|(body, length)| (Self { body, ..response }, head_bytes + length)))
    }

    /// As [`Response::read`], where no more bytes will come.
    ///
    /// # Errors
    ///
    /// When these bytes are no response or only a part of one.
    pub fn read_last(bytes: &[u8], method: &str) -> Result<(Self, usize)> {
        if let Some(whole) = Self::read(bytes, method)? {
            return Ok(whole);
        }
        let cut = || anyhow!("cut off: {}", bytes.escape_ascii());
        match head_of(bytes, method)? {
            Some((response, Framing::UntilEnd, body)) => Ok((
                Self {
                    body: body.to_vec(),
                    ..response
                },
                bytes.len(),
            )),
            Some((_, Framing::Length(_) | Framing::Chunks, _)) | None => Err(cut()),
        }
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The node whose platform answered, where a platform did.
    pub fn served_by(&self) -> Option<&str> {
        self.header("x-served-by")
    }

    /// Whether another response to the same request follows (RFC 9110, section 15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }
}

fn head_of<'a>(bytes: &'a [u8], method: &str) -> Result<Option<(Response, Framing, &'a [u8])>> {
    let Some(end) = find(bytes, HEAD_END) else {
        let start = &bytes[..bytes.len().min(9)];
        ensure!(
            b"HTTP/1.1 ".starts_with(start) || b"HTTP/1.0 ".starts_with(start),
            "no response: {}",
            bytes.escape_ascii()
        );
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("the head is no text")?;
    ensure!(
        head.split("\r\n").all(|line| !line.contains(['\r', '\n', '\0'])),
        "a bare line end in {head:?}"
    );
    let status = status_of(head)?;
    let framing = framing_of(head, status, method)?;
    let closes = field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let keeps = field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive"));
    let response = Response {
        status,
        head: head.to_owned(),
        body: Vec::new(),
        is_last: closes || framing == Framing::UntilEnd || (head.starts_with("HTTP/1.0") && !keeps),
    };
    Ok(Some((response, framing, &bytes[end + HEAD_END.len()..])))
}

fn status_of(head: &str) -> Result<u16> {
    let line = head.lines().next().unwrap_or_default();
    let code = line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| line.strip_prefix("HTTP/1.0 "));
    let code = code.and_then(|rest| rest.get(..3)?.parse().ok());
    code.filter(|code| (100..600).contains(code))
        .ok_or_else(|| anyhow!("no status line: {line:?}"))
}

/// RFC 9112, section 6.3.
fn framing_of(head: &str, status: u16, method: &str) -> Result<Framing> {
    let lengths: Vec<&str> = fields(head, "content-length").collect();
    let codings: Vec<&str> = fields(head, "transfer-encoding").collect();
    ensure!(
        lengths.len() + codings.len() <= 1,
        "the body's end is told twice: {head:?}"
    );
    if method == "HEAD" || status < 200 || status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    if let [length] = lengths[..] {
        return Ok(Framing::Length(
            length.parse().with_context(|| format!("length {length:?}"))?,
        ));
    }
    match codings[..] {
        ["chunked"] => Ok(Framing::Chunks),
        [] => Ok(Framing::UntilEnd),
        _ => Err(anyhow!("unknown transfer coding: {head:?}")),
    }
}

fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let mut body = Vec::new();
    let mut rest = bytes;
    loop {
        let Some(end) = find(rest, b"\r\n") else {
            return Ok(None);
        };
        let digits = std::str::from_utf8(&rest[..end]).context("a chunk's size is no text")?;
        let size = usize::from_str_radix(digits.split(';').next().unwrap_or_default(), 16)
            .with_context(|| format!("a chunk's size is {digits:?}"))?;
        let (Some(data), Some(line_end)) = (
            rest.get(end + 2..end + 2 + size),
            rest.get(end + 2 + size..end + 4 + size),
        ) else {
            return Ok(None);
        };
        ensure!(
            line_end == b"\r\n",
            "a chunk of {size} bytes ends with {}",
            line_end.escape_ascii()
        );
        body.extend_from_slice(data);
        rest = &rest[end + 4 + size..];
        if size == 0 {
            return Ok(Some((body, bytes.len() - rest.len())));
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    fields(head, name).next()
}

fn fields<'a>(head: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines
        .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_its_head_says() {
        check("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", "ab", 1);
        check(
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nx",
            "ab",
            1,
        );
        check("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "", 0);
        check("GET", "HTTP/1.1 204 No Content\r\n\r\nHTTP", "", 4);
        check(
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            "",
            0,
        );
        check("POST", "HTTP/1.1 100 Continue\r\n\r\n", "", 0);
    }

    #[test]
    fn part_of_a_response_is_none_yet() {
        let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            let part = &whole.as_bytes()[..end];
            assert_eq!(Response::read(part, "GET").unwrap(), None, "{end}");
            assert!(Response::read_last(part, "GET").is_err(), "{end}");
        }
    }

    #[test]
    fn a_body_without_length_lasts_to_the_end() {
        let bytes = b"HTTP/1.1 200 OK\r\n\r\nall of it";
        assert_eq!(Response::read(bytes, "GET").unwrap(), None);
        let (response, length) = Response::read_last(bytes, "GET").unwrap();
        assert_eq!((&response.body[..], length), (&b"all of it"[..], bytes.len()));
        assert!(response.is_last);
    }

    #[test]
    fn what_is_not_clear_is_no_response() {
        for bytes in [
            "SSH-2.0",
            "HTTP/1.1 20x OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
            "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        ] {
            assert!(Response::read(bytes.as_bytes(), "GET").is_err(), "{bytes:?}");
        }
    }

    #[track_caller]
    fn check(method: &str, text: &str, body: &str, left: usize) {
        let (response, length) = Response::read(text.as_bytes(), method).unwrap().unwrap();
        assert_eq!((&response.body[..], text.len() - length), (body.as_bytes(), left));
    }
}
