# Shared by the scripts of this folder: `source "$(dirname "$0")/lib.sh"` first.
# A script installs pinned public packages below $work, runs them, and calls `same` for what it has seen before.
set -euo pipefail
work=$(mktemp -d)
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

# pypi NAME==VERSION...: installs packages of PyPI into a virtual environment; $python is its interpreter.
pypi() {
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
  python=$work/venv/bin/python
}

# debian NAME=VERSION...: unpacks packages of Debian below $work/unpacked, without installing them.
debian() {
  mkdir -p "$work/debs"
  (cd "$work/debs" && apt-get download -qq "$@" 2>/dev/null) ||
    { echo "not to be had any more, so nothing is said about it: $*" >&2; exit 1; }
  for package in "$work"/debs/*.deb; do dpkg-deb -x "$package" "$work/unpacked"; done
  export PATH="$work/unpacked/usr/sbin:$work/unpacked/usr/bin:$PATH"
  export LD_LIBRARY_PATH="$work/unpacked/usr/lib/x86_64-linux-gnu"
}

# npm_packages NAME@VERSION...: installs packages of the npm registry below $work/npm.
npm_packages() {
  mkdir -p "$work/npm"
  (cd "$work/npm" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund "$@" >/dev/null)
}

# crate NAME VERSION MAIN: builds a program of one crate's own version with the given main.rs; $program runs it.
crate() {
  mkdir -p "$work/crate/src"
  printf '[package]\nname = "seen"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n[workspace]\n' "$1" "$2" >"$work/crate/Cargo.toml"
  cat >"$work/crate/src/main.rs"
  cargo build --quiet --manifest-path "$work/crate/Cargo.toml" --target-dir "$work/target"
  program=$work/target/debug/seen
}

# background COMMAND...: runs a server until the script ends.
background() {
  "$@" >"$work/server.log" 2>&1 &
  started+=($!)
}

# wait_for PORT: returns when somebody listens on 127.0.0.1:PORT, within twenty seconds.
wait_for() {
  for _ in $(seq 200); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.1
  done
  echo "nobody listens on port $1" >&2
  cat "$work/server.log" >&2
  exit 1
}

# free_port: a port of this host that nobody listens on.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# same WHAT WANTED SEEN: prints what was seen, and ends the script if it is not what was seen before.
same() {
  if [ "$2" = "$3" ]; then
    printf 'as before: %s: %s\n' "$1" "$3"
  else
    printf 'changed: %s\n  before: %s\n  now:    %s\n' "$1" "$2" "$3" >&2
    exit 1
  fi
}
