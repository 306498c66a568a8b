//! Requests' heads, here and according to httparse.

use dfaas_common::http::{self, HELD_BYTES, Head, Marks, Progress, STATES, Span, Target, Unframed};

/// More fields than fit into [`HELD_BYTES`].
const FIELDS_MAX: usize = HELD_BYTES / 4;
/// More digits than these are no length to us.
const LENGTH_DIGITS_MAX: usize = 15;

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much of it could belong to a request.
const PREFACE_LIKE_A_REQUEST: usize = b"PRI * HTTP/".len();

/// What we make of the bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The head is whole and says where the request ends.
    Framed(Head),
    /// The head is whole; where the request ends is for others to find out.
    Unframed(Head),
    /// More bytes are needed.
    Awaited,
    /// It is no request.
    Malformed,
    /// It is another protocol.
    OtherProtocol,
}

/// Why we take no head that httparse takes. There is no other reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stricter {
    /// An empty line before the request (RFC 9112, section 2.2: a server *should* ignore it).
    LeadingLine,
    /// A line that ends without a carriage return (section 2.2: a recipient *may* take it).
    BareLineFeed,
    /// A byte in the target that no URI has (RFC 3986, section 2), from 0x80 on.
    TargetByte,
}

/// Reads the first [`HELD_BYTES`] of a request.
#[must_use]
pub fn read(bytes: &[u8]) -> Reading {
    let bytes = &bytes[..bytes.len().min(HELD_BYTES)];
    // What was in the buffers before must not count.
    let mut marks = Marks([7; STATES]);
    let buffer = buffer(bytes);
    match http::read(&buffer, bytes.len(), &mut marks) {
        Progress::Complete => {
            let head = Head::from_marks(&buffer, &marks);
            if head.unframed == Unframed::No {
                Reading::Framed(head)
            } else {
                Reading::Unframed(head)
            }
        }
        Progress::Incomplete => Reading::Awaited,
        Progress::Malformed => Reading::Malformed,
        Progress::OtherProtocol => Reading::OtherProtocol,
    }
}

fn buffer(bytes: &[u8]) -> [u8; HELD_BYTES] {
    let mut buffer = [0xaa; HELD_BYTES];
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer
}

/// Reads a request and asks httparse about it.
///
/// # Panics
///
/// If they disagree in another way than [`Stricter`] says.
pub fn check(bytes: &[u8]) -> Reading {
    let bytes = &bytes[..bytes.len().min(HELD_BYTES)];
    let reading = read(bytes);
    let mut fields = vec![httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut theirs = httparse::Request::new(&mut fields);
    let status = theirs.parse(bytes);
    let length = match status {
        Ok(httparse::Status::Complete(length)) => Some(length),
        Ok(httparse::Status::Partial) | Err(_) => None,
    };
    match reading {
        Reading::Framed(head) | Reading::Unframed(head) => {
            assert_eq!(Some(usize::from(head.length)), length, "{}", bytes.escape_ascii());
            compare(bytes, &head, &theirs);
        }
        Reading::Malformed if length.is_some() => {
            assert!(stricter(bytes, length).is_some(), "{}", bytes.escape_ascii());
        }
        Reading::Awaited if begins_preface(bytes) => {
            assert_eq!(status, Err(httparse::Error::Version), "{}", bytes.escape_ascii());
        }
        Reading::Awaited => assert_eq!(status, Ok(httparse::Status::Partial), "{}", bytes.escape_ascii()),
        Reading::OtherProtocol => assert_eq!(length, None, "{}", bytes.escape_ascii()),
        Reading::Malformed => {}
    }
    reading
}

/// Whether these bytes are of HTTP/2, for whom we wait and httparse does not.
fn begins_preface(bytes: &[u8]) -> bool {
    bytes.len() > PREFACE_LIKE_A_REQUEST && bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes)
}

/// Why we do not take a head of this length, if there is a reason.
fn stricter(bytes: &[u8], length: Option<usize>) -> Option<Stricter> {
    let head = &bytes[..length?];
    if head.starts_with(b"\r") || head.starts_with(b"\n") {
        return Some(Stricter::LeadingLine);
    }
    let is_bare = |at: usize| head[at] == b'\n' && head[at - 1] != b'\r';
    if (1..head.len()).any(is_bare) {
        return Some(Stricter::BareLineFeed);
    }
    let line = head.split(|byte| *byte == b'\r').next()?;
    line.iter()
        .any(|byte| !byte.is_ascii())
        .then_some(Stricter::TargetByte)
}

