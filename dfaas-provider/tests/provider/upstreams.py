"""A warm function that behaves as KIND says: what servers do that one would not guess."""
import base64
import hashlib
import itertools
import os
import socket
import threading
import time

KIND = os.environ["KIND"]
PORT = int(os.environ["PORT"])
NUMBERS = itertools.count(1)


def head(stream):
    text = b""
    while b"\r\n\r\n" not in text:
        more = stream.recv(1)
        if not more:
            return None
        text += more
    return text.decode()


def answer(stream, status, body):
    stream.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def idle(stream):
    """Closes a kept connection 20 ms after the last answer."""
    while head(stream):
        answer(stream, "200 OK", "idle")
        stream.settimeout(0.02)


def early(stream):
    """Refuses an upload without reading it."""
    head(stream)
    stream.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong")


def upgrade(stream):
    """Changes to a protocol that sends everything back in upper case."""
    text = head(stream)
    assert "upgrade: shout" in text.lower(), text
    stream.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
    while more := stream.recv(100):
        stream.sendall(more.upper())


def greedy(stream):
    """Takes 300 MB."""
    head(stream)
    taken = bytearray(300 * 1024 * 1024)
    time.sleep(60)
    answer(stream, "200 OK", str(len(taken)))


def framing(stream):
    """Tells how the request was framed."""
    text = head(stream)
    answer(stream, "200 OK", "chunked" if "transfer-encoding" in text.lower() else "length")


def line(stream):
    """Tells what was asked for."""
    method, path, _ = head(stream).split(" ", 2)
    answer(stream, "200 OK", f"{method} {path}")


def silent(stream):
    """Takes a request and says nothing."""
    head(stream)
    time.sleep(60)


def websocket(stream):
    """Changes to WebSocket (RFC 6455, section 4.2.2)."""
    text = head(stream)
    key = next(field.split(":", 1)[1].strip() for field in text.split("\r\n") if field.lower().startswith("sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    stream.sendall(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    stream.recv(100)


def number(stream):
    """Tells the number of this answer of the process."""
    if head(stream):
        answer(stream, "200 OK", str(next(NUMBERS)))


def mortal(stream):
    """Ends the process when it is asked for /die."""
    if "/die" in head(stream):
        os._exit(3)
    answer(stream, "200 OK", "alive")


def serve(stream):
    try:
        with stream:
            globals().get(KIND, framing)(stream)
    except OSError:
        pass


family, host = (socket.AF_INET6, "::1") if KIND == "six" else (socket.AF_INET, "127.0.0.1")
if KIND == "elsewhere":
    PORT = 0
listener = socket.create_server((host, PORT), family=family, backlog=64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
