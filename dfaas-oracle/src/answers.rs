//! Responses that are valid, nearly valid, or meant to deceive.

use std::fmt;

use proptest::{collection::vec, prelude::*, sample::select, strategy::BoxedStrategy};

use crate::heads::{Damage, damage};

/// A response whose end is known to who made it.
#[derive(Clone)]
pub struct Answer {
    /// Its bytes, from its first interim response to its end.
    pub bytes: Vec<u8>,
    /// Whether HEAD is what was asked.
    pub wants_no_body: bool,
    /// Whether it ends with its bytes; else with its connection.
    pub ends: bool,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = if self.wants_no_body { "HEAD" } else { "GET" };
        write!(f, "{method} {}", self.bytes.escape_ascii())
    }
}

/// A valid response.
pub fn valid() -> impl Strategy<Value = Answer> {
    let body = prop_oneof![of_length(), chunked(), bodiless(), until_close()];
    (vec(interim(), 0..3), body).prop_map(|(interims, mut answer)| {
        answer.bytes = [interims.concat(), answer.bytes].concat();
        answer
    })
}

/// A valid response with a few bytes damaged, doubled or lost.
pub fn damaged() -> impl Strategy<Value = Answer> {
    (valid(), vec(damage(), 1..4)).prop_map(|(answer, damages)| Answer {
        bytes: damages.iter().fold(answer.bytes, Damage::applied),
        ..answer
    })
}

/// A response whose fields contradict each other, or themselves.
pub fn hostile() -> impl Strategy<Value = Answer> {
    let status = select(vec![
        "200 OK", "200 ", "200", "204 N", "304 N", "101 S", "100 C", "099 X", "1000 X", "2 OK",
    ]);
    let version =
        prop_oneof![10 => Just("HTTP/1.1"), 1 => select(vec!["HTTP/1.0", "HTTP/1.2", "HTTP/2", "ICY"])];
    let end = || prop_oneof![12 => Just("\r\n"), 1 => select(vec!["\n", "\r", "\r\n ", "\0\r\n", " \r\n"])];
    let field = (framing_field(), end()).prop_map(|(field, end)| format!("{field}{end}"));
    let head = (version, status, end(), vec(field, 0..4), end());
    let body = prop_oneof![
        2 => hostile_chunks(),
        1 => vec(any::<u8>(), 0..40),
    ];
    (head, body, any::<bool>()).prop_map(
        |((version, status, line_end, fields, end), body, wants_no_body)| {
            let head = format!("{version} {status}{line_end}{}{end}", fields.concat());
            Answer {
                bytes: [head.into_bytes(), body].concat(),
                wants_no_body,
                ends: false,
            }
        },
    )
}

/// The lengths of segments, to be used again and again.
pub fn parts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        Just(vec![1_400]),
        vec(1usize..60, 1..8),
        vec(1usize..1_400, 1..4)
    ]
}

fn framing_field() -> impl Strategy<Value = String> {
    let telling = select(vec![
        "Content-Length: ",
        "Content-Length:",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 5 5",
        "Content-Length: 0x5",
        "Content-Length : 5",
        "Content-Length: 18446744073709551617",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: Chunked \t",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding:",
        "Transfer-Encoding: xchunked",
        "Connection: close",
    ]);
    prop_oneof![
        3 => telling.prop_map(str::to_owned),
        2 => "Content-Length: 0{0,24}[0-9]{1,2}[ \t]{0,2}",
        1 => "Content-Length: [0-9]{1,40}",
        1 => other_field(),
    ]
}

fn other_field() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z-]{0,19}: ?[!-~]([ -~]{0,30}[!-~])?".prop_filter(
        "a field that means nothing here",
        |field| {
            let name = field.split(':').next().unwrap_or_default().to_ascii_lowercase();
            name != "content-length" && name != "transfer-encoding"
        },
    )
}

fn interim() -> impl Strategy<Value = Vec<u8>> {
    let status = select(vec!["100 Continue", "102 Processing", "103 Early Hints", "199 "]);
    (status, other_fields())
        .prop_map(|(status, fields)| format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes())
}

fn other_fields() -> impl Strategy<Value = String> {
    vec(other_field(), 0..4).prop_map(|fields| fields.iter().map(|field| format!("{field}\r\n")).collect())
}

