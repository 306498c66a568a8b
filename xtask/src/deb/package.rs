//! The archive: which files it has, where they lie, and what `control` says of it.

use std::{
    collections::BTreeSet,
    fmt, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Architecture, PROGRAMS, anew, folder};
use crate::shell;

/// Where everything of it comes from.
const SOURCE: &str = "packaging";
/// Files of the repository, and where they are installed.
const FILES: [(&str, &str); 9] = [
    (
        "packaging/systemd/dfaas-agent.service",
        "usr/lib/systemd/system/dfaas-agent.service",
    ),
    (
        "packaging/systemd/dfaas-provider.service",
        "usr/lib/systemd/system/dfaas-provider.service",
    ),
    ("packaging/etc/agent.toml", "etc/dfaas/agent.toml"),
    (
        "packaging/etc/dfaas-provider.default",
        "etc/default/dfaas-provider",
    ),
    ("packaging/debian/copyright", "usr/share/doc/dfaas/copyright"),
    ("LICENSE-APACHE", "usr/share/doc/dfaas/LICENSE-APACHE"),
    ("LICENSE-MIT", "usr/share/doc/dfaas/LICENSE-MIT"),
    ("README.md", "usr/share/doc/dfaas/README.md"),
    ("functions/stack.yaml", "usr/share/doc/dfaas/examples/stack.yaml"),
];
/// What dpkg asks about before it replaces what the operator has changed.
pub(super) const CONFFILES: [&str; 2] = ["/etc/dfaas/agent.toml", "/etc/default/dfaas-provider"];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// The libraries that programs of Rust may need, and the packages that have them.
const LIBRARIES: [(&str, &str); 7] = [
    ("ld-linux-x86-64.so.2", "libc6"),
    ("ld-linux-aarch64.so.1", "libc6"),
    ("libc.so.6", "libc6"),
    ("libdl.so.2", "libc6"),
    ("libgcc_s.so.1", "libgcc-s1"),
    ("libm.so.6", "libc6"),
    ("libpthread.so.0", "libc6"),
];

/// A package that was made.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) file: PathBuf,
    /// The sizes of its programs, in bytes.
    programs: Vec<(&'static str, u64)>,
    depends: String,
}

impl Package {
    /// Packs the programs of a folder. Those of the other folder, which run on this machine, tell the man pages.
    ///
    /// # Errors
    ///
    /// When a file is missing, or needs a library that no package is known for.
    pub(super) fn make(
        arch: Architecture,
        programs: &Path,
        native: &Path,
        compression: &str,
    ) -> Result<Self> {
        let tree = folder().join(format!("tree-{}", arch.name()));
        anew(&tree)?;
        let mut sizes = Vec::new();
        let mut needed = BTreeSet::new();
        let mut glibc = (0, 0);
        for program in PROGRAMS {
            let to = tree.join("usr/bin").join(program);
            put(&programs.join(program), &to, 0o755)?;
            sizes.push((program, size(&to)?));
            let dynamic = shell::output(Command::new("readelf").args(["--wide", "--dynamic"]).arg(&to))?;
            needed.extend(packages(&dynamic)?);
            let versions = shell::output(
                Command::new("readelf")
                    .args(["--wide", "--version-info"])
                    .arg(&to),
            )?;
            glibc = glibc.max(glibc_of(&versions));
            add_manual(&native.join(program), program, &tree)?;
        }
        for (from, to) in FILES {
            put(&shell::workspace().join(from), &tree.join(to), 0o644)?;
        }
        let depends = depends(&needed, glibc);
        control(arch, &depends, &tree)?;
        let file = folder().join(format!("dfaas_{}_{}.deb", env!("CARGO_PKG_VERSION"), arch.name()));
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.args(["--root-owner-group", compression, "--build"])
            .arg(&tree)
            .arg(&file);
        // The same sources make the same archive.
        if let Ok(seconds) = shell::output(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(shell::workspace()),
        ) {
            dpkg.env("SOURCE_DATE_EPOCH", seconds.trim());
        }
        shell::output(&mut dpkg)?;
        Ok(Self {
            file,
            programs: sizes,
            depends,
        })
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.file.display())?;
        for (program, bytes) in &self.programs {
            writeln!(f, "{program:<15} {:>6.1} MB", megabytes(*bytes))?;
        }
        let bytes = size(&self.file).unwrap_or_default();
        writeln!(f, "{:<15} {:>6.1} MB", "the package", megabytes(bytes))?;
        write!(f, "depends on {}", self.depends)
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file)
        .with_context(|| format!("looking at {}", file.display()))?
        .len())
}

/// Copies a file, and makes the folders that lead to it.
fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("changing {}", to.display()))
}

