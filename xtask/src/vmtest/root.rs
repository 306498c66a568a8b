//! The root file system of a machine, with all that the tests need. It lives in the machine's memory.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// What the tests, the test bed and the programs call. All else is an applet of busybox.
const PROGRAMS: &[&str] = &[
    "bash",
    "bpftool",
    "bridge",
    "busybox",
    "cat",
    "curl",
    "env",
    "ethtool",
    "figlet",
    "grep",
    "haproxy",
    "ip",
    "kill",
    "ls",
    "mount",
    "nft",
    "nsenter",
    "setpriv",
    "setsid",
    "sh",
    "sha256sum",
    "sha512sum",
    "sleep",
    "ss",
    "sysctl",
    "tc",
    "tcpdump",
    "timeout",
    "unshare",
    "wrk",
];
/// Files that programs read, where they are.
const FOLDERS: &[&str] = &["/usr/share/figlet", "/etc/iproute2", "/usr/share/iproute2"];
const FILES: &[(&str, &str)] = &[
    // tcpdump becomes the user of its name to read what it wrote.
    (
        "etc/passwd",
        "root:x:0:0:root:/:/bin/sh\ntcpdump:x:101:101::/:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\ntcpdump:x:101:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];
/// The real one is written in Perl, which would fill half of the machine.
const SHASUM: &str = "#!/bin/sh\nexec sha1sum \"$@\"\n";
/// Prints where Python is, and the files of all modules that the tests' programs import.
const PYTHON_FILES: &str = "import encodings.idna, http.client, sys\n\
    print(sys.executable)\n\
    [print(m.__file__) for m in list(sys.modules.values()) if getattr(m, '__file__', None)]";
/// Where all modern systems keep them.
const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
];

/// A root file system that is being made.
pub(crate) struct Root {
    folder: PathBuf,
}

impl Root {
    /// Begins an empty one.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        // What is left from last time may be of other programs.
        let _absent = fs::remove_dir_all(&folder);
        let root = Self { folder };
        for (link, to) in LINKS {
            root.make(&root.folder.join(to))?;
            symlink(to, root.folder.join(link)).with_context(|| format!("linking {link}"))?;
        }
        for folder in ["dev", "proc", "run", "sys", "tmp"] {
            root.make(&root.folder.join(folder))?;
        }
        Ok(root)
    }

    /// Adds the programs of the system that tests need.
    ///
    /// # Errors
    ///
    /// When one is not installed.
    pub(crate) fn add_system(&self) -> Result<()> {
        for program in PROGRAMS {
            let found = shell::find(program).with_context(|| format!("{program} is not installed"))?;
            let to = Path::new("/usr/bin").join(program);
            self.add(&found, &to)?;
            self.add_libraries(&found)?;
        }
        for folder in FOLDERS.iter().map(Path::new).filter(|folder| folder.is_dir()) {
            self.add_folder(folder)?;
        }
        for (name, text) in FILES {
            self.write(name, text)?;
        }
        self.add_python()?;
        self.write_program("usr/bin/shasum", SHASUM)
    }

    fn add_python(&self) -> Result<()> {
        let files = shell::output(Command::new("python3").args(["-c", PYTHON_FILES]))?;
        let mut files = files.lines().map(Path::new);
        let program = files.next().context("python3 says nothing")?;
        self.add(program, Path::new("/usr/bin/python3"))?;
        self.add_libraries(program)?;
        for file in files {
            self.add_file(file)?;
            self.add_libraries(file)?;
        }
        Ok(())
    }

    /// Adds a program of ours where it is on this machine, without what only a debugger needs.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub(crate) fn add_ours(&self, program: &Path) -> Result<()> {
        let to = self.inside(program);
        self.make_parent(&to)?;
        shell::run(Command::new("strip").arg("-o").arg(&to).arg(program))?;
        self.add_libraries(program)
    }

    /// Adds a file where it is on this machine.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub(crate) fn add_file(&self, file: &Path) -> Result<()> {
        self.add(file, file)
    }

    /// Adds an empty folder.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn add_empty(&self, folder: &Path) -> Result<()> {
        self.make(&self.inside(folder))
    }

    /// Adds modules and those they need, and returns them in the order in which they are to be loaded.
    ///
    /// # Errors
    ///
    /// When one is not among the modules of the kernel.
    pub(crate) fn add_modules(&self, modules: &Path, names: &[&str]) -> Result<Vec<String>> {
        let mut ordered = Vec::new();
        for name in names {
            self.add_module(modules, name, &mut ordered)?;
        }
        Ok(ordered)
    }

    fn add_module(&self, modules: &Path, name: &str, ordered: &mut Vec<String>) -> Result<()> {
        if ordered.iter().any(|known| known == name) {
            return Ok(());
        }
        let file = find(modules, &format!("{name}.ko"))
            .with_context(|| format!("no module {name} in {}", modules.display()))?;
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        for needed in needs(&bytes) {
            self.add_module(modules, &needed, ordered)?;
        }
        self.add(&file, &Path::new("/modules").join(format!("{name}.ko")))?;
        ordered.push(name.to_owned());
        Ok(())
    }

    /// Writes a program.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write_program(&self, name: &str, text: &str) -> Result<()> {
        self.write(name, text)?;
        let path = self.folder.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("making {} a program", path.display()))
    }

    /// Packs it as the kernel takes it, beside its folder, and returns where that is.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub(crate) fn pack(&self) -> Result<PathBuf> {
        let archive = self.folder.with_extension("cpio");
        let pack = format!("find . | cpio --quiet -o -H newc > {}", archive.display());
        shell::run(Command::new("sh").args(["-c", &pack]).current_dir(&self.folder))?;
        Ok(archive)
    }

    fn add_libraries(&self, program: &Path) -> Result<()> {
        // A static program makes ldd fail, and needs nothing.
        let linked = shell::output(Command::new("ldd").arg(program)).unwrap_or_default();
        let libraries: BTreeSet<&str> = linked
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .collect();
        libraries
            .into_iter()
            .try_for_each(|library| self.add(Path::new(library), Path::new(library)))
    }

    fn add_folder(&self, folder: &Path) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let path = entry
                .with_context(|| format!("reading {}", folder.display()))?
                .path();
            if path.is_file() {
                self.add_file(&path)?;
            }
        }
        Ok(())
    }

    fn add(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.inside(to);
        self.make_parent(&to)?;
        fs::copy(from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let to = self.folder.join(name);
        self.make_parent(&to)?;
        fs::write(&to, text).with_context(|| format!("writing {}", to.display()))
    }

    fn make_parent(&self, path: &Path) -> Result<()> {
        path.parent().map_or(Ok(()), |parent| self.make(parent))
    }

    fn make(&self, folder: &Path) -> Result<()> {
        ensure!(
            folder.starts_with(&self.folder),
            "{} is outside",
            folder.display()
        );
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.folder.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// A file of this name somewhere below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let paths = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    paths.into_iter().find_map(|path| {
        if path.is_dir() {
            return find(&path, name);
        }
        path.file_name()
            .is_some_and(|found| found == name)
            .then_some(path)
    })
}

/// The modules that a module says it needs: `depends=stp,llc` between zeros.
fn needs(module: &[u8]) -> Vec<String> {
    let line = module
        .split(|byte| *byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_tell_what_they_need() {
        assert_eq!(
            needs(b"\x7fELF\0license=GPL\0depends=stp,llc\0name=bridge\0"),
            ["stp", "llc"]
        );
        assert!(needs(b"license=GPL\0depends=\0").is_empty());
        assert!(needs(b"no module").is_empty());
    }
}
