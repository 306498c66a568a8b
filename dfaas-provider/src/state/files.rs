//! Writing files so that a crash leaves the old one or the new one, never half of one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the platform keeps is for its own user: secrets lie beside the rest.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Temporary files begin so, and no others; they are left over from a crash and never read.
const TEMPORARY: &str = ".new-";

#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}: {source}", path = path.display())]
pub struct FileError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    pub(crate) fn new(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

pub(crate) fn create_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(FileError::new("create the directory", path))
}

/// Lets others go through a directory, but not list it.
pub(crate) fn let_pass(path: &Path) -> Result<(), FileError> {
    match fs::set_permissions(path, PermissionsExt::from_mode(0o711)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        changed => changed.map_err(FileError::new("open the directory", path)),
    }
}

/// Replaces a file, whose directory must exist.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    try_write(path, content).map_err(FileError::new("write the file", path))
}

fn try_write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = OsString::from(TEMPORARY);
    name.push(path.file_name().unwrap_or_default());
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    fs::remove_file(path)
        .and_then(|()| sync_parent(path))
        .map_err(FileError::new("remove the file", path))
}

/// Lists the entries of a directory in the order of their names; a directory that is not there is empty.
pub(crate) fn list(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::new("list the directory", path))?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(FileError::new("list the directory", path))?;
    paths.retain(|path| !is_temporary(path));
    paths.sort();
    Ok(paths)
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove_directory(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(FileError::new("remove the directory", path)),
    }
}

/// Makes a rename or a removal durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        write(&path, b"old and long").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            FILE_MODE
        );
        assert_eq!(list(directory.path()).unwrap(), [path]);
    }

    #[test]
    fn what_a_crash_left_is_not_listed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".new-x.json"), "half").unwrap();
        assert_eq!(list(directory.path()).unwrap(), [] as [PathBuf; 0]);
    }

    #[test]
    fn no_name_is_taken_for_another_ones_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let (x, other) = (directory.path().join("x"), directory.path().join("x.tmp"));
        write(&other, b"other").unwrap();
        write(&x, b"x").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"other");
        assert_eq!(list(directory.path()).unwrap(), [x, other]);
    }

    #[test]
    fn errors_name_the_file() {
        let error = write(Path::new("/nowhere/x"), b"").unwrap_err().to_string();
        assert!(error.starts_with("write the file /nowhere/x: "), "{error}");
    }
}
