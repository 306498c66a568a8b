//! The number of this start of the node, greater than those of all starts before.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tracing::warn;

/// The file in the state directory that keeps the last one.
const FILE: &str = "incarnation";

/// The number of this start: the milliseconds since 1970, or one more than the last if the clock has been set back since.
///
/// Peers take a node with a lesser number for a delayed message of itself. Where the state directory cannot be written the clock
/// alone has to do.
pub(crate) fn next(state_dir: &Path, unix_ms: u64) -> u64 {
    let file = state_dir.join(FILE);
    let last = last(&file).unwrap_or_else(|error| {
        warn!(
            error = format!("{error:#}"),
            "The number of the last start cannot be read; the clock's is taken"
        );
        None
    });
    let next = last.map_or(unix_ms, |last| unix_ms.max(last.saturating_add(1)));
    if let Err(error) = keep(&file, next) {
        warn!(
            error = format!("{error:#}"),
            "The number of this start cannot be kept: if the clock is set back, peers will not hear the next one for a while"
        );
    }
    next
}

fn last(file: &Path) -> Result<Option<u64>> {
    match fs::read_to_string(file) {
        Ok(text) => {
            let number = text.trim().parse();
            number
                .map(Some)
                .with_context(|| format!("{} holds no number", file.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// Replaces the file as a whole, so that a crash leaves the old number or the new one.
fn keep(file: &Path, number: u64) -> Result<()> {
    let beside: PathBuf = file.with_extension("new");
    let write = || {
        let mut new = fs::File::create(&beside)?;
        writeln!(new, "{number}")?;
        new.sync_all()?;
        fs::rename(&beside, file)
    };
    write().with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_even_where_the_clock_is_set_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(next(folder.path(), 1_700_000_000_000), 1_700_000_000_000);
        // A host without a clock of its own starts in 1970.
        assert_eq!(next(folder.path(), 7), 1_700_000_000_001);
        assert_eq!(next(folder.path(), 8), 1_700_000_000_002);
        assert_eq!(next(folder.path(), 1_800_000_000_000), 1_800_000_000_000);
    }

    #[test]
    fn a_file_that_means_nothing_or_cannot_be_written_leaves_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "many\n").unwrap();
        assert_eq!(next(folder.path(), 5), 5);
        assert_eq!(next(folder.path(), 5), 6, "it was replaced");
        assert_eq!(next(&folder.path().join("missing"), 5), 5);
    }
}
