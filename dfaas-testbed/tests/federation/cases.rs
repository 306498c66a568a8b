//! Requests that are ambiguous, malicious or plainly wrong, and some that only look so.
//!
//! Most carry, where somebody could take it for a request of its own, one that no front end may let through: for the
//! administration, or with the identity of a node that there is not.

mod bodies;
mod heads;

use crate::attempt::{Attempt, MARKER};

/// Refused wherever it is taken for a request.
const FORGED: &str = "GET /function/guarded HTTP/1.1\r\nHost: x\r\nDFaaS-Node-ID: forged\r\n\r\n";
/// As above.
const ADMIN: &str = "GET /system/functions HTTP/1.1\r\nHost: x\r\n\r\n";
/// Is never taken for a request, because it is the body of one.
const BURIED: &str = "GET /function/buried HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &str = "POST /function/near HTTP/1.1\r\nHost: x\r\n";
const GET: &str = "GET /function/near HTTP/1.1\r\nHost: x\r\n";

/// What may come of what nobody can frame: no answer to what is behind it, or the right one.
const ANY: &str = "refused | closed | 200 | 200 refused | 200 closed";
const REFUSED: &str = "refused | closed | refused 403";
/// What a server may read as a kind client meant it (RFC 9112, sections 2.2 and 3), if it hands it on put right.
const LENIENT: &str = "refused | closed | waits | refused 403 | 200 403";
/// What is right but need not be understood.
const EITHER: &str = "200 | refused | closed";

/// All of them.
pub(crate) fn all() -> Vec<Attempt> {
    [pipelines(), bodies::all(), heads::all()].concat()
}

fn case(name: &'static str, bytes: impl AsRef<[u8]>, allowed: &'static str) -> Attempt {
    let bytes = bytes.as_ref().to_vec();
    Attempt {
        split: bytes.len(),
        name,
        bytes,
        allowed,
    }
}

/// A post of the marker, with these header fields besides its length.
fn post(fields: &str) -> String {
    let marker = String::from_utf8_lossy(MARKER);
    format!("{POST}{fields}Content-Length: {}\r\n\r\n{marker}", MARKER.len())
}

/// A post with these header fields, whatever they say, and what stands behind the head.
fn raw(fields: &str, behind: &str) -> String {
    format!("{POST}{fields}\r\n\r\n{behind}")
}

fn pipelines() -> Vec<Attempt> {
    let post = post("");
    let length = BURIED.len();
    vec![
        case("a get", format!("{GET}Connection: close\r\n\r\n"), "200"),
        case("a post", &post, "200"),
        case(
            "administration behind a post",
            format!("{post}{ADMIN}"),
            "200 403",
        ),
        case(
            "a forged identity behind a post",
            format!("{post}{FORGED}"),
            "200 403",
        ),
        case(
            "nobody's function behind a post",
            format!("{post}GET /function/nobody-has-it HTTP/1.1\r\nHost: x\r\n\r\n"),
            "200 404",
        ),
        case(
            "administration behind two posts",
            format!("{post}{post}{ADMIN}"),
            "200 200 403",
        ),
        case(
            "a request in a body",
            raw(&format!("Content-Length: {length}"), BURIED),
            "200",
        ),
        case(
            "administration behind a request in a body",
            raw(&format!("Content-Length: {length}"), &format!("{BURIED}{ADMIN}")),
            "200 403",
        ),
        case(
            "a get with a body",
            format!("{GET}Content-Length: {length}\r\n\r\n{BURIED}"),
            EITHER,
        ),
        case(
            "a body that nobody announced",
            format!("{GET}\r\n{ADMIN}"),
            "200 403",
        ),
        case("a body of no bytes", raw("Content-Length: 0", FORGED), "200 403"),
        case(
            "a request behind the last",
            format!("{GET}Connection: close\r\n\r\n{FORGED}"),
            "200 | 200 403",
        ),
        case(
            "a body before a sign to go on",
            format!("{}{FORGED}", self::post("Expect: 100-continue\r\n")),
            "200 403",
        ),
        case(
            "a body that does not come",
            raw("Content-Length: 100", "only this"),
            "waits | part | refused | closed",
        ),
        case("an empty line before", format!("\r\n{post}"), EITHER),
        case("an empty line between", format!("{post}\r\n{FORGED}"), ANY),
    ]
}
