"""A warm function that takes a second for /wait, and tells by a file that it was asked to end."""
import http.server
import os
import signal
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/wait":
            time.sleep(1)
        body = os.environ.get("WORD", "old").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def end(number, frame):
    if "ENDED" in os.environ:
        with open(os.environ["ENDED"], "w") as file:
            file.write(signal.Signals(number).name)
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
