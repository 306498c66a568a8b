//! Secrets: files for the platform's user only, linked into a directory for each function that lists them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;

use crate::state::files::{self, FileError};
use crate::state::name::{self, DEFAULT_NAMESPACE, FunctionName, NameError};
use crate::wire::{Secret, SecretName};

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("secret name: {0}")]
    Name(#[from] NameError),
    #[error(
        "the secret {name} exists in the namespace {namespace}; change it with PUT, or `faas-cli secret update`"
    )]
    Exists { name: String, namespace: String },
    #[error(
        "there is no secret {name} in the namespace {namespace}; create it with POST /system/secrets, or `faas-cli secret create`"
    )]
    Missing { name: String, namespace: String },
    #[error("the secret {0} has no value; give it in value, or base64-encoded in rawValue")]
    NoValue(String),
    #[error("the rawValue of the secret {name} is not base64: {source}")]
    RawValue {
        name: String,
        source: base64::DecodeError,
    },
    #[error(transparent)]
    File(#[from] FileError),
}

impl SecretError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Name(_) | Self::NoValue(_) | Self::RawValue { .. } => StatusCode::BAD_REQUEST,
            Self::Exists { .. } => StatusCode::CONFLICT,
            Self::Missing { .. } => StatusCode::NOT_FOUND,
            Self::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Secrets {
    values: PathBuf,
    mounts: PathBuf,
}

impl Secrets {
    pub(crate) fn open(state: &Path) -> Result<Self, FileError> {
        let (values, mounts) = (state.join("secrets"), state.join("mounts"));
        files::create_directory(&values)?;
        files::create_directory(&mounts)?;
        Ok(Self { values, mounts })
    }

    pub(crate) fn list(&self, namespace: &str) -> Result<Vec<SecretName>, FileError> {
        let names = files::list(&self.values.join(namespace))?;
        let names = names.iter().filter_map(|path| path.file_name()?.to_str());
        Ok(names
            .map(|name| SecretName {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
            })
            .collect())
    }

    pub(crate) fn create(&self, secret: &Secret) -> Result<(), SecretError> {
        let found = self.find(secret)?;
        if found.path.exists() {
            return Err(SecretError::Exists {
                name: found.name,
                namespace: found.namespace,
            });
        }
        files::create_directory(&self.values.join(&found.namespace))?;
        Ok(files::write(&found.path, &value(secret)?)?)
    }

    pub(crate) fn update(&self, secret: &Secret) -> Result<(), SecretError> {
        let found = self.find_existing(secret)?;
        Ok(files::write(&found.path, &value(secret)?)?)
    }

    pub(crate) fn remove(&self, secret: &Secret) -> Result<(), SecretError> {
        let found = self.find_existing(secret)?;
        Ok(files::remove(&found.path)?)
    }

    /// Checks that every secret a function lists is there.
    pub(crate) fn check(&self, function: &FunctionName, names: &[String]) -> Result<(), SecretError> {
        names.iter().try_for_each(|name| {
            let namespace = function.namespace.clone();
            let secret = Secret {
                name: name.clone(),
                namespace,
                ..Secret::default()
            };
            self.find_existing(&secret).map(drop)
        })
    }

    /// Makes the directory of a function's secrets. Links, so that an update of a secret reaches the function.
    pub(crate) fn mount(
        &self,
        function: &FunctionName,
        names: &[String],
        owner: Option<u32>,
    ) -> Result<Option<PathBuf>, FileError> {
        let mount = self.mount_path(function);
        if let Some(owner) = owner {
            return self.copy(function, names, owner);
        }
        self.unmount(function)?;
        if names.is_empty() {
            return Ok(None);
        }
        files::create_directory(&mount)?;
        // One that is listed twice is one.
        for name in names.iter().collect::<BTreeSet<_>>() {
            let value = self.values.join(&function.namespace).join(name);
            symlink(value, mount.join(name)).map_err(FileError::new("link a secret into", &mount))?;
        }
        Ok(Some(mount))
    }

    /// Makes copies for a user who may not read what the platform keeps. The directory stays the same, as it is
    /// mounted for processes that run.
    fn copy(
        &self,
        function: &FunctionName,
        names: &[String],
        owner: u32,
    ) -> Result<Option<PathBuf>, FileError> {
        let mount = self.mount_path(function);
        files::create_directory(&mount)?;
        for name in names.iter().collect::<BTreeSet<_>>() {
            let value = self.values.join(&function.namespace).join(name);
            let content = match fs::read(&value) {
                // It was removed; the function was told so when it was started.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                content => content.map_err(FileError::new("read the secret", &value))?,
            };
            let copy = mount.join(name);
            files::write(&copy, &content)?;
            chown(&copy, Some(owner), Some(owner)).map_err(FileError::new("give away the file", &copy))?;
        }
        for path in files::list(&mount)? {
            let listed = path.file_name().and_then(|name| name.to_str());
            if !names.iter().any(|name| Some(name.as_str()) == listed) {
                files::remove(&path)?;
            }
        }
        Ok(Some(mount))
    }

    pub(crate) fn unmount(&self, function: &FunctionName) -> Result<(), FileError> {
        files::remove_directory(&self.mount_path(function))
    }

    fn mount_path(&self, function: &FunctionName) -> PathBuf {
        self.mounts.join(&function.namespace).join(&function.name)
    }

    fn find_existing(&self, secret: &Secret) -> Result<Found, SecretError> {
        let found = self.find(secret)?;
        match found.path.exists() {
            true => Ok(found),
            false => Err(SecretError::Missing {
                name: found.name,
                namespace: found.namespace,
            }),
        }
    }

    fn find(&self, secret: &Secret) -> Result<Found, SecretError> {
        let namespace = match secret.namespace.as_str() {
            "" => DEFAULT_NAMESPACE,
            namespace => namespace,
        };
        name::check_file_name(&secret.name)?;
        name::check_label(namespace)?;
        let path = self.values.join(namespace).join(&secret.name);
        Ok(Found {
            path,
            name: secret.name.clone(),
            namespace: namespace.to_owned(),
        })
    }
}

struct Found {
    path: PathBuf,
    name: String,
    namespace: String,
}

fn value(secret: &Secret) -> Result<Vec<u8>, SecretError> {
    match (&secret.value, &secret.raw_value) {
        (_, Some(raw)) if !raw.is_empty() => {
            BASE64_STANDARD
                .decode(raw)
                .map_err(|source| SecretError::RawValue {
                    name: secret.name.clone(),
                    source,
                })
        }
        (Some(value), _) if !value.is_empty() => Ok(value.clone().into_bytes()),
        (Some(_) | None, _) => Err(SecretError::NoValue(secret.name.clone())),
    }
}
