//! Puts the eBPF object where the agent embeds it from.

use std::{env, fs, path::PathBuf};

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
    if let Err(error) = fs::copy(&object, copy) {
        println!(
            "cargo::error={}: {error}; build the eBPF programs first: cargo xtask build-ebpf",
            object.display()
        );
    }
}
