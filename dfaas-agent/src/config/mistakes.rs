//! What is wrong with a configuration, all of it.

use std::fmt::{self, Display, Formatter};

/// Whose mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was asked for makes no sense anywhere.
    Usage,
    /// What was asked for is not to be had on this host.
    Host,
}

/// All that is wrong with a configuration, a line each.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    lines: Vec<(Kind, String)>,
}

impl Mistakes {
    /// Keeps the value, or notes the mistake and the flag it was made at.
    pub(super) fn take<T, E: Display>(&mut self, flag: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.note(Kind::Usage, flag, error)).ok()
    }

    pub(super) fn note(&mut self, kind: Kind, flag: &str, text: impl Display) {
        self.lines.push((kind, format!("{flag}: {text}")));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn none_or_else<T>(self, value: T) -> Result<T, Self> {
        if self.lines.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// Adds what was found elsewhere.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        self
    }

    /// Whether a mistake is the operator's and not the host's.
    pub(crate) fn has_wrong_usage(&self) -> bool {
        self.lines.iter().any(|(kind, _)| *kind == Kind::Usage)
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> Vec<&str> {
        self.lines.iter().map(|(_, line)| line.as_str()).collect()
    }
}

impl Display for Mistakes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self.lines.iter().map(|(_, line)| line.as_str()).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}
