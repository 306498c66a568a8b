//! Odd lines, targets, identities, versions and methods, and too much of anything.

use super::{ANY, EITHER, FORGED, GET, LENIENT, REFUSED, case, post};
use crate::{attempt::Attempt, kit::is_on_haproxy};

pub(super) fn all() -> Vec<Attempt> {
    [
        lines(),
        targets(),
        detours(),
        identities(),
        versions(),
        methods(),
        sizes(),
    ]
    .concat()
}

fn lines() -> Vec<Attempt> {
    let post = |fields: &str| format!("{}{FORGED}", self::post(fields));
    vec![
        case("bare line feeds", post("").replace("\r\n", "\n"), LENIENT),
        case("a bare line feed", post("X: a\n"), LENIENT),
        case("a bare carriage return", post("X: a\rb\r\n"), REFUSED),
        case(
            "a head that ends with bare line feeds",
            format!("{GET}\n{FORGED}"),
            LENIENT,
        ),
        case("a nul in a value", post("X: a\0b\r\n"), REFUSED),
        case("a nul in a name", post("X\0: a\r\n"), REFUSED),
        case(
            "a nul in the target",
            format!("GET /function/near\0 HTTP/1.1\r\nHost: x\r\n\r\n{FORGED}"),
            REFUSED,
        ),
        case("a space before a colon", post("X : a\r\n"), REFUSED),
        case("a line without a colon", post("X\r\n"), REFUSED),
        case("a name of nothing", post(": a\r\n"), REFUSED),
        case("a folded line", post("X: a\r\n b\r\n"), ANY),
        case(
            "a folded first line",
            format!("GET /function/near HTTP/1.1\r\n Host: x\r\n\r\n{FORGED}"),
            REFUSED,
        ),
        case(
            "no host",
            format!("GET /function/near HTTP/1.1\r\n\r\n{FORGED}"),
            "200 403 | 400 403 | refused",
        ),
        case(
            "two hosts",
            format!("{GET}Host: y\r\n\r\n{FORGED}"),
            "200 403 | refused",
        ),
        case(
            "tabs in the request line",
            format!("GET\t/function/near\tHTTP/1.1\r\nHost: x\r\n\r\n{FORGED}"),
            LENIENT,
        ),
        case(
            "two spaces in the request line",
            format!("GET  /function/near HTTP/1.1\r\nHost: x\r\n\r\n{FORGED}"),
            LENIENT,
        ),
        case(
            "a space behind the version",
            format!("GET /function/near HTTP/1.1 \r\nHost: x\r\n\r\n{FORGED}"),
            LENIENT,
        ),
        case(
            "a space before the method",
            format!(" {GET}\r\n{FORGED}"),
            LENIENT,
        ),
        case(
            "letters of eight bits in a value",
            post("X: \u{e4}\u{2028}\r\n"),
            ANY,
        ),
        case("letters of eight bits in a name", post("\u{e4}: a\r\n"), REFUSED),
    ]
}

fn targets() -> Vec<Attempt> {
    vec![
        get("the administration", "/system/functions", "403"),
        get("the administration in capitals", "/SYSTEM/functions", "403"),
        get("a function asked for later", "/async-function/near", "403"),
        get("no name", "/function", "403"),
        get("an empty name", "/function/", REFUSED),
        get("an absolute target", "http://x/system/functions", REFUSED),
        get(
            "an absolute target of a function",
            "http://x/function/near",
            "200",
        ),
        get(
            "an absolute target with a function's name for a host",
            "function://function/near",
            REFUSED,
        ),
        get("two slashes", "//function/near", REFUSED),
        get("two slashes before the name", "/function//near", REFUSED),
    ]
}

