"""Sends bytes to a port of this host and prints what comes back: one line a piece, with its time, then FIN or open."""

import socket
import sys
import time

port, request, patience = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
connection = socket.create_connection(("127.0.0.1", port))
connection.settimeout(patience)
connection.sendall(request.encode().decode("unicode_escape").encode("latin-1"))
begin = time.monotonic()
try:
    while piece := connection.recv(65536):
        print(f"{time.monotonic() - begin:.1f}", repr(piece.decode("latin-1"))[1:-1])
    print(f"{time.monotonic() - begin:.1f}", "FIN")
except socket.timeout:
    print("open")
