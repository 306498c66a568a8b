#!/bin/sh
# Compiles what a node runs, without what only a debugger needs, into a folder: build_programs.sh FOLDER
set -eu

folder=${1:?"say into which folder: build_programs.sh FOLDER"}
cd "$(dirname "$0")/../.."

# The target of the eBPF programs has no compiled core, so its sources are needed; without them `cargo xtask` looks for a
# compiler of the distribution that has them.
if command -v rustup >/dev/null; then
    rustup component add rust-src || echo "build_programs: no rust-src; looking for the distribution's compiler" >&2
fi
cargo xtask build-ebpf
cargo build --release --package dfaas-agent --package dfaas-provider --bins

mkdir -p "$folder"
for program in dfaas-agent dfaas-provider; do
    strip -o "$folder/$program" "${CARGO_TARGET_DIR:-target}/release/$program"
done
