//! The ocr function: an image comes in, as it is or in base64, and its text goes out.

use std::io::{self, Read, Write};
use std::process::{Command, ExitStatus, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const JPEG: &[u8] = b"\xff\xd8\xff";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

#[derive(Debug, thiserror::Error)]
pub enum OcrError {
    #[error("read the image: {0}")]
    Read(io::Error),
    #[error("start tesseract: {0}; install it (Debian: apt install tesseract-ocr)")]
    Start(io::Error),
    #[error("run tesseract: {0}")]
    Run(io::Error),
    #[error("tesseract ended with {status}: {text}")]
    Failed { status: ExitStatus, text: String },
    #[error("write the text: {0}")]
    Write(io::Error),
}

/// Reads an image from `input` and writes its text to `output`. A body that is no image is answered with a
/// sentence and not an error, as the OpenFaaS function has it.
///
/// # Errors
/// If the image cannot be read, or tesseract cannot be run or fails.
pub fn run(mut input: impl Read, mut output: impl Write) -> Result<(), OcrError> {
    let mut body = Vec::new();
    input.read_to_end(&mut body).map_err(OcrError::Read)?;
    let text = match image(&body) {
        Ok(image) => recognise(&image)?,
        Err(sentence) => sentence.into(),
    };
    output
        .write_all(&text)
        .and_then(|()| output.write_all(b"\n"))
        .map_err(OcrError::Write)
}

fn image(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    if body.trim_ascii().is_empty() {
        return Err("Request body is missing.");
    }
    if is_image(body) {
        return Ok(body.to_vec());
    }
    let text: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    match BASE64_STANDARD.decode(text) {
        Ok(image) if is_image(&image) => Ok(image),
        Ok(_) => Err("Only JPEG or PNG images are allowed."),
        Err(_) => Err("Not a valid image file. Send a JPEG or PNG image, as it is or in base64."),
    }
}

fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(JPEG) || bytes.starts_with(PNG)
}

/// Runs tesseract on one thread: calls run beside each other already.
fn recognise(image: &[u8]) -> Result<Vec<u8>, OcrError> {
    let mut tesseract = Command::new("tesseract")
        .args(["stdin", "stdout"])
        .env("OMP_THREAD_LIMIT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // It chats about what it estimates, which is no part of the text.
        .stderr(Stdio::piped())
        .spawn()
        .map_err(OcrError::Start)?;
    let mut stdin = tesseract.stdin.take();
    let output = std::thread::scope(|scope| {
        // Its exit status tells whether it read the image; a broken pipe says less.
        scope.spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(image)));
        tesseract.wait_with_output().map_err(OcrError::Run)
    })?;
    match output.status.success() {
        true => Ok(output.stdout.trim_ascii_end().to_vec()),
        false => {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(OcrError::Failed {
                status: output.status,
                text,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_raw_or_in_base64() {
        check(PNG, Ok(PNG));
        check(JPEG, Ok(JPEG));
        check(b"iVBORw0KGgo=", Ok(PNG));
        check(b"iVBO\nRw0K\r\nGgo=\n", Ok(PNG));
    }

    #[test]
    fn other_bodies_are_answered_with_a_sentence() {
        check(b" \n", Err("Request body is missing."));
        check(b"SGVsbG8=", Err("Only JPEG or PNG images are allowed."));
        assert!(image(b"https://example.com/a.png").is_err());
    }

    #[track_caller]
    fn check(body: &[u8], want: Result<&[u8], &str>) {
        assert_eq!(image(body).as_deref(), want.as_deref());
    }
}
