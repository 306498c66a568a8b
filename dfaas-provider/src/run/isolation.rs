//! What the processes of a function are kept to: a user, a view of the files, and limits.
//!
//! What this host cannot give is a note, which the deployment's answer, the log and the function's description repeat.

pub(crate) mod cgroup;
pub(crate) mod limits;
pub(crate) mod memory;
mod mounts;
pub(crate) mod user;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use self::cgroup::Cgroup;
use self::limits::Limits;
use self::mounts::View;
use crate::run::process::system::Confinement;
use crate::state::name::FunctionName;

/// Where functions read their secrets, as OpenFaaS has it.
pub(crate) const SECRETS: &str = "/var/openfaas/secrets";

/// How many processes a user of its own may have, if `limits.pids` says nothing.
const PROCESSES_DEFAULT: u64 = 4096;

/// What a deployment wants its processes to be kept to.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a FunctionName,
    /// A user of its own, if processes are not to run as the platform's.
    pub(crate) user: Option<u32>,
    pub(crate) state: &'a Path,
    pub(crate) home: &'a Path,
    pub(crate) secrets: Option<&'a Path>,
    pub(crate) words: &'a [String],
    pub(crate) limits: Limits,
    pub(crate) read_only: bool,
}

/// What they are kept to.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    confinement: Option<Arc<Confinement>>,
    cgroup: Option<Cgroup>,
    limits: Limits,
    has_view: bool,
    notes: Vec<String>,
}

impl Isolation {
    pub(crate) fn new(wanted: &Wanted<'_>) -> io::Result<Self> {
        let mut notes = Vec::new();
        let view = view(wanted, &mut notes)?;
        let cgroup = cgroup(wanted, &mut notes);
        if wanted.limits.pids.is_some() && wanted.user.is_none() && cgroup.is_none() {
            notes.push(
                "limits.pids is not applied: it needs cgroup v2 or a user of the function's own".to_owned(),
            );
        }
        let has_view = view.is_some();
        let confined = wanted.user.is_some() || cgroup.is_some();
        let confinement = confined.then(|| confinement(wanted, view, cgroup.as_ref()));
        Ok(Self {
            confinement: confinement.transpose()?.map(Arc::new),
            cgroup,
            limits: wanted.limits,
            has_view,
            notes,
        })
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where processes find their secrets, if they see other files than the platform.
    pub(crate) fn secrets(&self) -> Option<&'static Path> {
        self.has_view.then_some(Path::new(SECRETS))
    }

    pub(crate) fn confinement(&self) -> Option<&Arc<Confinement>> {
        self.confinement.as_ref()
    }

    pub(crate) fn memory_max(&self) -> Option<u64> {
        self.limits.memory
    }

    /// The control group that bounds the memory, if one does.
    pub(crate) fn memory_cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref().filter(|cgroup| cgroup.bounds_memory())
    }
}

fn view(wanted: &Wanted<'_>, notes: &mut Vec<String>) -> io::Result<Option<OwnedFd>> {
    let Some(user) = wanted.user else {
        if wanted.read_only {
            notes.push("readOnlyRootFilesystem is not applied: it needs --function-user own".to_owned());
        }
        return Ok(None);
    };
    give(wanted.home, user)?;
    if let Some(secrets) = wanted.secrets {
        give(secrets, user)?;
        for entry in fs::read_dir(secrets)? {
            chown(entry?.path(), Some(user), Some(user))?;
        }
    }
    let view = View {
        state: wanted.state,
        home: wanted.home,
        secrets: wanted.secrets,
        words: wanted.words,
        read_only: wanted.read_only,
    };
    match view.make() {
        Ok(namespace) => Ok(Some(namespace)),
        Err(error) => {
            notes.push(format!(
                "{SECRETS}, a /tmp of its own and a read-only root are not applied: make a mount namespace: {error}"
            ));
            Ok(None)
        }
    }
}

/// Makes a directory the user's, and those above it passable.
fn give(directory: &Path, user: u32) -> io::Result<()> {
    chown(directory, Some(user), Some(user))?;
    fs::set_permissions(directory, PermissionsExt::from_mode(0o700))
}

fn cgroup(wanted: &Wanted<'_>, notes: &mut Vec<String>) -> Option<Cgroup> {
    let limits = &wanted.limits;
    if limits.is_empty() {
        return None;
    }
    match Cgroup::create(&wanted.name.to_string(), limits) {
        Ok(cgroup) => {
            // Without the kernel, the memory is kept by looking.
            let missing = cgroup.missing().iter().filter(|limit| **limit != "memory");
            notes.extend(
                missing.map(|limit| format!("limits.{limit} is not applied: this host's cgroup v2 lacks it")),
            );
            Some(cgroup)
        }
        Err(error) => {
            if limits.cpu_permille.is_some() {
                notes.push(format!("limits.cpu is not applied: {error}"));
            }
            None
        }
    }
}

fn confinement(
    wanted: &Wanted<'_>,
    namespace: Option<OwnedFd>,
    cgroup: Option<&Cgroup>,
) -> io::Result<Confinement> {
    let home = CString::new(wanted.home.as_os_str().as_bytes())?;
    Ok(Confinement {
        namespace,
        home,
        cgroup: cgroup.map(Cgroup::entrance).transpose()?,
        user: wanted.user,
        processes_max: wanted
            .user
            .map(|_| wanted.limits.pids.unwrap_or(PROCESSES_DEFAULT)),
    })
}
