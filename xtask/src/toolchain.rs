//! A Rust compiler that has the sources of `core`, and a BPF linker that can read what it writes.
//!
//! The BPF target has no compiled `core`, so it is built from its sources. A rustup nightly with rust-src is taken
//! first; where there is none, the distribution's compiler and its source package.

use std::{
    cmp::Reverse,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{linker::Linker, packages, shell};

/// What the eBPF programs are built with.
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: Linker,
}

/// A Rust compiler with the sources of `core`.
pub(crate) struct Compiler {
    root: PathBuf,
    /// Its release, such as `1.97.0-nightly`.
    release: String,
    /// The major version of its LLVM.
    llvm: u32,
}

impl Toolchain {
    /// The toolchain of this machine; what is missing of it is installed.
    ///
    /// # Errors
    ///
    /// When there is none and none can be installed.
    pub(crate) fn ready() -> Result<Self> {
        if let Some(found) = Self::pair(Compiler::all(), Linker::find) {
            return Ok(found);
        }
        if let Some(built) = Self::pair(Compiler::all(), Linker::install_or_say) {
            return Ok(built);
        }
        add_rust_src_to_nightly();
        if let Some(built) = Self::pair(Compiler::all(), Linker::install_or_say) {
            return Ok(built);
        }
        install_distribution_compiler()?;
        if let Some(built) = Self::pair(Compiler::all(), Linker::install_or_say) {
            return Ok(built);
        }
        bail!(
            "no Rust compiler of at least {MINIMUM} with the sources of core and a bpf-linker for its LLVM; type: \
             rustup toolchain install nightly --component rust-src && cargo install bpf-linker"
        )
    }

    fn pair(compilers: Vec<Compiler>, linker: impl Fn(u32) -> Option<Linker>) -> Option<Self> {
        compilers.into_iter().find_map(|compiler| {
            let linker = linker(compiler.llvm)?;
            Some(Self { compiler, linker })
        })
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiler { root, release, llvm } = &self.compiler;
        write!(
            f,
            "rustc {release} in {} (LLVM {llvm}), {}",
            root.display(),
            self.linker
        )
    }
}

/// The oldest compiler that the workspace builds with.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

impl Compiler {
    /// All that are usable here, best first: nightly, then by version.
    fn all() -> Vec<Self> {
        let mut found: Vec<Self> = roots().into_iter().filter_map(Self::at).collect();
        found.retain(|compiler| version(&compiler.release) >= version(MINIMUM));
        found.sort_by_key(|compiler| Reverse((compiler.is_nightly(), version(&compiler.release))));
        found
    }

    fn at(root: PathBuf) -> Option<Self> {
        if !root
            .join("lib/rustlib/src/rust/library/core/src/lib.rs")
            .is_file()
        {
            return None;
        }
        let text = shell::output(
            Command::new(root.join("bin/rustc"))
                .arg("-vV")
                .env_remove("LD_LIBRARY_PATH"),
        )
        .ok()?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let release = field("release")?.to_owned();
        let llvm = field("LLVM version")?.split('.').next()?.parse().ok()?;
        let cargo = root.join("bin/cargo").is_file();
        cargo.then_some(Self { root, release, llvm })
    }

    fn is_nightly(&self) -> bool {
        self.release.contains("nightly")
    }

    /// Its cargo, with it as the compiler and with what is unstable allowed.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(self.root.join("bin/cargo"));
        cargo.env("RUSTC", self.root.join("bin/rustc"));
        for variable in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "LD_LIBRARY_PATH",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "RUSTDOC",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            cargo.env_remove(variable);
        }
        if !self.is_nightly() {
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
        cargo
    }
}

/// Where compilers are installed: by rustup, and by packages.
fn roots() -> Vec<PathBuf> {
    let rustup = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".rustup")));
    let mut roots = vec![PathBuf::from("/usr")];
    roots.extend(
        rustup
            .map(|home| folders(&home.join("toolchains")))
            .unwrap_or_default(),
    );
    let versioned = folders(Path::new("/usr/lib")).into_iter();
    roots.extend(versioned.filter(|path| path.to_string_lossy().contains("/rust-")));
    roots
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// The numbers of a version such as `1.96.0+dfsg1-1`.
fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

fn add_rust_src_to_nightly() {
    let toolchains = shell::output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    if !toolchains.lines().any(|line| line.starts_with("nightly")) {
        return;
    }
    println!("setup: adding rust-src to rustup's nightly");
    let add = ["component", "add", "rust-src", "--toolchain", "nightly"];
    if let Err(error) = shell::output(Command::new("rustup").args(add)) {
        println!("setup: {error:#}; looking for the distribution's compiler");
    }
}

fn install_distribution_compiler() -> Result<()> {
    packages::update();
    let named = packages::names(r"^rustc(-web|-[0-9]+\.[0-9]+)?$");
    let versions = named
        .into_iter()
        .filter_map(|name| Some((version(&packages::candidate(&name)?), name)));
    let Some((newest, name)) = versions.max() else {
        bail!("rustup has no nightly with rust-src, and apt-cache knows no package of rustc; {REMEDY}");
    };
    if newest < version(MINIMUM) {
        let (major, minor, patch) = newest;
        bail!(
            "rustup has no nightly with rust-src, and the newest package of rustc, {name}, is {major}.{minor}.{patch}, \
             older than {MINIMUM}; {REMEDY}"
        );
    }
    let suffix = name.trim_start_matches("rustc");
    packages::install(&[
        name.clone(),
        format!("cargo{suffix}"),
        format!("rust{suffix}-src"),
    ])
}

const REMEDY: &str = "with access to Rust's servers: rustup toolchain install nightly --component rust-src";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        check("1.96.0+dfsg1-1~deb12u2", (1, 96, 0));
        check("1.97.0-nightly", (1, 97, 0));
        check("1.95", (1, 95, 0));
        assert!(version("1.100.0") > version("1.96.0"));
    }

    #[track_caller]
    fn check(text: &str, want: (u32, u32, u32)) {
        assert_eq!(version(text), want);
    }
}
