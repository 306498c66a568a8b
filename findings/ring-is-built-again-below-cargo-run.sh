#!/usr/bin/env bash
# ring 0.17.14 with cargo: built again whenever cargo is started by a program that cargo has started, and again when it is not.
# Its build script asks to run again if CARGO_MANIFEST_DIR or CARGO_PKG_* change; cargo compares these with its own environment,
# and `cargo run` (so each `cargo xtask`) puts those of the package it runs there. Two ways of building the same tree in
# turns, by hand and by an xtask, so build ring and all that depends on it (rustls, libp2p) each time, with no file changed.
source "$(dirname "$0")/lib.sh"
mkdir -p "$work/crate/src"
cat >"$work/crate/Cargo.toml" <<'TOML'
[package]
name = "seen"
version = "0.0.0"
edition = "2021"
[dependencies]
ring = "=0.17.14"
[workspace]
TOML
echo 'fn main() {}' >"$work/crate/src/main.rs"
# builds [NAME=VALUE]: what a build of the same tree compiles.
builds() {
  (cd "$work/crate" && env "$@" cargo build 2>&1) | sed -n 's/^ *Compiling \(ring v[0-9.]*\).*/\1/p'
}
for name in $(env | sed -n 's/^\(CARGO_\(PKG\|MANIFEST\)_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
same "the first build compiles" "ring v0.17.14" "$(builds)"
same "the next one compiles" "" "$(builds)"
same "one below cargo run compiles" "ring v0.17.14" "$(builds CARGO_MANIFEST_DIR=/elsewhere)"
same "one by hand again compiles" "ring v0.17.14" "$(builds)"
