//! How long a body is, told wrongly, twice or in odd letters.

use super::{ANY, EITHER, FORGED, REFUSED, case, raw};
use crate::attempt::{Attempt, MARKER};

/// The function may have begun to answer.
const MALFORMED: &str = "refused | closed | part | waits | 200 refused";
const MALFORMED_OR_ANY: &str = "refused | closed | part | waits | 200 | 200 refused";

pub(super) fn all() -> Vec<Attempt> {
    [lengths(), codings(), chunks()].concat()
}

fn lengths() -> Vec<Attempt> {
    let behind = format!("{}{FORGED}", String::from_utf8_lossy(MARKER));
    let with = |name, fields: &str, allowed| case(name, raw(fields, &behind), allowed);
    let all = behind.len();
    vec![
        with("two equal lengths", "Content-Length: 8\r\nContent-Length: 8", ANY),
        case(
            "two lengths",
            raw(&format!("Content-Length: 8\r\nContent-Length: {all}"), &behind),
            REFUSED,
        ),
        case(
            "two lengths, the other way round",
            raw(&format!("Content-Length: {all}\r\nContent-Length: 8"), &behind),
            REFUSED,
        ),
        with("a list of equal lengths", "Content-Length: 8, 8", ANY),
        with("a list of lengths", "Content-Length: 8, 80", REFUSED),
        with("a length with a plus", "Content-Length: +8", REFUSED),
        with("a length below zero", "Content-Length: -8", REFUSED),
        with("a length of two words", "Content-Length: 8 8", REFUSED),
        with("a length with a letter", "Content-Length: 8a", REFUSED),
        with("a length in hex", "Content-Length: 0x8", REFUSED),
        with("a length with a point", "Content-Length: 8.0", REFUSED),
        with("an empty length", "Content-Length:", REFUSED),
        with("a length with zeros before", "Content-Length: 0000000008", ANY),
        with(
            "a length of 8 in 32 bits",
            "Content-Length: 4294967304",
            "refused | closed | part | waits",
        ),
        with(
            "a length of 8 in 64 bits",
            "Content-Length: 18446744073709551624",
            REFUSED,
        ),
        with(
            "a length with a space before the colon",
            "Content-Length : 8",
            REFUSED,
        ),
        with("a length on a folded line", "X: y\r\n Content-Length: 8", ANY),
        with("a folded length", "Content-Length:\r\n 8", ANY),
        with("a length behind a tab", "Content-Length:\t8", ANY),
        with("a length with spaces behind", "Content-Length: 8  ", ANY),
        with("a length in capitals", "CONTENT-LENGTH:8", "200 403"),
        with(
            "a length named in Connection",
            "Connection: Content-Length\r\nContent-Length: 8",
            ANY,
        ),
        with(
            "a name that begins like a length",
            "Content-Length-X: 80\r\nContent-Length: 8",
            "200 403",
        ),
        with(
            "a name that ends like a length",
            "X-Content-Length: 80\r\nContent-Length: 8",
            "200 403",
        ),
        with(
            "a length with an underscore",
            "Content_Length: 80\r\nContent-Length: 8",
            ANY,
        ),
    ]
}

