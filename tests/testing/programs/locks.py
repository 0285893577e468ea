"""What a cancelled task does not give back."""

from __future__ import annotations

import asyncio
import contextlib

from testing.programs.bug import SIGNALS, collector, nothing_broken, nothing_open
from testing.programs.world import Connection, World

from graceful import App
from graceful.testing import Fault, Result

BUGS, bug = collector()


def hooks_ended(result: Result) -> str:
    """Each hook of the cleanup came to its end by itself."""
    bad = [each for each in result.outcomes if each.stage == "cleanup" and each.verdict not in ("ok", "skipped")]
    return "; ".join(f"{each.hook.rpartition('.')[2]} {each.verdict}" for each in bad)


@bug(hooks_ended, says="flush timed out")
def lock_held_by_cancelled_task(mended: bool):
    """The task is cancelled between `acquire` and `release`, and the hook waits for the lock."""
    app, world, lock = App("orders", grace=3), World(), asyncio.Lock()

    @app.on_shutdown
    async def flush() -> None:
        async with lock:
            await world.write(0)

    async def main() -> None:
        for number in (1, 2):
            await lock.acquire()
            try:
                await world.write(number)
            except BaseException:
                if mended:
                    lock.release()
                raise
            lock.release()

    return app, main, world


@bug(hooks_ended, says="wait_until_idle timed out")
def semaphore_never_released(mended: bool):
    """Each cancelled request keeps a permit, and the hook that takes all of them waits for ever."""
    app, world, permits = App("orders", grace=3), World(), asyncio.Semaphore(2)

    @app.on_shutdown
    async def wait_until_idle() -> None:
        await permits.acquire()
        await permits.acquire()

    async def request(number: int) -> None:
        if mended:
            async with permits:
                await world.write(number)
        else:
            await permits.acquire()
            await world.write(number)
            permits.release()

    async def main() -> None:
        await asyncio.gather(request(1), request(2), request(3))

    return app, main, world


@bug(nothing_open, says="never closed: connection")
def acquired_between_two_awaits(mended: bool):
    """The `try` begins one await after the connection was opened."""
    app, world = App("orders", grace=3), World()

    async def main() -> None:
        connection = Connection(world)
        if not mended:
            await connection.send("hello")
        try:
            if mended:
                await connection.send("hello")
            await connection.send("order")
        finally:
            connection.close_now()

    return app, main, world


@bug(nothing_open, says="never closed: connection", fell="waited in `acquire`", faults=[Fault.MAIN_CANCELLED])
def timeout_loses_a_result(mended: bool):
    """The connection is handed to a waiter that was cancelled in the same pass of the loop."""
    app, world = App("orders", grace=3), World()

    async def acquire() -> Connection:
        waiter: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, lambda: waiter.done() or waiter.set_result(Connection(world)))
        try:
            async with asyncio.timeout(1):  # so does `wait_for`, from Python 3.12 on
                return await waiter
        except asyncio.CancelledError:
            if mended and waiter.done() and not waiter.cancelled():
                waiter.result().close_now()
            raise

    async def main() -> None:
        connection = await acquire()
        try:
            await connection.send("order")
        finally:
            connection.close_now()

    return app, main, world


@bug(nothing_open, says="never closed: file")
def aexit_that_is_cancelled(mended: bool):
    """A signal falls into the ordinary end of an `async with`, and the second half of `__aexit__` does not run."""
    app, world = App("orders", grace=3), World()

    class Log:
        async def __aenter__(self) -> None:
            self.file = Connection(world, "file")

        async def __aexit__(self, *_: object) -> None:
            try:
                await self.file.send("last line")
            except BaseException:
                if mended:
                    self.file.close_now()
                raise
            self.file.close_now()

    async def main() -> None:
        async with Log():
            pass

    return app, main, world


@bug(nothing_open, says="never closed: transaction")
def rollback_in_except_exception(mended: bool):
    """`except Exception` does not see a cancellation: there is neither a commit nor a rollback."""
    app, world = App("orders", grace=3), World()

    async def main() -> None:
        transaction = Connection(world, "transaction")
        try:
            await world.write(1)
            transaction.close_now()
        except BaseException if mended else Exception:
            transaction.close_now()
            raise

    return app, main, world


@bug(nothing_open, says="never closed: connection", fell="and SIGINT at the", faults=[Fault.SIGINT], pairs=300)
def goodbye_cut_off_by_second_ctrl_c(mended: bool):
    """The task says goodbye when it is cancelled. After a second Ctrl-C nothing is waited for any more."""
    app, world = App("orders"), World()

    async def say_goodbye(connection: Connection) -> None:
        await asyncio.sleep(1.2)
        await connection.close()

    async def work(connection: Connection) -> None:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            if not mended:
                await say_goodbye(connection)
            raise
        if not mended:
            connection.close_now()

    async def main() -> None:
        connection = Connection(world)
        if mended:
            app.push_async_callback(say_goodbye, connection)  # the cleanup has two seconds
        await work(connection)

    return app, main, world


@bug(nothing_broken, says="release: the pool is closed", faults=[*SIGNALS, Fault.MAIN_CANCELLED])
def generator_closed_too_late(mended: bool):
    """The generator's `finally` runs when it is collected, and the pool is closed before."""
    app, world = App("orders", grace=3), World()

    async def rows(pool: Connection):
        try:
            for number in range(3):
                yield number
        finally:
            await pool.send("release")

    async def read(pool: Connection) -> None:
        cursor = rows(pool)
        async with contextlib.aclosing(cursor) if mended else contextlib.nullcontext():
            async for number in cursor:
                await world.write(number)

    async def main() -> None:
        pool = Connection(world, "pool")
        try:
            await read(pool)
        finally:
            pool.close_now()

    return app, main, world
