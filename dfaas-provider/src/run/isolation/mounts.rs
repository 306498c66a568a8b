//! The files that a function sees: the host's, with its own /tmp and secrets, and without the platform's state.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount};

use super::SECRETS;
use crate::run::process::system::unshare_mounts;

const TMP: &str = "/tmp";

/// What a function's view is made of.
pub(super) struct View<'a> {
    pub(super) state: &'a Path,
    pub(super) home: &'a Path,
    pub(super) secrets: Option<&'a Path>,
    /// Files of /tmp among them stay to be seen.
    pub(super) words: &'a [String],
    pub(super) read_only: bool,
}

impl View<'_> {
    /// Makes the mount namespace, in a thread that ends with it.
    pub(super) fn make(&self) -> io::Result<OwnedFd> {
        fs::create_dir_all(SECRETS)?;
        std::thread::scope(|scope| {
            let made = scope.spawn(|| self.make_here()).join();
            made.unwrap_or_else(|_| Err(io::Error::other("the thread that makes it ended early")))
        })
    }

    fn make_here(&self) -> io::Result<OwnedFd> {
        unshare_mounts()?;
        let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", flags)?;
        let kept = self.kept()?;
        if self.read_only {
            protect()?;
        }
        empty(Path::new(TMP), "mode=1777")?;
        fs::create_dir_all(self.state)?;
        empty(self.state, "mode=0755,size=1m")?;
        empty(Path::new(SECRETS), "mode=0755,size=1m")?;
        kept.iter().try_for_each(Kept::show)?;
        Ok(File::open("/proc/thread-self/ns/mnt")?.into())
    }

    /// What is shown at places that are emptied, opened before they are.
    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut kept = vec![Kept::open(self.home, self.home.to_owned())?];
        if let Some(secrets) = self.secrets {
            kept.push(Kept::open(secrets, SECRETS.into())?);
        }
        for word in self.words {
            let path = Path::new(word);
            let hidden = path.starts_with(TMP) && !path.starts_with(self.state);
            if hidden && path != Path::new(TMP) && path.exists() {
                kept.push(Kept::open(path, path.to_owned())?);
            }
        }
        Ok(kept)
    }
}

struct Kept {
    source: File,
    target: PathBuf,
    is_directory: bool,
}

impl Kept {
    fn open(source: &Path, target: PathBuf) -> io::Result<Self> {
        let flags = OFlags::PATH.bits();
        let source = OpenOptions::new()
            .read(true)
            .custom_flags(flags.cast_signed())
            .open(source)?;
        Ok(Self {
            is_directory: source.metadata()?.is_dir(),
            source,
            target,
        })
    }

    fn show(&self) -> io::Result<()> {
        let directory = match (self.is_directory, self.target.parent()) {
            (false, Some(parent)) => parent,
            (_, _) => &self.target,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)?;
        if !self.is_directory && !self.target.exists() {
            File::create(&self.target)?;
        }
        let source = format!("/proc/thread-self/fd/{}", self.source.as_raw_fd());
        mount_bind(source, &self.target)?;
        // A read-only file system's copy is read-only too, but for this one.
        let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
        Ok(mount_remount(&self.target, flags, "")?)
    }
}

fn empty(directory: &Path, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("tmpfs", directory, "tmpfs", flags, options.as_c_str())?)
}

/// Makes what is mounted read-only, except for the kernel's own file systems.
fn protect() -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
    for line in mounts.lines() {
        let Some(path) = line.split(' ').nth(4) else {
            continue;
        };
        let path = Path::new(path);
        if ["/proc", "/sys", "/dev"].iter().any(|own| path.starts_with(own)) {
            continue;
        }
        match mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, "") {
            // Hidden below another mount.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
            remounted => remounted?,
        }
    }
    Ok(())
}