/// Targets that mean a place to who resolves or decodes them, and another to who does not.
fn detours() -> Vec<Attempt> {
    vec![
        get(
            "a way up instead of a name",
            "/function/../system/functions",
            REFUSED,
        ),
        get(
            "a way up behind the name",
            "/function/near/../../system/functions",
            EITHER,
        ),
        get("an encoded way up", "/function/%2e%2e/system/functions", REFUSED),
        get(
            "an encoded way up and slash",
            "/function/%2e%2e%2fsystem%2ffunctions",
            REFUSED,
        ),
        get("an encoded slash before the name", "/function%2fnear", REFUSED),
        get("an encoded letter in the prefix", "/%66unction/near", REFUSED),
        get(
            "an encoded letter in the name",
            "/function/%6eear",
            "404 | 403 | 400 | closed",
        ),
        get("an encoded nul behind the name", "/function/near%00", REFUSED),
        get("a dot as a way", "/./function/near", REFUSED),
        get("a backslash for a slash", "/function\\near", REFUSED),
        get(
            "a way up with backslashes",
            "/function/..\\system\\functions",
            REFUSED,
        ),
        get("a semicolon behind the name", "/function/near;x", REFUSED),
        get("a fragment", "/function/near#/system/functions", REFUSED),
        get(
            "a way in the query",
            "/function/near?x=/../system/functions",
            "200",
        ),
        get("an asterisk", "*", REFUSED),
        get("no slash", "function/near", REFUSED),
        get("a name in capitals", "/function/NEAR", REFUSED),
        case(
            "letters of eight bits in the name",
            b"GET /function/ne\xe4r HTTP/1.1\r\nHost: x\r\n\r\n",
            REFUSED,
        ),
        case(
            "no target",
            format!("GET HTTP/1.1\r\nHost: x\r\n\r\n{FORGED}"),
            REFUSED,
        ),
    ]
}

/// A get of a target.
fn get(name: &'static str, target: &str, allowed: &'static str) -> Attempt {
    let bytes = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    case(name, bytes, allowed)
}

fn identities() -> Vec<Attempt> {
    let guarded = |name, fields: &str, allowed| {
        case(
            name,
            format!("GET /function/guarded HTTP/1.1\r\nHost: x\r\n{fields}\r\n"),
            allowed,
        )
    };
    vec![
        guarded("a forged identity", "DFaaS-Node-ID: forged\r\n", "403"),
        guarded("a forged identity in capitals", "DFAAS-NODE-ID:forged\r\n", "403"),
        guarded("an empty identity", "DFaaS-Node-ID:\r\n", "403"),
        guarded("an identity of spaces", "DFaaS-Node-ID:    \r\n", "403"),
        guarded(
            "two forged identities",
            "DFaaS-Node-ID: forged\r\nDFaaS-Node-ID: forged\r\n",
            "403 | 400",
        ),
        guarded(
            "a forged identity with a space before the colon",
            "DFaaS-Node-ID : forged\r\n",
            REFUSED,
        ),
        guarded(
            "a folded forged identity",
            "DFaaS-Node-ID:\r\n forged\r\n",
            REFUSED,
        ),
        guarded(
            "a long forged identity",
            &format!("DFaaS-Node-ID: {}\r\n", "f".repeat(100)),
            "403 | 400",
        ),
        case(
            "an identity with an underscore",
            format!("{GET}DFaaS_Node_ID: forged\r\n\r\n"),
            EITHER,
        ),
    ]
}

