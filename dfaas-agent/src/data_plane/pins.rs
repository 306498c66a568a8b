//! Where maps and links are pinned, so that they outlive the agent: `<bpffs>/dfaas/<instance>/<layout>/`.
//!
//! An instance is an interface and a port of a network namespace; a layout is what one agent's maps hold that another one
//! can go on with.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::{linux::fs::MetadataExt as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    fs::{FlockOperation, flock, statfs},
    io::Errno,
    mount::{MountFlags, mount},
};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use super::DataPlaneConfig;

/// `BPF_FS_MAGIC` in `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
const FOLDER: &str = "dfaas";
/// The maps that the next agent goes on with. The others hold what is made anew, or nothing between two packets.
pub(super) const MAPS: [&str; 18] = [
    "CONFIG",
    "STAMPS",
    "FUNCTIONS",
    "TARGETS",
    "PEERS",
    "ADMISSIONS",
    "CAPS",
    "LISTENERS",
    "BUCKETS",
    "SYN_DATA_LOST",
    "OPENING",
    "HELD",
    "AHEAD",
    "CLIENTS",
    "UPSTREAMS",
    "STATS",
    "LATENCY",
    "EVENTS",
];
/// The map that only agents read.
pub(super) const NAMES: &str = "NAMES";

/// The folder of an agent's pins.
#[derive(Debug)]
pub(super) struct Pins {
    instance: PathBuf,
    layout: PathBuf,
    _lock: File,
}

impl Pins {
    /// Makes the folder, and mounts the file system for it where that is missing. Without one nothing is pinned, which the
    /// log says.
    ///
    /// # Errors
    /// Another agent has it.
    pub(super) fn open(config: &DataPlaneConfig) -> Result<Option<Self>> {
        let Some(root) = config.pins.as_deref() else {
            return Ok(None);
        };
        let (instance, layout) = match Self::make(root, config) {
            Ok(folders) => folders,
            Err(error) => {
                info!(
                    reason = format!("{error:#}"),
                    "Nothing is pinned: what steers ends with the agent (--pins)"
                );
                return Ok(None);
            }
        };
        let Some(lock) = lock(&instance)? else {
            bail!(
                "another agent steers port {} of {}: end it first, or choose others (--service-port, --interface)",
                config.port,
                config.interface
            );
        };
        Ok(Some(Self {
            instance,
            layout,
            _lock: lock,
        }))
    }

    fn make(root: &Path, config: &DataPlaneConfig) -> Result<(PathBuf, PathBuf)> {
        have_bpffs(root)?;
        let instance = root.join(FOLDER).join(instance(&config.interface, config.port)?);
        let layout = instance.join(layout(config));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&layout)
            .with_context(|| format!("making {}", layout.display()))?;
        Ok((instance, layout))
    }

    /// The name of the instance.
    pub(super) fn name(&self) -> String {
        let name = self.instance.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The place of a map or link.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.layout.join(name)
    }

    /// Takes away what agents of other layouts have pinned here, and says so: their programs go with it, and their
    /// connections.
    pub(super) fn remove_others(&self) {
        let folders = fs::read_dir(&self.instance).into_iter().flatten().flatten();
        for folder in folders
            .map(|entry| entry.path())
            .filter(|path| *path != self.layout)
        {
            match remove(&folder) {
                Ok(()) => warn!(
                    folder = %folder.display(),
                    "Took away what an agent with other maps has left; connections that it had are reset"
                ),
                Err(error) => {
                    warn!(%error, folder = %folder.display(), "What another agent has pinned stays")
                }
            }
        }
    }

    /// Takes all pins away: programs go with the last process that holds them.
    pub(super) fn take_away(self) {
        if let Err(error) = remove(&self.layout) {
            warn!(%error, folder = %self.layout.display(), "Pins stay; see dfaas-agent clean");
        }
        // Others may have something there.
        for folder in self.instance.ancestors().take(2) {
            let _in_use = fs::remove_dir(folder);
        }
    }
}

/// What agents have pinned: the name of each instance, and its folder.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn instances(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let folder = root.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", folder.display()))?,
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let named = paths.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)));
    Ok(named.collect())
}

/// Takes the folder of an instance, unless an agent has it. It is free again when the file is closed.
///
/// # Errors
/// It cannot be opened.
pub(super) fn lock(instance: &Path) -> Result<Option<File>> {
    let shown = instance.display();
    let folder = File::open(instance).with_context(|| format!("opening {shown}"))?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(folder)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("locking {shown}")),
    }
}

/// How the names of all instances of this network namespace begin.
///
/// # Errors
/// The namespace cannot be seen.
pub(super) fn prefix() -> Result<String> {
    Ok(format!("{:x}-", namespace()?))
}

/// The name of what steers at a port of an interface of this network namespace. A bpffs takes no dots.
///
/// # Errors
/// The namespace cannot be seen.
pub(super) fn instance(interface: &str, port: u16) -> Result<String> {
    let interface = interface.replace('.', "_");
    Ok(format!("{}{interface}-{port}", prefix()?))
}

fn namespace() -> Result<u64> {
    let namespace = fs::metadata("/proc/self/ns/net").context("looking at this network namespace")?;
    Ok(namespace.st_ino())
}

/// Maps are the same where the types in them are, and their sizes, and which ports of ours they may name.
fn layout(config: &DataPlaneConfig) -> String {
    let (first, last) = config.nat_ports;
    let text = format!("{} {} {first}-{last}", env!("DFAAS_LAYOUT"), config.flows_max);
    let hash = Sha256::digest(text);
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn have_bpffs(root: &Path) -> Result<()> {
    let shown = root.display();
    if !is_bpffs(root).with_context(|| format!("looking at {shown}"))? {
        mount("bpf", root, "bpf", MountFlags::empty(), None)
            .with_context(|| format!("{shown} is no bpffs, and mounting one there"))?;
        ensure!(is_bpffs(root)?, "{shown} is no bpffs");
        info!(at = %shown, "Mounted a bpffs");
    }
    Ok(())
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.f_type as u64 == BPF_FS_MAGIC)
}

/// Removes a folder with all that is pinned in it.
///
/// # Errors
/// As `remove_dir_all` of the standard library.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder)
}
