//! What kind of content a function wrote, by the rules browsers follow, as Go's watchdog does.
//!
//! The patterns are those of the MIME Sniffing Standard, sections 6 and 7.

use hyper::header::HeaderValue;

/// The standard looks no further.
const HEAD_BYTES: usize = 512;

/// Tags that begin HTML, without their `<`.
const TAGS: [&str; 17] = [
    "!DOCTYPE HTML",
    "HTML",
    "HEAD",
    "SCRIPT",
    "IFRAME",
    "H1",
    "DIV",
    "FONT",
    "TABLE",
    "A",
    "STYLE",
    "TITLE",
    "B",
    "BODY",
    "BR",
    "P",
    "!--",
];

/// Where a pattern begins, the pattern, and the type it tells; `?` stands for any byte.
const PATTERNS: [(usize, &[u8], &str); 33] = [
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS-Adobe-", "application/postscript"),
    (0, b"\xFE\xFF", "text/plain; charset=utf-16be"),
    (0, b"\xFF\xFE", "text/plain; charset=utf-16le"),
    (0, b"\xEF\xBB\xBF", "text/plain; charset=utf-8"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"\x00\x00\x02\x00", "image/x-icon"),
    (0, b"BM", "image/bmp"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"RIFF????WEBPVP", "image/webp"),
    (0, b"\x89PNG\r\n\x1A\n", "image/png"),
    (0, b"\xFF\xD8\xFF", "image/jpeg"),
    (0, b"FORM????AIFF", "audio/aiff"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS\x00", "application/ogg"),
    (0, b"MThd\x00\x00\x00\x06", "audio/midi"),
    (0, b"RIFF????AVI ", "video/avi"),
    (0, b"RIFF????WAVE", "audio/wave"),
    (4, b"ftypmp4", "video/mp4"),
    (0, b"\x1A\x45\xDF\xA3", "video/webm"),
    (34, b"LP", "application/vnd.ms-fontobject"),
    (0, b"\x00\x01\x00\x00", "font/ttf"),
    (0, b"OTTO", "font/otf"),
    (0, b"ttcf", "font/collection"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\x1F\x8B\x08", "application/x-gzip"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"Rar!\x1A\x07\x00", "application/x-rar-compressed"),
    (0, b"Rar!\x1A\x07\x01\x00", "application/x-rar-compressed"),
    (0, b"\x00asm", "application/wasm"),
    (4, b"ftypisom", "video/mp4"),
];

pub(super) fn content_type(content: &[u8]) -> HeaderValue {
    HeaderValue::from_static(kind(&content[..content.len().min(HEAD_BYTES)]))
}

fn kind(head: &[u8]) -> &'static str {
    let text = head.trim_ascii_start();
    if is_html(text) {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    let known = PATTERNS
        .iter()
        .find(|(at, pattern, _)| matches(head, *at, pattern));
    match known {
        Some((_, _, kind)) => kind,
        None if head.iter().any(|&byte| is_binary(byte)) => "application/octet-stream",
        None => "text/plain; charset=utf-8",
    }
}

/// A tag ends with a space or `>`.
fn is_html(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"<") else {
        return false;
    };
    TAGS.iter().any(|tag| {
        let Some((begin, end)) = rest.split_at_checked(tag.len()) else {
            return false;
        };
        let ended = *tag == "!--" || matches!(end.first(), Some(b' ' | b'>'));
        begin.eq_ignore_ascii_case(tag.as_bytes()) && ended
    })
}

fn matches(head: &[u8], at: usize, pattern: &[u8]) -> bool {
    let found = head.get(at..at + pattern.len()).unwrap_or_default();
    found.len() == pattern.len()
        && found
            .iter()
            .zip(pattern)
            .all(|(found, want)| *want == b'?' || found == want)
}

/// The standard's binary data bytes.
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0x00..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_first_bytes() {
        check(b"", "text/plain; charset=utf-8");
        check("Gr\u{fc}\u{df}e".as_bytes(), "text/plain; charset=utf-8");
        check(b" \n<!doctype html><p>x", "text/html; charset=utf-8");
        check(b"<p class=x>", "text/html; charset=utf-8");
        check(b"<!--x", "text/html; charset=utf-8");
        check(b"<pre>", "text/plain; charset=utf-8");
        check(b"<p", "text/plain; charset=utf-8");
        check(b"<?xml version='1.0'?>", "text/xml; charset=utf-8");
        check(b"\x89PNG\r\n\x1A\n...", "image/png");
        check(b"\xFF\xD8\xFF\xE0", "image/jpeg");
        check(b"RIFF1234WEBPVP8 ", "image/webp");
        check(b"%PDF-1.7", "application/pdf");
        check(b"\x1F\x8B\x08\x00", "application/x-gzip");
        check(b"{\"a\": 1}", "text/plain; charset=utf-8");
        check(b"\x01\x02", "application/octet-stream");
    }

    #[test]
    fn only_the_head_counts() {
        let mut content = vec![b'x'; HEAD_BYTES];
        content.push(0);
        check(&content, "text/plain; charset=utf-8");
    }

    #[track_caller]
    fn check(content: &[u8], want: &str) {
        assert_eq!(content_type(content), want, "{content:?}");
    }
}