fn make_parent(file: &Path) -> Result<()> {
    let parent = file.parent().context("a file lies in a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))
}

/// Has a program write its man pages and completions, and puts each where it is looked for.
fn add_manual(program: &Path, name: &str, tree: &Path) -> Result<()> {
    let told = folder().join("manual");
    anew(&told)?;
    shell::run(Command::new(program).arg("manual").arg(&told))?;
    for entry in fs::read_dir(&told).with_context(|| format!("reading {}", told.display()))? {
        let from = entry
            .with_context(|| format!("reading {}", told.display()))?
            .path();
        let file = from
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let to = tree.join(place(name, &file).with_context(|| format!("{file} has no place in a package"))?);
        put(&from, &to, 0o644)?;
        if file.ends_with(".1") {
            shell::run(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(&to))?;
        }
    }
    Ok(())
}

/// Where a man page or a completion lies.
fn place(program: &str, file: &str) -> Option<String> {
    match file.rsplit_once('.') {
        Some((_, "1")) => Some(format!("usr/share/man/man1/{file}")),
        Some((_, "bash")) => Some(format!("usr/share/bash-completion/completions/{program}")),
        Some((_, "fish")) => Some(format!("usr/share/fish/vendor_completions.d/{file}")),
        _ if file.starts_with('_') => Some(format!("usr/share/zsh/vendor-completions/{file}")),
        _ => None,
    }
}

/// The packages with the libraries that `readelf --dynamic` names.
fn packages(dynamic: &str) -> Result<BTreeSet<&'static str>> {
    let libraries = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split_once('[')?.1.split_once(']'))
        .map(|(library, _)| library);
    libraries
        .map(|library| {
            let known = LIBRARIES.iter().find(|(name, _)| *name == library);
            let (_, package) = known.with_context(|| format!("no package is known for {library}"))?;
            Ok(*package)
        })
        .collect()
}

/// The newest version of the C library of which a program needs something.
fn glibc_of(versions: &str) -> (u32, u32) {
    let numbers = versions
        .split("GLIBC_")
        .skip(1)
        .filter_map(|text| text.split_whitespace().next()?.split_once('.'));
    numbers
        .filter_map(|(major, minor)| Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?)))
        .max()
        .unwrap_or_default()
}

fn depends(packages: &BTreeSet<&str>, (major, minor): (u32, u32)) -> String {
    let named = packages.iter().map(|package| match *package {
        "libc6" => format!("libc6 (>= {major}.{minor})"),
        other => other.to_owned(),
    });
    named.collect::<Vec<_>>().join(", ")
}

fn control(arch: Architecture, depends: &str, tree: &Path) -> Result<()> {
    let source = shell::workspace().join(SOURCE).join("debian");
    let template = source.join("control");
    let text = fs::read_to_string(&template).with_context(|| format!("reading {}", template.display()))?;
    let kilobytes = tree_size(tree)?.div_ceil(1024);
    let filled = text
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@ARCHITECTURE@", arch.name())
        .replace("@LIBRARIES@", depends)
        .replace("@SIZE@", &kilobytes.to_string());
    let folder = tree.join("DEBIAN");
    write(&folder.join("control"), &filled)?;
    write(&folder.join("conffiles"), &(CONFFILES.join("\n") + "\n"))?;
    for script in SCRIPTS {
        put(&source.join(script), &folder.join(script), 0o755)?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    make_parent(file)?;
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// How many bytes all files below a folder have.
fn tree_size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        sum += if path.is_dir() {
            tree_size(&path)?
        } else {
            size(&path)?
        };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_by_the_libraries_that_are_needed() {
        let text = " 0x01 (NEEDED)  Shared library: [libgcc_s.so.1]\n 0x01 (NEEDED) Shared library: [libc.so.6]\n \
                    0x0e (SONAME) Library soname: [libx.so]\n";
        let found = packages(text).unwrap();
        assert_eq!(depends(&found, (2, 34)), "libc6 (>= 2.34), libgcc-s1");
        let error = packages("(NEEDED) Shared library: [libssl.so.3]").unwrap_err();
        assert!(error.to_string().contains("libssl.so.3"), "{error}");
    }

    #[test]
    fn the_newest_c_library_counts() {
        let text = "Name: GLIBC_2.9  Flags: none\nName: GLIBC_2.34 Flags\nName: GLIBC_2.2.5 \nName: GCC_3.0";
        assert_eq!(glibc_of(text), (2, 34));
        assert_eq!(glibc_of("nothing"), (0, 0));
    }

    #[test]
    fn pages_and_completions_have_a_place() {
        let check = |file, want: Option<&str>| assert_eq!(place("x", file).as_deref(), want, "{file}");
        check("x-run.1", Some("usr/share/man/man1/x-run.1"));
        check("x.bash", Some("usr/share/bash-completion/completions/x"));
        check("x.fish", Some("usr/share/fish/vendor_completions.d/x.fish"));
        check("_x", Some("usr/share/zsh/vendor-completions/_x"));
        check("x.ps1", None);
    }
}
