"""The same small program, or server, in several frameworks and languages, for the doctor to tell apart."""

from __future__ import annotations

#: Each takes a fifth of a second for its cleanup, and says "bye" at the end of it.
AIORUN = """
import asyncio, aiorun
async def main():
    try:
        print("ready", flush=True)
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.2)
        print("bye", flush=True)
aiorun.run(main())
"""

ANYIO = """
import anyio, signal
async def main():
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        print("ready", flush=True)
        async for _ in signals:
            break
    await anyio.sleep(0.2)
    print("bye", flush=True)
anyio.run(main)
"""

ASYNCIO = """
import asyncio, os
async def main():
    try:
        print("working")
        os.write(1, b"ready\\n")
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.2)
        print("bye", flush=True)
asyncio.run(main())
"""

GRACEFUL = """
import asyncio, os, tempfile
from graceful import App
app = App("orders", grace=3)
@app.resource
async def server():
    with tempfile.TemporaryDirectory():
        serving = await asyncio.start_server(lambda *_: None, "127.0.0.1", PORT)
        yield
        serving.close()
@app.on_shutdown
async def disconnect():
    await asyncio.sleep(0.2)
    print("bye")
async def main():
    print("working")
    os.write(1, b"ready\\n")
    await asyncio.sleep(3600)
app.run(main)
"""

#: An ASGI application; its server is uvicorn, alone or as gunicorn's worker.
ASGI = """
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.sleep(0.2)
        print("bye", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
"""

NODE = """
const server = require("http").createServer((request, response) => response.end("ok"));
server.listen(PORT, "127.0.0.1", () => console.log("ready"));
"""

NGINX = """
daemon off;
pid FOLDER/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    server {
        listen 127.0.0.1:PORT;
        location / { return 200 ok; }
    }
}
"""

#: Starts a worker and waits for it, but does not pass on the signals.
SHELL = """
sleep 3600 &
echo ready
wait
"""

#: The same with the program in the foreground: the shell runs the trap when that has ended.
TRAPPED = """
trap 'echo bye; exit 0' TERM
echo ready
sleep 3600
"""

#: Answers each line after a moment, and the last one with "last".
ECHO = """
import asyncio, os
requests = set()
def is_last():
    return False
async def serve(reader, writer):
    requests.add(asyncio.current_task())
    answer = b""
    while answer != b"last\\n" and await reader.readline():
        await asyncio.sleep(0.2)
        answer = b"last\\n" if is_last() else b"ok\\n"
        writer.write(answer)
    writer.close()
    requests.discard(asyncio.current_task())
"""

ECHO_ASYNCIO = (
    ECHO
    + """
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", PORT) as server:
        os.write(1, b"ready\\n")
        await server.serve_forever()
asyncio.run(main())
"""
)

ECHO_GRACEFUL = (
    ECHO
    + """
from graceful import App
app = App("echo", grace=5)
def is_last():
    return app.stopping
@app.resource
async def server():
    async with await asyncio.start_server(serve, "127.0.0.1", PORT) as listening:
        os.write(1, b"ready\\n")
        yield listening
@app.on_shutdown(stage="drain")
async def drain():
    app.value(server).close()
    while requests:
        await asyncio.wait(requests)
app.run()
"""
)

#: Sends one line after the other, and fails if one is not answered.
ECHO_CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", PORT)) as connection, connection.makefile("rw") as lines:
    answer = ""
    while answer != "last\\n":
        print("hello", file=lines, flush=True)
        answer = lines.readline()
        if not answer:
            sys.exit("a request was lost")
"""