/// Compares what we found in a head with what httparse found.
fn compare(bytes: &[u8], head: &Head, theirs: &httparse::Request<'_, '_>) {
    let said = bytes.escape_ascii();
    let target = theirs.path.expect("the head is complete");
    assert_eq!(target_of(bytes, head), plain_target(target), "{said}");
    assert_eq!(head.wants_no_body, theirs.method == Some("HEAD"), "{said}");
    let line_end = bytes.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2);
    assert_eq!(Some(usize::from(head.fields_start)), line_end, "{said}");
    let id = values(theirs, "dfaas-node-id");
    assert_eq!(head.from_node, !id.is_empty(), "{said}");
    assert_eq!(text(bytes, head.node_id), last_of(&id), "{said}");
    assert_eq!(
        text(bytes, head.token),
        last_of(&values(theirs, "dfaas-node-token")),
        "{said}"
    );
    assert_eq!(framing(head), framing_of(theirs), "{said}");
}

/// What a target asks for; a name as its bytes.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    Root,
    Function(&'a [u8]),
    Other,
}

fn target_of<'a>(bytes: &'a [u8], head: &Head) -> Asked<'a> {
    match head.target {
        Target::Root => Asked::Root,
        Target::Function(name) => {
            Asked::Function(&bytes[usize::from(name.start)..][..usize::from(name.length)])
        }
        Target::Other => Asked::Other,
    }
}

/// As RFC 9112, sections 3.2.1 and 3.2.2 have it.
fn plain_target(target: &str) -> Asked<'_> {
    let target = match target.split_at_checked("http://".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if authority.is_empty() || authority.contains(['?', '#']) {
                return Asked::Other;
            }
            if path.is_empty() { "/" } else { path }
        }
        _ => target,
    };
    if matches!(target, "/" | "/healthz") {
        return Asked::Root;
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let name = target
        .strip_prefix("/function/")
        .and_then(|rest| rest.split(['/', '?']).next());
    match name {
        Some(name) if !name.is_empty() && name.bytes().all(is_name) => Asked::Function(name.as_bytes()),
        Some(_) | None => Asked::Other,
    }
}

fn values<'a>(theirs: &httparse::Request<'_, 'a>, name: &str) -> Vec<&'a [u8]> {
    let fields = theirs.headers.iter();
    let named = fields.filter(|field| field.name.eq_ignore_ascii_case(name));
    // httparse leaves white space before a value out, and behind it too, but not where there is nothing else.
    named.map(|field| field.value.trim_ascii()).collect()
}

fn last_of<'a>(values: &[&'a [u8]]) -> Option<&'a [u8]> {
    values.iter().rev().find(|value| !value.is_empty()).copied()
}

fn text(bytes: &[u8], span: Option<Span>) -> Option<&[u8]> {
    span.map(|span| &bytes[usize::from(span.start)..][..usize::from(span.length)])
}

/// The length of the body, or why it is not known.
fn framing(head: &Head) -> Result<u64, Unframed> {
    if head.unframed == Unframed::No {
        Ok(head.body)
    } else {
        Err(head.unframed)
    }
}

/// The same from httparse's fields (RFC 9112, section 6.3). A length that is told twice is none, be it the same.
fn framing_of(theirs: &httparse::Request<'_, '_>) -> Result<u64, Unframed> {
    if !values(theirs, "transfer-encoding").is_empty() {
        return Err(Unframed::Coding);
    }
    let length = match values(theirs, "content-length")[..] {
        [] => 0,
        [digits] => number(digits).ok_or(Unframed::Length)?,
        _ => return Err(Unframed::Length),
    };
    if values(theirs, "upgrade").is_empty() {
        Ok(length)
    } else {
        Err(Unframed::Upgrade)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = (1..=LENGTH_DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let text = core::str::from_utf8(digits).ok()?;
    is_number.then(|| text.parse().ok())?
}