/// Both a length and a coding, so that who overlooks the coding takes a request for a body, or a body for a request.
fn codings() -> Vec<Attempt> {
    let behind = format!("0\r\n\r\n{FORGED}");
    let all = behind.len();
    let with = |name, field: &str| {
        let fields = format!("Content-Length: {all}\r\n{field}");
        case(name, raw(&fields, &behind), ANY)
    };
    let chunk = format!("{:x}\r\n{FORGED}\r\n0\r\n\r\n", FORGED.len());
    vec![
        with("a length and a coding", "Transfer-Encoding: chunked"),
        case(
            "a coding and a length",
            raw("Transfer-Encoding: chunked\r\nContent-Length: 4", &chunk),
            ANY,
        ),
        case(
            "a coding and a length of nothing",
            raw("Transfer-Encoding: chunked\r\nContent-Length: 0", &chunk),
            ANY,
        ),
        with("an unknown coding", "Transfer-Encoding: xchunked"),
        with(
            "a coding with a space before the colon",
            "Transfer-Encoding : chunked",
        ),
        with("a coding behind a tab", "Transfer-Encoding:\tchunked"),
        with("a coding with a tab behind", "Transfer-Encoding: chunked\t"),
        with("a coding without a space", "Transfer-Encoding:chunked"),
        with("a coding in capitals", "TRANSFER-ENCODING: CHUNKED"),
        with("a coding in quotes", "Transfer-Encoding: \"chunked\""),
        with(
            "a coding that is not the last",
            "Transfer-Encoding: chunked, identity",
        ),
        with(
            "a coding that is the last",
            "Transfer-Encoding: identity, chunked",
        ),
        with(
            "two codings",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        ),
        with(
            "two codings, the other way round",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        ),
        with("a coding twice", "Transfer-Encoding: chunked, chunked"),
        with("a coding with a comma before", "Transfer-Encoding: , chunked"),
        with("an empty coding", "Transfer-Encoding:"),
        with("a folded coding", "Transfer-Encoding:\r\n chunked"),
        with("a coding on a folded line", "X: y\r\n Transfer-Encoding: chunked"),
        with(
            "a coding behind a bare line feed",
            "X: y\nTransfer-Encoding: chunked",
        ),
        with(
            "a coding behind a bare carriage return",
            "X: y\rTransfer-Encoding: chunked",
        ),
        with("a coding with a vertical tab", "Transfer-Encoding: \u{b}chunked"),
        with("a coding with a parameter", "Transfer-Encoding: chunked;x=y"),
        with("a coding with an underscore", "Transfer_Encoding: chunked"),
        with(
            "a coding that is named in Connection",
            "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
        ),
    ]
}

fn chunks() -> Vec<Attempt> {
    let with = |name, body: &str, allowed| {
        let bytes = raw("Transfer-Encoding: chunked", &format!("{body}{FORGED}"));
        case(name, bytes, allowed)
    };
    vec![
        case(
            "chunks alone",
            raw("Transfer-Encoding: chunked", "8\r\nMARKER!!\r\n0\r\n\r\n"),
            EITHER,
        ),
        with("chunks", "8\r\nMARKER!!\r\n0\r\n\r\n", ANY),
        with(
            "chunks with extensions",
            "8;x=y\r\nMARKER!!\r\n0;last\r\n\r\n",
            ANY,
        ),
        with(
            "a chunk whose extension has a bare line feed",
            "8;x\ny\r\nMARKER!!\r\n0\r\n\r\n",
            MALFORMED,
        ),
        with("chunks with trailers", "8\r\nMARKER!!\r\n0\r\nX: y\r\n\r\n", ANY),
        with(
            "an identity in a trailer",
            "0\r\nDFaaS-Node-ID: forged\r\n\r\n",
            ANY,
        ),
        with("a length in a trailer", "0\r\nContent-Length: 100\r\n\r\n", ANY),
        with(
            "a chunk size that is no number",
            "zz\r\nMARKER!!\r\n0\r\n\r\n",
            MALFORMED,
        ),
        with(
            "a chunk size below zero",
            "-8\r\nMARKER!!\r\n0\r\n\r\n",
            MALFORMED,
        ),
        with("a chunk size with 0x", "0x8\r\nMARKER!!\r\n0\r\n\r\n", MALFORMED),
        with(
            "a chunk size of 8 in 64 bits",
            "10000000000000008\r\nMARKER!!\r\n0\r\n\r\n",
            MALFORMED,
        ),
        with(
            "a chunk size with a space before",
            " 8\r\nMARKER!!\r\n0\r\n\r\n",
            MALFORMED_OR_ANY,
        ),
        with(
            "a chunk size with a space behind",
            "8 \r\nMARKER!!\r\n0\r\n\r\n",
            MALFORMED_OR_ANY,
        ),
        with(
            "a chunk size behind a bare line feed",
            "8\nMARKER!!\r\n0\r\n\r\n",
            MALFORMED_OR_ANY,
        ),
        with(
            "a chunk without its line end",
            "8\r\nMARKER!!0\r\n\r\n",
            MALFORMED,
        ),
        with("no chunks", "", MALFORMED),
    ]
}
