//! What became of one request.

use std::time::Duration;

use jiff::Timestamp;

/// One request and its answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Its number among those of its target, from zero.
    pub(crate) number: u64,
    /// The target's name.
    pub(crate) target: String,
    pub(crate) method: String,
    pub(crate) url: String,
    /// When it was due.
    pub(crate) due: Timestamp,
    /// From when it was due to the end of its answer; so a server that stands still is charged for all who would have
    /// asked meanwhile.
    pub(crate) latency: Duration,
    /// The status code; zero without an answer.
    pub(crate) code: u16,
    /// Bytes of the request's body.
    pub(crate) bytes_out: u64,
    /// Bytes of the answer's body.
    pub(crate) bytes_in: u64,
    /// Why there is no answer; empty if there is one.
    pub(crate) error: String,
    /// Who says to have served it (`X-Served-By`).
    pub(crate) served_by: Option<String>,
}

impl Sample {
    /// Whether it was answered by a code of 200 to 399, as vegeta counts success.
    pub(crate) fn is_success(&self) -> bool {
        (200..400).contains(&self.code)
    }
}
