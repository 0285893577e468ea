"""Who a task belongs to: what was acquired keeps its own tasks until it is released, and the rest is work."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest

from graceful import App, HookTimeout, Interrupted

ITEMS = [*range(12)]


class Client:
    """Sends what it is given in a task of its own, as a producer or a log shipper does, and flushes when it is closed."""

    def __init__(self):
        self.sent = []

    async def send(self, item):
        await asyncio.sleep(0.003)
        self.sent.append(item)

    async def _run(self):
        while True:
            await self.send(await self.queue.get())
            self.queue.task_done()

    async def __aenter__(self):
        self.queue = asyncio.Queue()
        self._sender = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_):
        await self.queue.join()
        self._sender.cancel()

    def put_all(self):
        for item in ITEMS:
            self.queue.put_nowait(item)


class ThreadedClient(Client):
    """The same with a blocking library below, which it calls in a thread."""

    async def send(self, item):
        await asyncio.to_thread(self.sent.append, item)


class RestartingClient(Client):
    """The same with a new task for each item, which a callback of its own starts, as after a reconnect."""

    async def __aenter__(self):
        self.queue = asyncio.Queue()
        self._start()
        return self

    def _start(self):
        self._sender = asyncio.create_task(self._send_one())

    async def _send_one(self):
        await self.send(await self.queue.get())
        asyncio.get_running_loop().call_soon(self._start)
        self.queue.task_done()


def as_resource(app, client, work):
    @app.resource
    async def connection():
        async with client:
            yield

    return work


def as_hooks(app, client, work):
    @app.on_startup
    async def connect():
        await client.__aenter__()

    @app.on_shutdown
    async def disconnect():
        await client.__aexit__()

    return work


def as_acquisition(app, client, work):
    async def main():
        await app.enter_async_context(client)
        await work()

    return main


def in_main(app, client, work):
    async def main():
        async with client:
            await work()

    return main


def by_signal(app):
    signal.raise_signal(signal.SIGTERM)


def by_failure(app):
    async def fail():
        raise OSError("mine")

    app.create_task(fail())


def by_stop(app):
    app.stop()


SHAPES = [as_resource, as_hooks, as_acquisition, in_main]
#: How the program ends, and what `run()` raises then; `None`: main returns.
ENDS = [(by_signal, Interrupted), (by_failure, OSError), (by_stop, None), (None, None)]


def run_with(app, new_loop, shape, client, end, raised):
    """Run an app that gives the client its items, and is told to end at once."""

    async def work():
        client.put_all()
        if end is not None:
            end(app)
            await asyncio.sleep(60)

    with contextlib.nullcontext() if raised is None else pytest.raises(raised):
        app.run(shape(app, client, work), loop_factory=new_loop)


@pytest.mark.parametrize(("end", "raised"), ENDS, ids=["signal", "failure", "stop", "return"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_client_with_a_task_of_its_own_loses_nothing(app, new_loop, shape, end, raised):
    """What a client has to flush is flushed, wherever the client is opened and however the program ends."""
    client = Client()

    run_with(app, new_loop, shape, client, end, raised)

    assert ITEMS == client.sent
    assert app.report.took < 2


@pytest.mark.parametrize("kind", [ThreadedClient, RestartingClient])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_client_starts_later_belongs_to_it(app, new_loop, shape, kind):
    """Threads that the client uses and tasks that its callbacks start are its own like its first task."""
    client = kind()

    run_with(app, new_loop, shape, client, by_signal, Interrupted)

    assert ITEMS == sorted(client.sent)


def test_a_server_answers_the_requests_under_way(app, new_loop):
    """The connection tasks of a server that a resource has opened go on until the resource closes it."""
    answers = []

    @app.resource
    async def server():
        async def answer(reader, writer):
            asked.set()
            await asyncio.sleep(0.05)
            writer.write(await reader.readline())
            writer.close()
            answered.set()

        asked, answered = asyncio.Event(), asyncio.Event()
        serving = await asyncio.start_server(answer, "127.0.0.1", 0)
        client = await asyncio.open_connection(*serving.sockets[0].getsockname())
        client[1].write(b"hello\n")
        await asked.wait()
        yield
        serving.close()
        await answered.wait()
        answers.append(await client[0].readline())
        client[1].close()

    async def main(): ...

    app.run(main, loop_factory=new_loop)

    assert [b"hello\n"] == answers


@contextlib.contextmanager
def told(seen, name):
    """Say that this block was cancelled."""
    try:
        yield
    except asyncio.CancelledError:
        seen.append(f"{name} cancelled")
        raise


async def wait_forever(seen, name):
    with told(seen, name):
        await asyncio.sleep(60)


def test_what_is_left_of_a_resource_is_cancelled_with_it(app, new_loop):
    """A task that a resource does not end is cancelled after its second half, and before the next resource is closed."""
    seen = []

    @app.resource
    async def outer():
        yield
        seen.append("outer closed")

    @app.resource
    async def inner():
        task = asyncio.create_task(wait_forever(seen, "heartbeat"))
        yield task
        seen.append("inner closed")

    async def main():
        await wait_forever(seen, "main")

    app.on_startup(lambda: asyncio.get_running_loop().call_later(0.01, app.stop))
    app.run(main, loop_factory=new_loop)

    assert ["main cancelled", "inner closed", "heartbeat cancelled", "outer closed"] == seen


def test_what_is_left_of_an_acquisition_is_cancelled_with_it(app, new_loop):
    """So it is with a context manager that was entered while the app ran."""
    seen = []

    @contextlib.asynccontextmanager
    async def connection():
        task = asyncio.create_task(wait_forever(seen, "heartbeat"))
        yield task
        seen.append("closed")

    @app.on_shutdown
    async def last():
        seen.append("last")

    async def main():
        await app.enter_async_context(connection())
        await asyncio.sleep(0)

    app.run(main, loop_factory=new_loop)

    assert ["closed", "heartbeat cancelled", "last"] == seen


def test_what_is_left_of_a_startup_hook_is_cancelled_when_all_cleanup_is_over(app, new_loop):
    """Which cleanup would end a task of a startup hook is not known, so each of them may still need it."""
    seen, tasks = [], []

    @app.on_startup
    async def start():
        tasks.append(asyncio.create_task(wait_forever(seen, "heartbeat")))

    @app.on_shutdown
    async def first():
        await asyncio.sleep(0.01)
        seen.append("first")

    @app.on_shutdown
    async def second():
        await asyncio.sleep(0.01)
        seen.append("second")

    async def main():
        await asyncio.sleep(0)

    app.run(main, loop_factory=new_loop)

    assert ["second", "first", "heartbeat cancelled"] == seen


def test_work_that_a_startup_hook_starts_is_cancelled_before_the_cleanup(app, new_loop):
    """`create_task` starts work wherever it is called, and what that starts is work, too."""
    seen, tasks = [], []

    async def consume():
        tasks.append(asyncio.create_task(wait_forever(seen, "child")))
        await wait_forever(seen, "consumer")

    @app.on_startup
    async def start():
        app.create_task(consume())

    @app.resource
    async def pool():
        app.create_task(wait_forever(seen, "worker"))
        yield
        seen.append("pool closed")

    async def main():
        await asyncio.sleep(0.01)

    app.run(main, loop_factory=new_loop)

    assert ["child cancelled", "consumer cancelled", "worker cancelled"] == sorted(seen[:3])
    assert ["pool closed"] == seen[3:]


def test_a_plain_task_of_main_is_cancelled_before_the_cleanup(app, new_loop):
    """What main and the background tasks start is work, although nobody supervises it."""
    seen, tasks = [], []

    @app.background
    async def consume():
        tasks.append(asyncio.create_task(wait_forever(seen, "child of a background task")))

    @app.on_shutdown
    async def clean_up():
        seen.append("cleanup")

    async def main():
        tasks.append(asyncio.create_task(wait_forever(seen, "child of main")))
        await asyncio.sleep(0.01)

    app.run(main, loop_factory=new_loop)

    assert ["child of a background task cancelled", "child of main cancelled"] == sorted(seen[:2])
    assert ["cleanup"] == seen[2:]


def test_main_and_background_tasks_are_work_although_a_startup_ran_before(app, new_loop):
    """What runs after the startup inherits nothing of it: main is cancelled before what it uses is closed."""
    seen = []

    @app.resource
    async def pool():
        yield
        seen.append("pool closed")

    @app.background
    async def consume():
        await wait_forever(seen, "consumer")

    async def main():
        asyncio.get_running_loop().call_later(0.01, app.stop)
        await wait_forever(seen, "main")

    app.run(main, loop_factory=new_loop)

    assert ["main cancelled", "consumer cancelled", "pool closed"] == seen


def test_what_a_cleanup_starts_to_use_a_client_is_not_the_clients(app, new_loop):
    """A resource that is closed does not keep the tasks of another one that is still open."""
    first, second = Client(), Client()

    @app.resource
    async def one():
        async with first:
            yield

    @app.resource
    async def two():
        async with second:
            yield
        first.put_all()

    async def main():
        second.put_all()

    app.run(main, loop_factory=new_loop)

    assert (ITEMS, ITEMS) == (first.sent, second.sent)


def test_a_client_that_hangs_costs_its_turn_only(new_loop):
    """A task of a resource that does not react is abandoned with the resource, and the next one has its time."""
    app, seen, go = App("test", grace=1.5), [], []

    @app.resource
    async def outer():
        yield
        seen.append(app.remaining() > 0.2)

    @app.resource
    async def inner():
        async def refuse():
            while not go:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

        task = asyncio.create_task(refuse())
        yield task

    async def main():
        await asyncio.sleep(0)

    with pytest.raises(HookTimeout, match="inner timed out"):
        app.run(main, loop_factory=new_loop)

    go.append(True)
    assert [True] == seen
    assert app.report.took < 1.5 + 0.5


def test_the_loops_create_task_is_given_back(app):
    """A loop that outlives the run has its own method again: 3.11 needs a patched one to know whose a task is."""
    loop = asyncio.new_event_loop()
    before = loop.create_task
    try:
        asyncio.set_event_loop(loop)

        async def main():
            async with app:
                pass

        loop.run_until_complete(main())
        assert before == loop.create_task
    finally:
        asyncio.set_event_loop(None)
        loop.close()
