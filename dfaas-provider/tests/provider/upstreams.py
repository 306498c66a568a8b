"""A warm function that behaves as KIND says: what servers do that one would not guess."""
import os
import socket
import threading
import time

KIND = os.environ["KIND"]
PORT = int(os.environ["PORT"])


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
