"""uvicorn in a background task, with its own handling of signals: whatever ends the app, requests are answered."""

from __future__ import annotations

import signal
import socket

import pytest
from support.programs import LOOPS

pytest.importorskip("uvicorn")

SOURCE = """
import socket, uvicorn
app = App("shop", grace=5)

@app.resource
async def database():
    yield
    say("database closed")

@app.background(drain=True)
async def serve():
    await server.serve(sockets=[door])

@app.on_shutdown(stage="drain")
def stop_accepting():
    server.should_exit = True

@app.background
async def other():
    global asked
    asked = asyncio.Event()
    await asked.wait()
    end()

async def site(scope, receive, send):
    asked.set()
    say("request")
    while not app.stopping:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": b"answer"})

door = socket.socket(fileno=int(sys.argv[1]))
server = uvicorn.Server(uvicorn.Config(site, lifespan="off", log_level="warning"))
"""

#: What the other task does when there is a request, and the exit status.
ENDS = {
    "SIGTERM": ("", 0),
    "SIGINT": ("", -signal.SIGINT),
    "a task fails": ("raise ValueError('of a task')", 1),
    "stop()": ("app.stop()", 0),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("end", ENDS)
def test_the_request_under_way_is_answered(program, end, loop):
    """It is answered before the database is closed; the status is the app's."""
    does, status = ENDS[end]
    source = f"{SOURCE}\ndef end():\n    {does or 'pass'}\napp.run(loop_factory=LOOP)\n"
    with socket.create_server(("127.0.0.1", 0)) as door:
        running = program(source, loop=loop, args=[str(door.fileno())], pass_fds=[door.fileno()])
        address = door.getsockname()
    with socket.create_connection(address, timeout=10) as client, client.makefile("rb") as answer:
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        running.wait_for("request")
        if end.startswith("SIG"):
            running.send(signal.Signals[end])
        assert answer.read().endswith(b"answer\r\n0\r\n\r\n")
    ended = running.end()
    assert (status, ["request", "database closed"]) == (ended.status, ended.lines), ended.err
    assert (status == 1) == ("ValueError: of a task" in ended.err) == (ended.err != ""), ended.err
    assert ended.took < 3
