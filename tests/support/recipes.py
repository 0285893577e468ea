"""The recipes of examples/servers, each as a process, and the clients that look at how it ends."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import time
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples" / "servers"

#: Runs the recipe that is its argument. Its app has a background task more, which ends it as `END` says, when stdin says so.
RECIPE = """
import runpy
if LOOP is None:
    sys.modules["uvloop"] = None
else:
    asyncio.run = lambda main, **options: asyncio.Runner(loop_factory=LOOP).run(main)
    App.run = lambda app, run=App.run: run(app, loop_factory=LOOP)
made = App.__init__

def make(app, *args, **options):
    made(app, *args, **options)

    @app.resource
    async def database():
        yield
        say("database closed")

    @app.background
    async def end():
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        loop.add_reader(0, told.set)
        try:
            await told.wait()
        finally:
            loop.remove_reader(0)
        say("end")
        if os.environ["END"] == "failure":
            raise ValueError("of a background task")
        app.stop()

App.__init__ = make
sys.path.insert(0, os.path.dirname(sys.argv[1]))
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def free_port():
    """A socket that reserves a port, but does not listen, and the number: a server can bind it, and nobody gets it by chance."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved, reserved.getsockname()[1]


def connect(port, within=20.0):
    """A connection to a server that is about to listen."""
    return _until(port, within, lambda error: error is None)


def wait_refused(port, within=20.0):
    """Wait until a server has closed its listener."""
    _until(port, within, lambda error: error is not None)


def _until(port, within, enough):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        made = error = None
        try:
            made = socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionError as refused:
            error = refused
        if enough(error):
            return made
        if made is not None:
            made.close()
        time.sleep(0.02)  # or the server would have nothing else to do than to accept
    raise AssertionError(f"not within {within} s; at last: {error}")


class Client:
    """A connection by HTTP/1.1."""

    def __init__(self, port):
        self.socket = connect(port)
        self._lines = self.socket.makefile("rb")

    def close(self):
        self._lines.close()
        self.socket.close()

    def send(self, line, **headers):
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(f"{line} HTTP/1.1\r\nHost: shop\r\n{head}\r\n".encode())
        return self

    def head(self):
        """The status and the headers of the next answer."""
        status = int(self._lines.readline().split()[1])
        lines = [*iter(self._lines.readline, b"\r\n")]
        return status, {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}

    def answer(self):
        """The status and the body of the next answer, whichever way it is framed."""
        status, headers = self.head()
        if headers.get(b"transfer-encoding") == b"chunked":
            return status, b"".join(self.chunks())
        return status, self._lines.read(int(headers.get(b"content-length", b"0")))

    def chunks(self):
        """The chunks of an answer, up to the one that says it was the last: an answer that is cut short is an error."""
        while length := int(self._lines.readline(), 16):
            yield self._lines.read(length + 2)[:-2]
        assert self._lines.readline() == b"\r\n"

    def frames(self):
        """The opcode and the payload of each frame that a websocket gets, up to the end of the connection."""
        while head := self._lines.read(2):
            assert head[1] < 126, "a server does not mask, and these frames are short"
            yield head[0] & 15, self._lines.read(head[1])

    def close_frame(self, payload):
        """Answer the close of a websocket."""
        self.socket.sendall(bytes([0x88, 0x80 | len(payload), 0, 0, 0, 0]) + payload)

    def rest(self):
        """What comes until the server closes; a reset is an error."""
        return self._lines.read()

    def rest_after_close_frame(self):
        """The same of a websocket, after the close frame of the server: it need not wait for ours, which a reset may answer."""
        with contextlib.suppress(ConnectionResetError):
            return self._lines.read()
        return b""


def upgrade(client, path):
    """Make the connection a websocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    client.send(
        f"GET {path}", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key=key, Sec_WebSocket_Version=13
    )
    assert client.head()[0] == 101
    return client
