#!/usr/bin/env bash
# werkzeug 3.1.9 (PyPI), its development server with HTTP/1.1: a request with `Expect: 100-continue` gets two `100 Continue`.
# The standard library's handler sends one and werkzeug's own another. Who counts one interim answer a request loses step.
source "$(dirname "$0")/lib.sh"
pypi werkzeug==3.1.9
port=$(free_port)
cat >"$work/server.py" <<'PY'
import sys
from werkzeug.serving import WSGIRequestHandler, make_server
class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
def app(environ, start):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
make_server("127.0.0.1", int(sys.argv[1]), app, request_handler=Handler).serve_forever()
PY
background "$python" "$work/server.py" "$port"
wait_for "$port"
seen=$(python3 - "$port" <<'PY'
import socket, sys, time
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
time.sleep(1)
print(client.recv(4096).count(b"HTTP/1.1 100"), end=" ")
client.sendall(b"abc")
time.sleep(1)
print(client.recv(4096).count(b"HTTP/1.1 100"))
PY
)
same "interim answers before and behind the body" "2 0" "$seen"
