//! Requests that are valid, nearly valid, or meant to deceive.

use proptest::{collection::vec, prelude::*, sample::Index, sample::select, strategy::BoxedStrategy};

/// The function that some of the requests ask for.
pub const KNOWN: &str = "known";
/// The identity that some of the requests claim.
pub const PEER_ID: &str = "12D3KooWPeer";
/// What proves it.
pub const PEER_TOKEN: &str = "00112233445566778899aabbccddeeff";

/// Bytes that mean something to some reader of HTTP.
const TELLING_BYTES: &[u8] = b"\r\n \t:;,\0/?%#\x0b\x16\x7f\x80\xff0H";

/// A valid request: whatever it holds, its grammar is that of RFC 9112.
pub fn valid() -> impl Strategy<Value = Vec<u8>> {
    let line = (
        method(),
        target(),
        select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
    );
    let fields = vec(field(Just(": ").boxed(), value(), Just("\r\n").boxed()), 0..8);
    (line, fields, tail()).prop_map(|((method, target, version), fields, tail)| {
        let line = format!("{method} {target} {version}\r\n").into_bytes();
        [line, fields.concat(), b"\r\n".to_vec(), tail].concat()
    })
}

/// A request whose parts are put together in ways that readers disagree about.
pub fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let spaces = || select(vec![" ", " ", " ", " ", "  ", "\t", ""]);
    let version = select(vec![
        "HTTP/1.1",
        "HTTP/1.1",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/1.2",
        "HTTP/2.0",
        "http/1.1",
        "HTTP/1.10",
        "",
    ]);
    let line = (
        lead(),
        method(),
        spaces(),
        target(),
        spaces(),
        version,
        line_end(),
    );
    let fields = vec(field(separator(), value(), line_end()), 0..6);
    (line, fields, line_end(), tail()).prop_map(|(line, fields, end, tail)| {
        let (lead, method, first, target, second, version, line_end) = line;
        let line = format!("{lead}{method}{first}{target}{second}{version}{line_end}").into_bytes();
        [line, fields.concat(), end.as_bytes().to_vec(), tail].concat()
    })
}

/// A valid request with a few bytes damaged, doubled or lost.
pub fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (valid(), vec(damage(), 1..4)).prop_map(|(bytes, damages)| damages.iter().fold(bytes, Damage::applied))
}

/// A valid request whose head is too long for a segment, or nearly so.
pub fn long() -> impl Strategy<Value = Vec<u8>> {
    (valid(), 900usize..1_500).prop_map(|(mut bytes, length)| {
        let line_end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let field = [b"X: ", &vec![b'x'; length][..], b"\r\n"].concat();
        bytes.splice(line_end..line_end, field);
        bytes
    })
}

/// A valid, hostile or damaged one.
pub fn any_request() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![valid(), hostile(), damaged()]
}

/// A small injury to a run of bytes.
#[derive(Clone, Debug)]
pub enum Damage {
    /// A byte is another.
    Replaced(Index, u8),
    /// A byte is one too many.
    Inserted(Index, u8),
    /// Bytes are missing.
    Lost(Index, usize),
    /// Bytes are there twice.
    Doubled(Index, usize),
    /// All behind a place is missing.
    Cut(Index),
}

impl Damage {
    /// The bytes with this injury.
    #[must_use]
    pub fn applied(mut bytes: Vec<u8>, damage: &Self) -> Vec<u8> {
        if bytes.is_empty() {
            return bytes;
        }
        let size = bytes.len();
        match damage {
            Self::Replaced(at, byte) => bytes[at.index(size)] = *byte,
            Self::Inserted(at, byte) => bytes.insert(at.index(size), *byte),
            Self::Lost(at, count) => {
                let at = at.index(size);
                bytes.drain(at..size.min(at + count));
            }
            Self::Doubled(at, count) => {
                let at = at.index(size);
                let again = bytes[at..size.min(at + count)].to_vec();
                bytes.splice(at..at, again);
            }
            Self::Cut(at) => bytes.truncate(at.index(size)),
        }
        bytes
    }
}

/// Any injury.
pub fn damage() -> impl Strategy<Value = Damage> {
    let byte = || prop_oneof![4 => select(TELLING_BYTES), 1 => any::<u8>()];
    prop_oneof![
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Replaced(at, byte)),
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Inserted(at, byte)),
        2 => (any::<Index>(), 1usize..20).prop_map(|(at, count)| Damage::Lost(at, count)),
        2 => (any::<Index>(), 1usize..60).prop_map(|(at, count)| Damage::Doubled(at, count)),
        1 => any::<Index>().prop_map(Damage::Cut),
    ]
}