fn versions() -> Vec<Attempt> {
    const HELLO: &[u8] = b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03dfaas-dfaas-dfaas-dfaas-dfaas-12\x00\x00\x02\x13\x01\x01\x00";
    vec![
        case(
            "HTTP/0.9",
            format!("GET /function/near\r\n{FORGED}"),
            "refused | closed | waits",
        ),
        line(
            "HTTP/1.0",
            "GET /function/near HTTP/1.0",
            "200 | 200 403 | refused | closed",
        ),
        line(
            "HTTP/1.0 that is kept",
            "GET /function/near HTTP/1.0\r\nConnection: keep-alive",
            "200 | 200 403 | refused | closed",
        ),
        line(
            "HTTP/1.2",
            "GET /function/near HTTP/1.2",
            "200 | 200 403 | refused | closed",
        ),
        line("HTTP/2.0", "GET /function/near HTTP/2.0", LENIENT),
        line("HTTP/1.10", "GET /function/near HTTP/1.10", REFUSED),
        line("http/1.1", "GET /function/near http/1.1", REFUSED),
        line("ICAP", "GET /function/near ICAP/1.1", REFUSED),
        case(
            "HTTP/2 known beforehand",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
            // HAProxy knows it only if the first packet has it whole, and else refuses each of what looks like two requests.
            if is_on_haproxy() {
                "refused | refused refused | closed | unclear"
            } else {
                "refused | closed | unclear"
            },
        ),
        case("nearly HTTP/2", b"PRI / HTTP/2.0\r\n\r\n", REFUSED),
        case("TLS", HELLO, "refused | closed | waits"),
        case("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", REFUSED),
    ]
}

fn methods() -> Vec<Attempt> {
    let upgrade = |name, fields: &str| {
        case(
            name,
            format!("{GET}{fields}\r\n{FORGED}"),
            "200 | 200 403 | refused | closed",
        )
    };
    vec![
        line("CONNECT", "CONNECT near:80 HTTP/1.1", REFUSED),
        line(
            "CONNECT to a function",
            "CONNECT /function/near HTTP/1.1",
            REFUSED,
        ),
        line("OPTIONS of all", "OPTIONS * HTTP/1.1", REFUSED),
        line(
            "OPTIONS of a function",
            "OPTIONS /function/near HTTP/1.1",
            "200 403",
        ),
        line(
            "TRACE",
            "TRACE /function/near HTTP/1.1",
            "refused | closed | refused 403",
        ),
        line(
            "a method in small letters",
            "get /function/near HTTP/1.1",
            "refused | closed | refused 403",
        ),
        line(
            "no method that is known",
            "GE\u{7f}T /function/near HTTP/1.1",
            REFUSED,
        ),
        upgrade(
            "an upgrade to WebSocket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        ),
        upgrade(
            "an upgrade to h2c",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        ),
        upgrade("an unknown expectation", "Expect: much\r\n"),
    ]
}

/// A request with this line, and a forged one behind it.
fn line(name: &'static str, line: &str, allowed: &'static str) -> Attempt {
    case(name, format!("{line}\r\nHost: x\r\n\r\n{FORGED}"), allowed)
}

fn sizes() -> Vec<Attempt> {
    let post =
        |name, fields: String, allowed| case(name, format!("{}{FORGED}", self::post(&fields)), allowed);
    let long = |bytes: usize| format!("X-Long: {}\r\n", "x".repeat(bytes));
    let many = |fields: usize| "X-Many: 1\r\n".repeat(fields);
    const TOO_LONG: &str = "200 403 | refused 403 | refused | closed";
    vec![
        post("a head of 1 KiB", long(900), "200 403"),
        post("a head of 4 KiB", long(4 << 10), TOO_LONG),
        post("a head of 64 KiB", long(64 << 10), TOO_LONG),
        post("a head of 1 MiB", long(1 << 20), TOO_LONG),
        post("80 header fields", many(80), "200 403"),
        post("2000 header fields", many(2000), TOO_LONG),
        case(
            "a target of 4 KiB",
            format!(
                "GET /function/near?{} HTTP/1.1\r\nHost: x\r\n\r\n{FORGED}",
                "x".repeat(4 << 10)
            ),
            TOO_LONG,
        ),
        case(
            "a name of 1 KiB",
            format!(
                "GET /function/{} HTTP/1.1\r\nHost: x\r\n\r\n",
                "x".repeat(1 << 10)
            ),
            REFUSED,
        ),
        case(
            "a method of 1 KiB",
            format!(
                "{} /function/near HTTP/1.1\r\nHost: x\r\n\r\n",
                "X".repeat(1 << 10)
            ),
            REFUSED,
        ),
    ]
}
