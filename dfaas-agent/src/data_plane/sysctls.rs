//! Settings of the network namespace that the agent changes, and puts back when it goes.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::run_folder;

const PREFIX: &str = "sysctls-";

/// What was changed, in a file, so that it can be put back whatever becomes of the agent: `path`, tab, the value before, tab, the
/// value that the agent has set; a line each.
#[derive(Clone, Debug)]
pub(super) struct Sysctls {
    record: PathBuf,
}

impl Sysctls {
    /// Of an instance.
    pub(super) fn of(instance: &str) -> Self {
        Self::at(run_folder::base().join(format!("{PREFIX}{instance}")))
    }

    fn at(record: PathBuf) -> Self {
        Self { record }
    }

    /// Changes one, and notes what it was. What was changed before and is still noted was never anybody else's.
    pub(super) fn set(&self, path: &str, before: &str, value: &str) -> io::Result<()> {
        fs::write(path, value)?;
        let mut changes = self.changes();
        match changes.iter_mut().find(|change| change.path == path) {
            Some(change) => value.clone_into(&mut change.ours),
            None => changes.push(Change {
                path: path.to_owned(),
                before: before.to_owned(),
                ours: value.to_owned(),
            }),
        }
        // Who may not write there has nothing put back.
        let _not_noted = self.write(&changes);
        Ok(())
    }

    /// Puts back what nobody has changed since, and tells what that was.
    pub(super) fn put_back(&self) -> Vec<String> {
        let mut told = Vec::new();
        for Change { path, before, ours } in self.changes() {
            let is_ours = fs::read_to_string(&path).is_ok_and(|now| now.trim() == ours);
            // An empty list is written as a line without anything.
            if is_ours && fs::write(&path, format!("{before}\n")).is_ok() {
                told.push(format!("{path} is {before:?} again"));
            }
        }
        let _none = fs::remove_file(&self.record);
        told
    }

    fn changes(&self) -> Vec<Change> {
        let text = fs::read_to_string(&self.record).unwrap_or_default();
        text.lines().filter_map(Change::read).collect()
    }

    fn write(&self, changes: &[Change]) -> io::Result<()> {
        match self.record.parent().map(fs::create_dir_all) {
            Some(Err(error)) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lines: String = changes.iter().map(Change::line).collect();
        fs::write(&self.record, lines)
    }
}

/// What agents have noted whose instances have names that begin like this.
pub(super) fn records(prefix: &str) -> Vec<Sysctls> {
    let entries = fs::read_dir(run_folder::base()).into_iter().flatten().flatten();
    let begin = format!("{PREFIX}{prefix}");
    let theirs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&begin));
    theirs.map(|entry| Sysctls::at(entry.path())).collect()
}

struct Change {
    path: String,
    before: String,
    ours: String,
}

impl Change {
    fn read(line: &str) -> Option<Self> {
        let mut parts = line.split('\t').map(str::to_owned);
        let (path, before, ours) = (parts.next()?, parts.next()?, parts.next()?);
        Path::new(&path)
            .is_absolute()
            .then_some(Self { path, before, ours })
    }

    fn line(&self) -> String {
        format!("{}\t{}\t{}\n", self.path, self.before, self.ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_put_back_unless_somebody_has_changed_it_since() {
        let folder = tempfile::tempdir().unwrap();
        let sysctls = Sysctls::at(folder.path().join("record"));
        let [one, two] = ["one", "two"].map(|name| {
            let path = folder.path().join(name);
            fs::write(&path, "1\n").unwrap();
            path.to_str().unwrap().to_owned()
        });
        sysctls.set(&one, "1", "3").unwrap();
        sysctls.set(&one, "3", "7").unwrap();
        sysctls.set(&two, "1", "3").unwrap();
        fs::write(&two, "5\n").unwrap();
        assert_eq!(sysctls.put_back(), [format!("{one} is \"1\" again")]);
        assert_eq!(fs::read_to_string(&one).unwrap(), "1\n");
        assert_eq!(fs::read_to_string(&two).unwrap(), "5\n");
        assert_eq!(sysctls.put_back(), [""; 0]);
    }
}