fn lead() -> BoxedStrategy<&'static str> {
    prop_oneof![12 => Just(""), 1 => select(vec!["\r\n", "\n", "\r", " ", "\0", "\x16\x03\x01"])].boxed()
}

fn line_end() -> BoxedStrategy<&'static str> {
    let odd = select(vec![
        "\n", "\r", "\r\r\n", "\n\r", "\r\n ", "\r\n\t", "\0\r\n", " \r\n", "\t\r\n", "\r\n\r\n", "",
    ]);
    prop_oneof![12 => Just("\r\n"), 1 => odd].boxed()
}

fn separator() -> BoxedStrategy<&'static str> {
    let odd = select(vec![" :", "\t: ", ":\0", ":\x0b", "", "\r\n: "]);
    prop_oneof![8 => Just(": "), 4 => select(vec![":", ":\t", ":  \t "]), 1 => odd].boxed()
}

fn method() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(vec!["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "PRI", "HEADS", "HEA", "head"])
            .prop_map(str::to_owned),
        1 => "[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,9}",
    ]
}

fn target() -> impl Strategy<Value = String> {
    let whole = select(vec![
        "/",
        "/?",
        "*",
        "/function",
        "/function/",
        "/system/functions",
        "/function/../system/functions",
        "/function//known",
        "/function/kn%6fwn",
        "/function/known;x",
        "//function/known",
        "/Function/known",
        "http://node/function/known",
        "HTTP://node:80/function/known?x",
        "http://node",
        "http://node/healthz",
        "/healthz",
        "/healthz/",
        "/health",
        "http:///function/known",
        "http://node?/function/known",
        "https://node/function/known",
        "node:80",
        "/function/known#x",
        "/function/known/../../system",
    ]);
    prop_oneof![
        6 => "/function/known(/[!-~]{0,12})?(\\?[!-~]{0,12})?",
        4 => whole.prop_map(str::to_owned),
        2 => "/function/[a-zA-Z0-9_.-]{1,70}",
        1 => "/[!-~]{0,30}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    let known = select(vec![
        "Host",
        "Content-Length",
        "content-length",
        "CONTENT-LENGTH",
        "Content-Lengths",
        "Content-Lengt",
        "Transfer-Encoding",
        "transfer-encoding",
        "Transfer-Encodin",
        "Upgrade",
        "Connection",
        "Expect",
        "TE",
        "DFaaS-Node-ID",
        "dfaas-node-id",
        "DFaaS-Node-IDs",
        "DFaaS-Node-Token",
        "DFaaS-Node",
    ]);
    prop_oneof![
        10 => known.prop_map(str::to_owned),
        3 => "[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,20}",
    ]
}

fn value() -> BoxedStrategy<Vec<u8>> {
    let telling = select(vec![
        "chunked",
        "Chunked",
        "chunked ",
        "gzip, chunked",
        "identity",
        "websocket",
        "h2c",
        "100-continue",
        "close",
        "5, 5",
        "+5",
        "-1",
        "0x10",
        "1e3",
        "5 5",
        "18446744073709551616",
        "",
        " ",
        PEER_ID,
        PEER_TOKEN,
        "12D3KooWStranger",
    ]);
    prop_oneof![
        4 => "[0-9]{1,4}".prop_map(String::into_bytes),
        1 => "0{0,18}[0-9]{1,16}[ \t]{0,2}".prop_map(String::into_bytes),
        4 => telling.prop_map(|text| text.as_bytes().to_vec()),
        3 => "[ -~]{0,40}".prop_map(String::into_bytes),
        1 => vec(prop_oneof![Just(b'\t'), b' '..0x7f, 0x80..=0xffu8], 0..20),
    ]
    .boxed()
}

fn field(
    separator: BoxedStrategy<&'static str>,
    value: BoxedStrategy<Vec<u8>>,
    end: BoxedStrategy<&'static str>,
) -> impl Strategy<Value = Vec<u8>> {
    let any = (name(), separator, value, end).prop_map(|(name, separator, value, end)| {
        [name.as_bytes(), separator.as_bytes(), &value, end.as_bytes()].concat()
    });
    let stamp = format!("DFaaS-Node-ID: {PEER_ID}\r\nDFaaS-Node-Token: {PEER_TOKEN}\r\n");
    prop_oneof![12 => any, 1 => Just(stamp.into_bytes())]
}

/// What follows a head: nothing, a body, or another request.
fn tail() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..40),
        1 => Just(b"GET /system/functions HTTP/1.1\r\n\r\n".to_vec()),
    ]
}
