#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12): `add map` with a key that exists succeeds and changes nothing: the old value stays in force.
# It adds a second row under the same key, look-ups take the older one, and `show map` lists both. `set map` then changes all rows of
# the key and `del map` deletes them all, so nothing tells afterwards that there were two.
source "$(dirname "$0")/lib.sh"
debian haproxy=2.6.12-1+deb12u4 liblua5.3-0
port=$(free_port)
echo 'figlet 10' >"$work/rates.map"
cat >"$work/haproxy.cfg" <<CFG
global
  stats socket $work/socket level admin
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend service
  bind 127.0.0.1:$port
  http-request return status 200 content-type text/plain lf-string "%[path,field(2,/),map_str_int($work/rates.map,0)]"
CFG
background haproxy -db -f "$work/haproxy.cfg"
wait_for "$port"
tell() {
  python3 - "$work/socket" "$1" <<'PY'
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(sys.argv[2].encode() + b"\n")
answer = b""
while piece := client.recv(65536):
    answer += piece
print(answer.decode().strip())
PY
}
value() { curl -sS "http://127.0.0.1:$port/figlet"; }
rows() { tell "show map $work/rates.map" | cut -d' ' -f3 | paste -sd ' '; }
same "the value at first" 10 "$(value)"
same "what add map answers for the key that exists" "" "$(tell "add map $work/rates.map figlet 20")"
same "the value behind add map" 10 "$(value)"
same "the rows behind add map" "10 20" "$(rows)"
tell "set map $work/rates.map figlet 30" >/dev/null
same "the rows behind set map" "30 30" "$(rows)"
tell "del map $work/rates.map figlet" >/dev/null
same "the rows behind del map" "" "$(rows)"
