"""A small server: prints the head of each request, and answers by path (/early, else 200 ok). Usage: upstream.py PORT"""

import socket
import sys
import threading

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = {b"/early": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK}


def serve(connection):
    head = b""
    while True:
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return
            head += piece
        print(repr(head), flush=True)
        connection.sendall(ANSWERS.get(head.split()[1], OK))
        head = b""


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
