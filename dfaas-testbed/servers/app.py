"""The function that each server of Python serves, as WSGI, as ASGI, and for aiohttp.

`?do=parts` gives three parts with pauses, `?do=late` answers after half a second; else the length of the body is told.
"""

import asyncio
import time

PARTS = [b"part1\n", b"part2\n", b"part3\n"]
PAUSE_S = 0.3
LATE_S = 0.5


def told(length):
    return f"ok {length}\n".encode()


def wsgi(environ, start_response):
    do = environ.get("QUERY_STRING", "")
    if do == "do=parts":
        start_response("200 OK", [("Content-Type", "text/plain")])

        def parts():
            for part in PARTS:
                yield part
                time.sleep(PAUSE_S)

        return parts()
    length = int(environ.get("CONTENT_LENGTH") or 0)
    left = length
    while left > 0:
        piece = environ["wsgi.input"].read(min(left, 65536))
        if not piece:
            break
        left -= len(piece)
    if do == "do=late":
        time.sleep(LATE_S)
    body = told(length - left)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    do = scope["query_string"]
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    headers = [(b"content-type", b"text/plain")]
    if do == b"do=parts":
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in PARTS:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(PAUSE_S)
        await send({"type": "http.response.body", "body": b""})
        return
    if do == b"do=late":
        await asyncio.sleep(LATE_S)
    body = told(length)
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve_aiohttp(port):
    from aiohttp import web

    async def handle(request):
        length = len(await request.read())
        if request.query_string == "do=parts":
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            for part in PARTS:
                await response.write(part)
                await asyncio.sleep(PAUSE_S)
            await response.write_eof()
            return response
        if request.query_string == "do=late":
            await asyncio.sleep(LATE_S)
        return web.Response(body=told(length), content_type="text/plain")

    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    web.run_app(app, port=port, print=None)


def serve_werkzeug(port):
    from werkzeug.serving import WSGIRequestHandler, run_simple

    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    run_simple("0.0.0.0", port, wsgi, threaded=True)


def serve_cheroot(port):
    from cheroot.wsgi import Server

    Server(("0.0.0.0", port), wsgi).start()


def serve_gevent(port):
    from gevent import monkey

    monkey.patch_all()
    from gevent.pywsgi import WSGIServer

    WSGIServer(("0.0.0.0", port), wsgi, log=None).serve_forever()


def serve_tornado(port):
    from tornado import ioloop, web

    class Handler(web.RequestHandler):
        SUPPORTED_METHODS = (*web.RequestHandler.SUPPORTED_METHODS, "BREW")

        async def answer(self):
            do = self.request.query
            self.set_header("Content-Type", "text/plain")
            if do == "do=parts":
                for part in PARTS:
                    self.write(part)
                    await self.flush()
                    await asyncio.sleep(PAUSE_S)
                return
            if do == "do=late":
                await asyncio.sleep(LATE_S)
            self.write(told(len(self.request.body)))

        get = post = head = brew = answer

    web.Application([(".*", Handler)]).listen(port)
    ioloop.IOLoop.current().start()


if __name__ == "__main__":
    import sys

    globals()["serve_" + sys.argv[1]](int(sys.argv[2]))
