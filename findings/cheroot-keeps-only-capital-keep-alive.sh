#!/usr/bin/env bash
# cheroot 11.1.2 (PyPI): for an HTTP/1.0 client, `Connection: keep-alive` closes and `Connection: Keep-Alive` keeps.
# Connection options are case-insensitive (RFC 9110, 7.6.1). The answer that closes says HTTP/1.1 and nothing of closing.
source "$(dirname "$0")/lib.sh"
pypi cheroot==11.1.2
port=$(free_port)
cat >"$work/server.py" <<'PY'
import sys
from cheroot import wsgi
def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
wsgi.Server(("127.0.0.1", int(sys.argv[1])), app).start()
PY
background "$python" "$work/server.py" "$port"
wait_for "$port"
ask() { python3 "$(dirname "$0")/probe.py" "$port" "GET / HTTP/1.0\\r\\nConnection: $1\\r\\n\\r\\n" 1; }
lower=$(ask keep-alive)
same "keep-alive ends with" FIN "$(tail -n 1 <<<"$lower" | cut -d' ' -f2)"
same "and says of the connection" "HTTP/1.1, nothing" "$(grep -oE 'HTTP/1\.[01]' <<<"$lower" | head -n 1), $(grep -oiE 'connection: [a-z-]+' <<<"$lower" || echo nothing)"
same "Keep-Alive ends with" open "$(ask Keep-Alive | tail -n 1)"
