//! A virtual machine that boots a kernel, loads an object, says what the verifier said, and ends.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::shell;

/// What the machine writes when a program was not loaded.
pub(crate) const REFUSED: &str = "vmtest: refused";

/// Seconds after which a machine is stuck. Software emulation boots in some three and verifies in ten.
const TIMEOUT_SECONDS: &str = "240";

const INIT: &str = r#"#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /tmp
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t bpf bpf /sys/fs/bpf
ulimit -l unlimited
/bin/bpftool -d prog loadall /object /sys/fs/bpf/programs > /tmp/log 2>&1 || result=refused
$b grep -E "BEGIN PROG LOAD LOG|^processed" /tmp/log
if [ "$result" = refused ]; then $b tail -n 8 /tmp/log; echo "vmtest: refused"; fi
$b poweroff -f
"#;

/// A machine's files.
pub(crate) struct Machine {
    folder: PathBuf,
}

impl Machine {
    /// A machine for the kernel of this name.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let folder = shell::workspace()
            .join("target/vmtest")
            .join(name)
            .join("initramfs");
        // What is left from last time may have another object.
        let _absent = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bin")).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Boots an image with an object, and returns what came over the serial line.
    ///
    /// # Errors
    ///
    /// When a part of the machine is missing or it does not end in time.
    pub(crate) fn load(&self, image: &Path, object: &Path) -> Result<String> {
        self.add_program("busybox")?;
        self.add_program("bpftool")?;
        self.add(object, Path::new("object"))?;
        let init = self.folder.join("init");
        fs::write(&init, INIT).with_context(|| format!("writing {}", init.display()))?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).context("making init a program")?;
        let archive = self.folder.with_extension("cpio");
        let pack = format!("find . | cpio --quiet -o -H newc > {}", archive.display());
        shell::run(Command::new("sh").args(["-c", &pack]).current_dir(&self.folder))?;
        let mut machine = Command::new("timeout");
        machine.args([
            TIMEOUT_SECONDS,
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-m",
            "1024",
            "-nographic",
            "-no-reboot",
        ]);
        machine.args(["-append", "console=ttyS0 panic=-1 quiet"]);
        machine.arg("-kernel").arg(image).arg("-initrd").arg(&archive);
        shell::output(&mut machine)
    }

    /// Copies a program and the libraries that it is linked to.
    fn add_program(&self, name: &str) -> Result<()> {
        let found = shell::find(name).with_context(|| format!("{name} is not installed"))?;
        let program = fs::canonicalize(&found).with_context(|| format!("following {}", found.display()))?;
        self.add(&program, &Path::new("bin").join(name))?;
        // A static program makes ldd fail, and needs nothing.
        let linked = shell::output(Command::new("ldd").arg(&program)).unwrap_or_default();
        for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            let library = Path::new(library);
            self.add(library, library.strip_prefix("/").unwrap_or(library))?;
        }
        Ok(())
    }

    fn add(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.folder.join(to);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::copy(from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
        Ok(())
    }
}
