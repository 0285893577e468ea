"""anyio: its groups, scopes and streams under load, and around the block of an app."""

from __future__ import annotations

import pytest
from support.apps import failing
from support.load import ON_PURPOSE
from support.programs import LOOPS

from graceful import App

# --- under load ------------------------------------------------------------------------------------------------------


ANYIO = """
import anyio
from anyio import from_thread, to_thread
from anyio.abc import TaskStatus

async def fails(after=0.0):
    await anyio.sleep(after)
    raise ValueError("of a child")

async def fails_when_cancelled():
    try:
        await anyio.sleep_forever()
    finally:
        raise KeyError("of a child that is cancelled")

async def a_group_whose_children_fail():
    try:
        async with anyio.create_task_group() as group:
            for after in (0, 0, 0.001):
                group.start_soon(fails, after)
            group.start_soon(fails_when_cancelled)
            await anyio.sleep_forever()
    except* ValueError as errors:
        seen["ValueError"] += len(errors.exceptions)
    except* KeyError as errors:
        seen["KeyError"] += len(errors.exceptions)

async def groups_in_groups():
    try:
        async with anyio.create_task_group() as outer:
            async with anyio.create_task_group() as inner:
                inner.start_soon(fails)
                outer.start_soon(anyio.sleep_forever)
                outer.start_soon(fails, 0.001)
    except* ValueError:
        seen["nested"] += 1

async def scopes():
    with anyio.move_on_after(0.002):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.005)
            await anyio.sleep_forever()
    try:
        with anyio.fail_after(0.002):
            await anyio.sleep_forever()
    except TimeoutError:
        seen["TimeoutError"] += 1
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            scope.cancel()
    seen["cancelled"] += scope.cancelled_caught

async def starts_that_fail():
    async def before(*, task_status):
        await fails(0.001)
    async def after(*, task_status):
        task_status.started("up")
        await fails(0.001)
    async def never(*, task_status):
        await anyio.sleep(0.001)
    async with anyio.create_task_group() as group:
        for service, error in ((before, ValueError), (never, RuntimeError)):
            try:
                await group.start(service)
            except error:
                seen["not started"] += 1
    try:
        async with anyio.create_task_group() as group:
            seen["started"] += await group.start(after) == "up"
            await anyio.sleep_forever()
    except* ValueError:
        pass
    with anyio.move_on_after(0.002):
        async with anyio.create_task_group() as group:
            async def hangs(*, task_status):
                await anyio.sleep_forever()
            await group.start(hangs)

async def threads():
    def raises():
        raise ValueError("in a thread")
    def raises_late():
        time.sleep(0.005)
        raise ValueError("in a thread that was given up")
    def asks():
        from_thread.run(fails)
    for job in (raises, asks):
        try:
            await to_thread.run_sync(job)
        except ValueError:
            seen["thread"] += 1
    with contextlib.suppress(ValueError), anyio.move_on_after(0.002):  # it fails after that, or before
        await to_thread.run_sync(raises_late, abandon_on_cancel=True)
    try:
        async with anyio.create_task_group() as group:
            for job in (raises, raises, raises_late):
                group.start_soon(to_thread.run_sync, job)
    except* ValueError:
        seen["threads"] += 1

async def portals():
    async with from_thread.BlockingPortal() as portal:
        def work():
            nobody_looks = portal.start_task_soon(fails)
            try:
                portal.call(fails)
            except ValueError:
                seen["portal"] += 1
        await to_thread.run_sync(work)

async def memory_streams():
    sender, receiver = anyio.create_memory_object_stream(1)
    async def consume(stream):
        async with stream:
            async for item in stream:
                if item == 3:
                    raise ValueError("of a consumer")
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(consume, receiver)
            async with sender:
                for item in range(10):
                    await sender.send(item)
    except* (ValueError, anyio.BrokenResourceError):
        seen["consumer"] += 1
    sender, receiver = anyio.create_memory_object_stream(0)
    with sender, receiver:
        with anyio.move_on_after(0.001):
            await sender.send("nobody receives")
        try:
            receiver.receive_nowait()
        except anyio.WouldBlock:
            seen["WouldBlock"] += 1

async def sockets():
    async def serve(stream):
        async with stream:
            while True:
                await stream.send(await stream.receive())
    async def serve_all(listener):
        async def one(stream):
            try:
                await serve(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
                seen[type(error).__name__] += 1
        await listener.serve(one)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(serve_all, listener)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"hello")
            seen["echo"] += await stream.receive() == b"hello"
        stream = await anyio.connect_tcp("127.0.0.1", port)
        await stream.send(b"hello")
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(stream)
        await anyio.sleep(0.005)
        group.cancel_scope.cancel()
    try:
        await anyio.connect_tcp("localhost", port)
    except OSError:
        seen["refused"] += 1

async def main():
    async with under_load(
        a_group_whose_children_fail, groups_in_groups, scopes, starts_that_fail, threads, portals, memory_streams, sockets
    ):
        pass
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_groups_scopes_and_streams_are_no_failure(under_load, loop):
    """What fails in anyio's groups, starts, threads, portals and streams, and is caught there, is no failure."""
    pytest.importorskip("anyio")
    errors = ["BrokenResourceError", "EndOfStream", "KeyError", "TimeoutError", "ValueError", "WouldBlock"]
    others = ["cancelled", "consumer", "echo", "nested", "not started", "portal", "refused", "started", "thread"]
    assert ([ON_PURPOSE, "turns True", "never seen:"], "", 0) == under_load(ANYIO, loop, *errors, *others, "threads")


# --- around a block, and in a resource -------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancel_scope_around_a_block(loop):
    """anyio cancels again and again until the block is left: the hooks run to their end all the same, once."""
    anyio = pytest.importorskip("anyio")
    app = App(grace=3)
    seen = []

    @app.resource
    async def pool():
        yield
        await anyio.sleep(0.01)
        seen.append("pool closed")

    @app.on_shutdown
    async def close():
        await anyio.sleep(0.01)
        seen.append("closed")

    async def main():
        with anyio.move_on_after(0.01) as scope:
            async with app:
                await anyio.sleep_forever()
        seen.append(scope.cancelled_caught)

    anyio.run(main, backend_options={"use_uvloop": loop == "uvloop"})
    assert ["closed", "pool closed", True] == seen


def test_a_task_group_as_a_resource():
    """anyio's group around the yield of a resource is left by the task that entered it; its children are cancelled."""
    anyio = pytest.importorskip("anyio")
    app = App(grace=3)
    seen = []

    async def child():
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("child cancelled")

    @app.resource
    async def group():
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            yield
            group.cancel_scope.cancel()
        seen.append("group left")

    async def main():
        async with app:
            await anyio.sleep(0.01)

    anyio.run(main)
    app.run(anyio.sleep(0.01))
    assert ["child cancelled", "group left"] * 2 == seen


def test_a_failing_task_of_the_app_in_anyios_group():
    """A failure leaves the block as an exception of that child, so that the group cancels the others and raises it."""
    anyio = pytest.importorskip("anyio")
    seen = []
    failure = ValueError("of the app's task")

    async def serve():
        async with failing(failure) as app:
            app.go.set()
            await anyio.sleep_forever()

    async def other():
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cancelled")

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            group.start_soon(serve)

    with pytest.raises(ExceptionGroup) as caught:
        anyio.run(main)
    assert ((failure,), ["cancelled"]) == (caught.value.exceptions, seen)