fn of_length() -> BoxedStrategy<Answer> {
    let name = select(vec!["Content-Length", "content-length", "CONTENT-LENGTH"]);
    let spaces = || "[ \t]{0,3}";
    let body = prop_oneof![4 => vec(any::<u8>(), 0..100), 1 => vec(any::<u8>(), 1_000..3_000)];
    let field = (name, spaces(), "0{0,4}", spaces());
    (other_fields(), field, other_fields(), body)
        .prop_map(|(before, (name, lead, zeros, trail), behind, body)| {
            let length = format!("{name}:{lead}{zeros}{}{trail}\r\n", body.len());
            let head = format!("HTTP/1.1 200 OK\r\n{before}{length}{behind}\r\n");
            Answer {
                bytes: [head.into_bytes(), body].concat(),
                wants_no_body: false,
                ends: true,
            }
        })
        .boxed()
}

fn chunked() -> BoxedStrategy<Answer> {
    let trailers = vec(other_field(), 0..3);
    (other_fields(), any::<bool>(), vec(chunk(), 0..6), trailers)
        .prop_map(|(fields, has_length, chunks, trailers)| {
            // RFC 9112, section 6.3: the coding overrides a length.
            let length = if has_length { "Content-Length: 3\r\n" } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\n{fields}{length}Transfer-Encoding: chunked\r\n\r\n");
            let trailers = trailers.iter().map(|trailer| format!("{trailer}\r\n"));
            let end = format!("0\r\n{}\r\n", trailers.collect::<String>());
            Answer {
                bytes: [head.into_bytes(), chunks.concat(), end.into_bytes()].concat(),
                wants_no_body: false,
                ends: true,
            }
        })
        .boxed()
}

fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let line = ("0{0,3}", "(;[a-z]{1,4}(=[a-z0-9]{1,20})?){0,2}", any::<bool>());
    (vec(any::<u8>(), 1..100), line).prop_map(|(data, (zeros, extension, is_upper))| {
        let size = if is_upper {
            format!("{:X}", data.len())
        } else {
            format!("{:x}", data.len())
        };
        let line = format!("{zeros}{size}{extension}\r\n");
        [line.as_bytes(), &data, b"\r\n"].concat()
    })
}

fn hostile_chunks() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![
        4 => "[0-9a-f]{1,2}",
        1 => "[0-9a-f]{14,19}",
        1 => "f{15,17}",
        1 => "(0x|\\+|-| )?0{0,20}[0-9a-f][ \t]{0,2}(;[ -~]{0,20})?",
        1 => Just(String::new()),
    ];
    let line_end = || prop_oneof![10 => Just("\r\n"), 1 => select(vec!["\n", "\r", "\r\r\n", "\n\r", ""])];
    let chunk =
        (size, line_end(), vec(any::<u8>(), 0..20), line_end()).prop_map(|(size, end, data, behind)| {
            [size.as_bytes(), end.as_bytes(), &data, behind.as_bytes()].concat()
        });
    let last = select(vec![
        "0\r\n\r\n",
        "0\r\nA: b\r\n\r\n",
        "0\r\nno field\r\n\r\n",
        "0\r\n",
        "0\n\n",
        "0;\r\n\r\n",
    ]);
    (vec(chunk, 0..3), last).prop_map(|(chunks, last)| [chunks.concat(), last.as_bytes().to_vec()].concat())
}

fn bodiless() -> BoxedStrategy<Answer> {
    let framing = select(vec![
        "",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
    ]);
    let status = select(vec!["204 No Content", "304 Not Modified", "200 OK", "404 "]);
    (status, other_fields(), framing)
        .prop_map(|(status, fields, framing)| {
            // RFC 9110, section 8.6: there is no length in a 204.
            let framing = if status.starts_with("204") { "" } else { framing };
            Answer {
                bytes: format!("HTTP/1.1 {status}\r\n{fields}{framing}\r\n").into_bytes(),
                wants_no_body: !status.starts_with("204") && !status.starts_with("304"),
                ends: true,
            }
        })
        .boxed()
}

fn until_close() -> BoxedStrategy<Answer> {
    let framing = select(vec!["", "Transfer-Encoding: gzip\r\n", "Connection: close\r\n"]);
    (other_fields(), framing, vec(any::<u8>(), 0..100))
        .prop_map(|(fields, framing, body)| Answer {
            bytes: [
                format!("HTTP/1.1 200 OK\r\n{fields}{framing}\r\n").into_bytes(),
                body,
            ]
            .concat(),
            wants_no_body: false,
            ends: false,
        })
        .boxed()
}
