//! Puts the eBPF object where the agent embeds it from, without what only a debugger reads, and names the layout of its maps.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};
use sha2::{Digest, Sha256};

fn main() {
    let target = if cfg!(target_endian = "big") {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    };
    let workspace = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let object = workspace
        .join("target/ebpf")
        .join(target)
        .join("release/dfaas-ebpf");
    println!("cargo::rerun-if-changed={}", object.display());
    let copy = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("dfaas-ebpf");
    if let Err(error) = strip(&object, &copy) {
        println!(
            "cargo::error={}: {error}; build the eBPF programs first: cargo xtask build-ebpf",
            object.display()
        );
    }
    match layout(&workspace) {
        Ok(layout) => println!("cargo::rustc-env=DFAAS_LAYOUT={layout}"),
        Err(error) => println!("cargo::error=reading what the maps hold: {error}"),
    }
}

/// What two agents have in common that can go on with each other's maps: all that says what is in them, but for comments
/// and tests.
fn layout(workspace: &Path) -> io::Result<String> {
    let mut files = vec![workspace.join("dfaas-ebpf/src/maps.rs")];
    let mut folders = vec![workspace.join("dfaas-common/src")];
    while let Some(folder) = folders.pop() {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "tests.rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        let text = fs::read_to_string(file)?;
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            hash.update(line);
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Copies an object without DWARF, of which four fifths of it are. Names and lines for verifier logs are in BTF, which stays.
fn strip(object: &Path, copy: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(object)?;
    let mut builder = Builder::read(&*bytes)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        if name.starts_with(".debug_") || name.starts_with(".rel.debug_") {
            section.delete = true;
        }
    }
    builder.delete_orphans();
    // The linker keeps names of sections and of symbols in one table; here each has its own.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(fs::write(copy, stripped)?)
}
