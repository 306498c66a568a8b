//! A file that is read again as soon as it changes.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Follows a file, if there is one.
#[derive(Debug)]
pub(crate) struct FollowedFile<T> {
    file: Option<PathBuf>,
    parse: fn(&str) -> Result<T>,
    /// What it said last.
    text: Option<String>,
}

impl<T> FollowedFile<T> {
    pub(crate) const fn new(file: Option<PathBuf>, parse: fn(&str) -> Result<T>) -> Self {
        Self {
            file,
            parse,
            text: None,
        }
    }

    /// What it says, if that is something else than at the last call. Call it every 200 ms.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that means nothing; what was said before then holds.
    pub(crate) fn follow(&mut self) -> Result<Option<T>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        if self.text.as_ref() == Some(&text) {
            return Ok(None);
        }
        let value = (self.parse)(&text).with_context(|| format!("reading {}", file.display()))?;
        self.text = Some(text);
        Ok(Some(value))
    }
}

/// The lines of a text that say something: no empty ones, and none that begin with `#`.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Result<Vec<u32>> {
        Ok(lines(text).map(str::parse).collect::<Result<_, _>>()?)
    }

    #[test]
    fn a_file_is_told_once_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("numbers");
        let mut followed = FollowedFile::new(Some(file.clone()), numbers);
        assert!(followed.follow().is_err());
        fs::write(&file, "# ours\n\n  7\n").unwrap();
        assert_eq!(followed.follow().unwrap(), Some(vec![7]));
        assert_eq!(followed.follow().unwrap(), None);
        fs::write(&file, "seven\n").unwrap();
        let error = format!("{:#}", followed.follow().unwrap_err());
        assert!(error.contains("numbers: invalid digit"), "{error}");
        fs::write(&file, "").unwrap();
        assert_eq!(followed.follow().unwrap(), Some(vec![]));
    }

    #[test]
    fn without_a_file_there_is_nothing_to_tell() {
        assert_eq!(FollowedFile::new(None, numbers).follow().unwrap(), None);
    }
}
