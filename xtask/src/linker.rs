//! bpf-linker, for the LLVM of a compiler.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{packages, shell};

/// The version that is built where none is found, and the LLVMs that it knows.
const VERSION: &str = "0.13.0";
const LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// A bpf-linker and the major version of its LLVM.
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    llvm: u32,
}

impl Linker {
    /// One on this machine that can read the bitcode of this LLVM: its own must not be older.
    pub(crate) fn find(llvm: u32) -> Option<Self> {
        let places = [own_folder().join("bin/bpf-linker")].into_iter();
        let places = places.chain(shell::find("bpf-linker"));
        let places = places.chain(shell::cargo_home().map(|home| home.join("bin/bpf-linker")));
        places.filter_map(Self::at).find(|linker| linker.llvm >= llvm)
    }

    fn at(path: PathBuf) -> Option<Self> {
        let libraries = shell::output(Command::new("ldd").arg(&path)).ok()?;
        // A library that was removed is listed too, as not found.
        let line = libraries
            .lines()
            .find(|line| line.contains("libLLVM") && !line.ends_with("not found"))?;
        let (_, rest) = line.split_once("libLLVM")?;
        let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
        let llvm = digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        Some(Self { path, llvm })
    }

    /// One on this machine, or else one that is built now; says why where that does not work.
    pub(crate) fn install_or_say(llvm: u32) -> Option<Self> {
        Self::find(llvm).or_else(|| match install(llvm) {
            Ok(()) => Self::find(llvm),
            Err(error) => {
                println!("setup: no bpf-linker for LLVM {llvm}: {error:#}");
                None
            }
        })
    }
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf-linker {} (LLVM {})", self.path.display(), self.llvm)
    }
}

fn install(oldest: u32) -> Result<()> {
    if !LLVMS.contains(&oldest) {
        bail!(
            "bpf-linker {VERSION} knows LLVM {} to {} only",
            LLVMS.start(),
            LLVMS.end()
        );
    }
    let llvm = with_libraries(oldest)?;
    println!("setup: building bpf-linker {VERSION} for LLVM {llvm}, which takes a few minutes");
    let mut cargo = shell::cargo();
    cargo.args([
        "install",
        "bpf-linker",
        "--version",
        VERSION,
        "--locked",
        "--no-default-features",
        "--quiet",
    ]);
    cargo.arg(format!("--features=llvm-{llvm}"));
    if shell::cargo_home().is_none_or(|home| home.join("bin/bpf-linker").exists()) {
        // The user's own linker, which has another LLVM, is left alone.
        cargo.arg("--root").arg(own_folder());
    }
    cargo
        .env("LLVM_PREFIX", prefix(llvm))
        .env_remove("CARGO_TARGET_DIR");
    shell::run(&mut cargo)
}

/// Makes sure of the libraries of an LLVM that is not older than this one, and says which.
fn with_libraries(oldest: u32) -> Result<u32> {
    let there = |llvm: &u32| fs::exists(prefix(*llvm).join("lib/libLLVM.so")).unwrap_or(false);
    if let Some(llvm) = (oldest..=*LLVMS.end()).find(there) {
        return Ok(llvm);
    }
    packages::update();
    let known = |llvm: &u32| packages::candidate(&format!("llvm-{llvm}-dev")).is_some();
    let Some(llvm) = (oldest..=*LLVMS.end()).find(known) else {
        bail!("no package llvm-{oldest}-dev or newer; see https://apt.llvm.org");
    };
    let needed = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    let common = ["zlib1g-dev", "libzstd-dev", "g++"].map(str::to_owned);
    packages::install(&[&needed[..], &common[..]].concat())?;
    Ok(llvm)
}

fn prefix(llvm: u32) -> PathBuf {
    Path::new("/usr/lib").join(format!("llvm-{llvm}"))
}

fn own_folder() -> PathBuf {
    shell::workspace().join("target/tools")
}
