//! Namespaces, one JSON file each. The default one is always there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use hyper::StatusCode;

use crate::state::files::{self, FileError};
use crate::state::name::{self, DEFAULT_NAMESPACE, NameError};
use crate::wire::Namespace;

/// The label by which OpenFaaS knows a namespace as its own, and its value.
const OWN_LABEL: (&str, &str) = ("openfaas", "1");

#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    #[error("namespace name: {0}")]
    Name(#[from] NameError),
    #[error("the namespace {0} lacks the label {label}={value}; add it", label = OWN_LABEL.0, value = OWN_LABEL.1)]
    Label(String),
    #[error("the namespace {0} exists; change it with PUT /system/namespace/{0}")]
    Exists(String),
    #[error(
        "there is no namespace {0}; list them with GET /system/namespaces, create one with POST /system/namespace/"
    )]
    Missing(String),
    #[error("the namespace {0} is the default one and stays")]
    Default(String),
    #[error("the namespace {name} still has the functions {functions}; remove them first")]
    InUse { name: String, functions: String },
    #[error(transparent)]
    File(#[from] FileError),
}

impl NamespaceError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Name(_) | Self::Label(_) | Self::Default(_) => StatusCode::BAD_REQUEST,
            Self::Exists(_) | Self::InUse { .. } => StatusCode::CONFLICT,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Namespaces {
    directory: PathBuf,
    known: RwLock<BTreeMap<String, Namespace>>,
}

impl Namespaces {
    pub(crate) fn open(state: &Path) -> Result<Self, FileError> {
        let directory = state.join("namespaces");
        files::create_directory(&directory)?;
        let mut known = BTreeMap::from([(DEFAULT_NAMESPACE.to_owned(), default_namespace())]);
        for path in files::list(&directory)? {
            match read(&path) {
                Ok(namespace) => drop(known.insert(namespace.name.clone(), namespace)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "Left out a namespace whose file makes no sense");
                }
            }
        }
        Ok(Self {
            directory,
            known: RwLock::new(known),
        })
    }

    pub(crate) fn list(&self) -> Vec<String> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    pub(crate) fn find(&self, name: &str) -> Result<Namespace, NamespaceError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .get(name)
            .cloned()
            .ok_or_else(|| NamespaceError::Missing(name.to_owned()))
    }

    pub(crate) fn create(&self, namespace: Namespace) -> Result<(), NamespaceError> {
        match self.find(&namespace.name) {
            Ok(known) => Err(NamespaceError::Exists(known.name)),
            Err(_) => self.save(namespace),
        }
    }

    pub(crate) fn update(&self, namespace: Namespace) -> Result<(), NamespaceError> {
        self.find(&namespace.name)?;
        self.save(namespace)
    }

    /// Removes a namespace that the caller found to be empty.
    pub(crate) fn remove(&self, name: &str) -> Result<(), NamespaceError> {
        if name == DEFAULT_NAMESPACE {
            return Err(NamespaceError::Default(name.to_owned()));
        }
        self.find(name)?;
        files::remove(&self.path(name))?;
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        Ok(())
    }

    fn save(&self, namespace: Namespace) -> Result<(), NamespaceError> {
        name::check_label(&namespace.name)?;
        let (label, value) = OWN_LABEL;
        if namespace.labels.get(label).is_none_or(|found| found != value) {
            return Err(NamespaceError::Label(namespace.name));
        }
        let path = self.path(&namespace.name);
        let text = serde_json::to_vec_pretty(&namespace).map_err(std::io::Error::from);
        files::write(
            &path,
            &text.map_err(FileError::new("describe the namespace for", &path))?,
        )?;
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(namespace.name.clone(), namespace);
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

fn read(path: &Path) -> anyhow::Result<Namespace> {
    let namespace: Namespace = serde_json::from_slice(&fs::read(path)?)?;
    name::check_label(&namespace.name)?;
    Ok(namespace)
}

fn default_namespace() -> Namespace {
    let (label, value) = OWN_LABEL;
    Namespace {
        name: DEFAULT_NAMESPACE.to_owned(),
        labels: [(label.to_owned(), value.to_owned())].into(),
        ..Namespace::default()
    }
}
