//! A waiting call, and the file that keeps it: a line of JSON, and the request's body behind it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::Counts;
use crate::calls::callback::Callback;
use crate::state::files::{self, FileError};
use crate::web::body::Body;

const EXTENSION: &str = "call";

/// Files that cannot be read are renamed so, for a person to look at.
const ASIDE: &str = "corrupt";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) name: String,
    uri: String,
    /// The values' bytes, as the characters of the same numbers.
    headers: Vec<(String, String)>,
    pub(super) callback: Option<Callback>,
}

impl Head {
    pub(super) fn new(name: String, head: &Parts, callback: Option<&Callback>) -> Self {
        let headers = head.headers.iter().map(|(name, value)| {
            let value = value.as_bytes().iter().map(|&byte| char::from(byte)).collect();
            (name.as_str().to_owned(), value)
        });
        Self {
            name,
            uri: head.uri.to_string(),
            headers: headers.collect(),
            callback: callback.cloned(),
        }
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let bytes: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
            headers.append(
                HeaderName::try_from(name.as_str())?,
                HeaderValue::from_bytes(&bytes?)?,
            );
        }
        Ok(headers)
    }
}

/// A call as it lies on disk.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) head: Head,
    pub(super) body: Bytes,
}

impl Kept {
    pub(super) fn save(self) -> Result<Self, FileError> {
        let text = serde_json::to_vec(&self.head).map_err(io::Error::from);
        let mut text = text.map_err(FileError::new("describe the call for", &self.path))?;
        text.push(b'\n');
        text.extend_from_slice(&self.body);
        files::write(&self.path, &text)?;
        Ok(self)
    }
}

pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{EXTENSION}"))
}

/// Reads the calls that wait, in the order in which they came.
pub(super) fn load(directory: &Path) -> Result<Vec<(u64, Kept)>, FileError> {
    let paths = files::list(directory)?;
    Ok(paths.into_iter().filter_map(load_one).collect())
}

fn load_one(path: PathBuf) -> Option<(u64, Kept)> {
    if path.extension().is_none_or(|extension| extension != EXTENSION) {
        return None;
    }
    let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
    match read(&path) {
        Ok((head, body)) => Some((number?, Kept { path, head, body })),
        Err(error) => {
            let moved = fs::rename(&path, path.with_extension(ASIDE)).is_ok();
            warn!(path = %path.display(), %error, moved, "Left out an asynchronous call whose file makes no sense");
            None
        }
    }
}

fn read(path: &Path) -> anyhow::Result<(Head, Bytes)> {
    let mut bytes = Bytes::from(fs::read(path)?);
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let end = end.ok_or_else(|| anyhow::anyhow!("it has no first line"))?;
    let line = bytes.split_to(end);
    let head: Head = serde_json::from_slice(&line)?;
    head.headers()?;
    Ok((head, bytes.slice(1..)))
}

/// A call that waits or is being made.
#[derive(Debug)]
pub(super) struct Job {
    kept: Kept,
    _room: Option<OwnedSemaphorePermit>,
    counts: Arc<Counts>,
}

impl Job {
    pub(super) fn new(kept: Kept, room: Option<OwnedSemaphorePermit>, counts: Arc<Counts>) -> Self {
        counts.waiting.fetch_add(1, Relaxed);
        Self {
            kept,
            _room: room,
            counts,
        }
    }

    pub(super) fn head(&self) -> &Head {
        &self.kept.head
    }

    pub(super) fn request(&self) -> anyhow::Result<Request<Body>> {
        let request = Request::builder().method(Method::POST).uri(&self.kept.head.uri);
        let mut request = request.body(Body::whole(self.kept.body.clone()))?;
        *request.headers_mut() = self.kept.head.headers()?;
        Ok(request)
    }

    /// Forgets a call that was made and told of.
    pub(super) fn done(self) {
        if let Err(error) = files::remove(&self.kept.path) {
            warn!(%error, "An asynchronous call that was made will be made again");
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.counts.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_they_were_kept() {
        let directory = tempfile::tempdir().unwrap();
        let request = Request::post("/x?y=1").header("a", HeaderValue::from_bytes(b"\xE9").unwrap());
        let (head, ()) = request.body(()).unwrap().into_parts();
        for (number, body) in [(10, "b\n"), (9, "")] {
            let kept = Kept {
                path: path(directory.path(), number),
                head: Head::new("f".to_owned(), &head, None),
                body: body.into(),
            };
            kept.save().unwrap();
        }
        fs::write(directory.path().join("1.call"), "half").unwrap();
        fs::write(directory.path().join("README"), "").unwrap();
        let found = load(directory.path()).unwrap();
        let numbers: Vec<u64> = found.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [9, 10]);
        let (_, kept) = &found[1];
        assert_eq!(kept.body, "b\n");
        assert_eq!(kept.head.headers().unwrap(), head.headers);
        assert_eq!(kept.head.uri, "/x?y=1");
    }
}
