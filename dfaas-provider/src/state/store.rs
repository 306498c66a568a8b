//! Functions on disk, one JSON file each, so that they survive a restart.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state::files::{self, FileError};
use crate::state::name::FunctionName;
use crate::wire::Deployment;

const EXTENSION: &str = "json";

/// Files that cannot be read are renamed so, for a person to look at.
const ASIDE: &str = "corrupt";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) deployment: Deployment,
    pub(crate) replicas: u32,
    pub(crate) created_at: Timestamp,
    /// The user that its processes run as, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u32>,
}

/// A directory of values by namespace and name.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(crate) fn open(directory: PathBuf) -> Result<Self, FileError> {
        files::create_directory(&directory)?;
        Ok(Self { directory })
    }

    pub(crate) fn save(&self, name: &FunctionName, record: &Record) -> Result<(), FileError> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            files::create_directory(parent)?;
        }
        let text = serde_json::to_vec_pretty(record).map_err(std::io::Error::from);
        files::write(
            &path,
            &text.map_err(FileError::new("describe the function for", &path))?,
        )
    }

    pub(crate) fn remove(&self, name: &FunctionName) -> Result<(), FileError> {
        files::remove(&self.path(name))
    }

    /// Reads what was saved. A file that makes no sense is set aside with a warning.
    pub(crate) fn load(&self) -> Result<Vec<(FunctionName, Record)>, FileError> {
        let mut records = Vec::new();
        let mut namespaces = files::list(&self.directory)?;
        namespaces.retain(|path| path.is_dir());
        for namespace in namespaces {
            let paths = files::list(&namespace)?;
            records.extend(
                paths
                    .iter()
                    .filter(|path| has_extension(path))
                    .filter_map(|path| load(path)),
            );
        }
        Ok(records)
    }

    fn path(&self, name: &FunctionName) -> PathBuf {
        self.directory
            .join(&name.namespace)
            .join(format!("{}.{EXTENSION}", name.name))
    }
}

fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

fn load(path: &Path) -> Option<(FunctionName, Record)> {
    match read(path) {
        Ok(found) => Some(found),
        Err(error) => {
            let aside = path.with_extension(ASIDE);
            let moved = fs::rename(path, &aside).is_ok();
            let (path, aside) = (path.display(), aside.display());
            tracing::warn!(%path, %error, %aside, moved, "Left out a function whose file makes no sense");
            None
        }
    }
}

fn read(path: &Path) -> anyhow::Result<(FunctionName, Record)> {
    let record: Record = serde_json::from_slice(&fs::read(path)?)?;
    let name = FunctionName::new(&record.deployment.service, &record.deployment.namespace)?;
    Ok((name, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let (store, name) = store_with_one(directory.path());
        let loaded = store.load().unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!((&loaded[0].0, loaded[0].1.replicas), (&name, 2));
        store.remove(&name).unwrap();
        assert!(store.load().unwrap().is_empty());
    }

    #[test]
    fn a_corrupt_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let (store, name) = store_with_one(directory.path());
        let path = store.path(&FunctionName {
            name: "bad".to_owned(),
            ..name.clone()
        });
        fs::write(&path, "{\"deployment\":").unwrap();
        assert_eq!(store.load().unwrap().len(), 1);
        assert!(!path.exists() && path.with_extension(ASIDE).exists());
    }

    fn store_with_one(directory: &Path) -> (Store, FunctionName) {
        let store = Store::open(directory.join("functions")).unwrap();
        let name = FunctionName::new("x", "").unwrap();
        let deployment = Deployment {
            service: "x".to_owned(),
            ..Deployment::default()
        };
        store
            .save(
                &name,
                &Record {
                    user: None,
                    deployment,
                    replicas: 2,
                    created_at: Timestamp::UNIX_EPOCH,
                },
            )
            .unwrap();
        (store, name)
    }
}
