"""What asyncio reports to its exception handler: what stops the program, and what is only logged."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import signal
import socket
import threading
import time
import warnings

import pytest
from support.failures import LIMIT, SHORT, Mine, fail, raise_mine, stopped_by_failure

from graceful import App

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


# --- what stops the program at once ----------------------------------------------------------------------------------


def in_a_thread_of_its_own(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def done_callback(loop):
    loop.create_future().add_done_callback(raise_mine)
    task = asyncio.ensure_future(asyncio.sleep(0))
    task.add_done_callback(raise_mine)


def readable(loop):
    left, right = socket.socketpair()
    with right:
        right.send(b"x")

    def read():
        loop.remove_reader(left)
        left.close()
        raise Mine

    loop.add_reader(left, read)


def writable(loop):
    left, right = socket.socketpair()

    def write():
        loop.remove_writer(left)
        left.close()
        right.close()
        raise Mine

    loop.add_writer(left, write)


def loop_signal_handler(loop):
    loop.add_signal_handler(signal.SIGUSR1, raise_mine)
    signal.raise_signal(signal.SIGUSR1)


def python_signal_handler(loop):
    signal.signal(signal.SIGUSR1, raise_mine)
    # From another thread, when the loop waits and no code of the program's runs that it could be raised in.
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()


AT_ONCE = {
    "call_soon": lambda loop: loop.call_soon(raise_mine),
    "call_later": lambda loop: loop.call_later(0.01, raise_mine),
    "call_at": lambda loop: loop.call_at(loop.time() + 0.01, raise_mine),
    "call_soon_threadsafe": lambda loop: in_a_thread_of_its_own(loop.call_soon_threadsafe, raise_mine),
    "done callback": done_callback,
    "reader": readable,
    "writer": writable,
    "signal handler of the loop": loop_signal_handler,
    "signal handler of Python": python_signal_handler,
    "a future that is dropped": lambda loop: loop.create_future().set_exception(Mine()),
    "a gather that is dropped": lambda loop: asyncio.gather(fail(), asyncio.sleep(0)) and None,
}


@pytest.fixture
def usr1():
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("way", AT_ONCE.values(), ids=AT_ONCE.keys())
def test_what_cannot_be_awaited_is_noticed_at_once(new_loop, way, usr1):
    """A callback that raises, and a failed future that is dropped, stop the program at once, without any patience."""
    app = App(grace=3, patience=60)

    async def main():
        way(asyncio.get_running_loop())
        await asyncio.sleep(LIMIT)

    stopped_by_failure(app, main, new_loop)


class ReceivesNothing(asyncio.Protocol):
    def data_received(self, data):
        raise Mine


async def connect(protocol, *, server=None):
    """One connection of many, to a server with this protocol: something is sent, the end is waited for."""
    loop = asyncio.get_running_loop()
    server = server or await loop.create_server(protocol, "127.0.0.1", 0)
    with contextlib.closing(server), socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(client, b"x")
            client.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(loop.sock_recv(client, 1), LIMIT)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("when", ["before", "inside main"])
@pytest.mark.parametrize("way", ["held", "callback", "connection"])
def test_an_exception_handler_of_the_program(app, new_loop, way, when):
    """A loop exception handler of the program, set before or after ours, gets each failure once; so does the app."""
    heard = []

    def own(loop, context):
        heard.append((loop, type(context["exception"]), type(context["message"])))

    def new():
        loop = new_loop()
        if when == "before":
            loop.set_exception_handler(own)
        return loop

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(own)
        heard.append(loop)
        if way == "connection":
            await connect(ReceivesNothing)
            return
        held = asyncio.create_task(fail()) if way == "held" else loop.call_soon(raise_mine)
        await asyncio.sleep(LIMIT)
        del held

    if way == "connection":
        app.run(main, loop_factory=new)
    else:
        stopped_by_failure(app, main, new)
    (loop, *rest) = heard
    assert ([(loop, Mine, str)], [Mine]) == (rest, [type(each.exception) for each in app.report.failures])


@pytest.mark.parametrize("way", ["callback", "held"])
def test_an_async_exception_handler(app, new_loop, way, recwarn):
    """An `async def` exception handler, which asyncio never awaits, does not keep the app from noticing."""

    async def own(loop, context): ...

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(own)
        held = asyncio.create_task(fail()) if way == "held" else loop.call_soon(raise_mine)
        await asyncio.sleep(LIMIT)
        del held

    stopped_by_failure(app, main, new_loop)
    gc.collect()
    assert ["coroutine"] == [str(each.message).split()[0] for each in recwarn]


def test_the_loops_own_report_of_a_collected_task_is_a_failure():
    """Without patience, what asyncio reports when a failed task is collected stops the program."""
    app = App(patience=None)

    async def fail():
        raise ValueError("collected")

    async def main():
        asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        gc.collect()
        await asyncio.sleep(60)

    with pytest.raises(ValueError, match="collected"):
        app.run(main)


# --- what does not stop the program ----------------------------------------------------------------------------------


def test_one_connection_of_many_is_no_failure(app, caplog):
    """A protocol that raises in data_received is logged and reported, and the program goes on."""

    class Bad(asyncio.Protocol):
        def data_received(self, data):
            raise ValueError("one connection")

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Bad, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        assert b"" == await reader.read()
        writer.close()
        server.close()
        return "went on"

    assert "went on" == app.run(main)
    assert ["one connection"] == [str(f.exception) for f in app.report.failures]
    assert "asyncio" in {record.name for record in caplog.records}


class NeverConnects(asyncio.Protocol):
    def connection_made(self, transport):
        transport.close()
        raise Mine


class NeverEnds(asyncio.Protocol):
    def eof_received(self):
        raise Mine


class NeverLost(asyncio.Protocol):
    def connection_lost(self, error):
        raise Mine


async def callback_of_a_server():
    async def talk(reader, writer):
        writer.close()
        raise Mine

    await connect(None, server=await asyncio.start_server(talk, "127.0.0.1", 0))


async def leave_a_generator():
    async def lines():
        try:
            yield
        finally:
            raise Mine

    await anext(lines())
    gc.collect()
    await asyncio.sleep(0.02)


HARMLESS = {
    "data_received": functools.partial(connect, ReceivesNothing),
    "eof_received": functools.partial(connect, NeverEnds),
    "client_connected_cb": callback_of_a_server,
    "connection_made": functools.partial(connect, NeverConnects),
    "connection_lost": functools.partial(connect, NeverLost),
    "generator": leave_a_generator,
}


@pytest.mark.parametrize("work", HARMLESS.values(), ids=HARMLESS.keys())
def test_one_connection_of_many(app, new_loop, work, caplog):
    """A protocol, client handler or generator that raises is logged and reported, and does not stop the program."""
    asked = []
    app.on_exception(lambda: asked.append("asked"))

    async def main():
        await work()
        return "went on"

    assert "went on" == app.run(main, loop_factory=new_loop)
    assert ([Mine], []) == ([type(each.exception) for each in app.report.failures], asked)
    assert [Mine] == [each.exc_info[0] for each in caplog.records if each.name == "asyncio" and each.exc_info]


async def datagram():
    class Bad(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            heard.set()
            raise Mine

    heard = asyncio.Event()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Bad, local_addr=("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", transport.get_extra_info("sockname"))
        await asyncio.wait_for(heard.wait(), LIMIT)
    await asyncio.sleep(0)
    transport.close()


def test_one_datagram_of_many(app, new_loop):
    """A datagram_received() that raises is reported, and does not stop the program."""
    assert app.run(datagram, loop_factory=new_loop) is None
    assert [Mine] == [type(each.exception) for each in app.report.failures]


def test_a_generator_that_fails_when_the_loop_closes_it(app, new_loop, caplog):
    """An async generator that fails when the loop closes those that are left: logged, in the report, status 0."""

    async def lines():
        try:
            yield
        finally:
            raise Mine

    async def main():
        main.lines = lines()
        await anext(main.lines)
        return "went on"

    assert "went on" == app.run(main, loop_factory=new_loop)
    assert ([Mine], 0) == ([type(each.exception) for each in app.report.failures], app.report.exit_status)
    assert [Mine] == [each.exc_info[0] for each in caplog.records if each.name == "asyncio"]


async def leave_a_task_pending():
    async def wait():
        await asyncio.get_running_loop().create_future()

    asyncio.create_task(wait())
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)


async def block_for_a_moment():
    asyncio.get_running_loop().slow_callback_duration = 0.01
    await asyncio.sleep(0)
    time.sleep(0.02)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("work", "debug", "message"),
    [(leave_a_task_pending, False, "was destroyed but it is pending"), (block_for_a_moment, True, "took 0.")],
)
def test_warnings_are_only_logged(app, new_loop, work, debug, message, caplog):
    """What asyncio reports without an exception is only logged: it is no failure."""

    async def main():
        await work()
        return "went on"

    assert "went on" == app.run(main, debug=debug, loop_factory=new_loop)
    assert () == app.report.failures
    assert any(message in record.getMessage() for record in caplog.records if record.name == "asyncio")


def test_an_unclosed_transport_is_a_warning(app, new_loop):
    """A transport that is dropped unclosed gives Python's ResourceWarning, and is no failure."""

    async def main():
        left, right = socket.socketpair()
        with right:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=left)
            transport.pause_reading()  # so that the loop does not hold it
            del transport, left, _
            gc.collect()
            await asyncio.sleep(SHORT)
        return "went on"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert ("went on", ()) == (app.run(main, loop_factory=new_loop), app.report.failures)
        gc.collect()
    assert {ResourceWarning} == {each.category for each in caught if "unclosed" in str(each.message)}
