#!/usr/bin/env bash
# wrk 4.1.0 (Debian 12): `-t 3 -c 10` opens nine connections, and reports "3 threads and 10 connections".
# Connections are divided among the threads, rounded down, so ratios per connection are wrong for who believes the report.
source "$(dirname "$0")/lib.sh"
debian wrk=4.1.0-3+b2
port=$(free_port)
cat >"$work/server.py" <<'PY'
import asyncio, sys
async def serve(reader, writer):
    print("connection", flush=True)
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
PY
background python3 "$work/server.py" "$port"
until grep -q ready "$work/server.log"; do sleep 0.1; done
report=$(wrk -t 3 -c 10 -d 1 "http://127.0.0.1:$port/")
same "what wrk reports" "3 threads and 10 connections" "$(sed -n 's/^ *\(3 threads.*\)/\1/p' <<<"$report")"
# One more connection is wrk's own first look at the address.
same "connections that the server accepted, less the probe" 9 "$(($(grep -c ^connection "$work/server.log") - 1))"
