//! The request as one JSON text for the process's input, as `marshal_request` asks for it.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::http::request::Parts;
use serde::Serialize;

use super::CallError;
use super::environment::canonical;
use crate::web::body::BodyError;
use crate::web::spool::{Input, SpoolError};

/// The text is a third longer than the body and is kept in memory.
const BODY_BYTES_MAX: u64 = 16 << 20;

#[derive(Serialize)]
struct Request {
    header: BTreeMap<String, Vec<String>>,
    body: Raw,
}

#[derive(Serialize)]
struct Raw {
    raw: String,
}

pub(super) fn request(head: &Parts, input: &Input) -> Result<Input, CallError> {
    if input.length() > BODY_BYTES_MAX {
        return Err(SpoolError::Body(BodyError::TooLong(BODY_BYTES_MAX)).into());
    }
    let raw = match input {
        Input::Memory(bytes) => BASE64_STANDARD.encode(bytes),
        Input::File { file, .. } => {
            let mut bytes = Vec::new();
            (&*file).read_to_end(&mut bytes)?;
            BASE64_STANDARD.encode(bytes)
        }
    };
    let mut header = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        header.entry(canonical(name, "-")).or_default().push(value);
    }
    let text = serde_json::to_vec(&Request {
        header,
        body: Raw { raw },
    });
    Ok(Input::Memory(text.map_err(std::io::Error::from)?.into()))
}
