#!/usr/bin/env bash
# eventlet 0.41.3 (PyPI), wsgi server: parts of a generator are kept until they are 4096 bytes, and the head with them.
# A stream of small events arrives in one piece at its end. PEP 3333 ("Buffering and Streaming") says that a server must not
# delay the transmission of any block. `minimum_chunk_size` is the option.
source "$(dirname "$0")/lib.sh"
pypi eventlet==0.41.3
port=$(free_port)
cat >"$work/server.py" <<'PY'
import sys
import eventlet
from eventlet import wsgi
def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    def parts():
        for number in range(3):
            yield b"part%d" % number
            eventlet.sleep(0.5)
    return parts()
wsgi.server(eventlet.listen(("127.0.0.1", int(sys.argv[1]))), app, log_output=False)
PY
background "$python" "$work/server.py" "$port"
wait_for "$port"
seen=$(python3 "$(dirname "$0")/probe.py" "$port" 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' 3 | grep -v open)
same "pieces of three parts, half a second apart" 1 "$(wc -l <<<"$seen")"
same "bytes come after more than a second" yes "$(awk '{print ($1 > 1) ? "yes" : "no"}' <<<"$seen")"
same "all parts in one chunk" yes "$(grep -qF 'f\r\npart0part1part2' <<<"$seen" && echo yes)"
