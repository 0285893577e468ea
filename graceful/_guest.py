"""
A guest: an app inside a loop that somebody else owns (uvicorn, pytest, a notebook, `asyncio.run`).

The block of `async with app:` takes main's place. A task stands in for it: when the shutdown cancels that task, the
block is cancelled, and the task ends when the block has been left. Nothing else differs, except that only tasks created
through the app are stopped, and that signals are the owner's business.

With one exception. `asyncio.run` answers the second Ctrl-C with a KeyboardInterrupt in whatever runs, which would be a
hook, or this package; and it closes the loop without waiting for anybody but the tasks it knows. So from the moment the
app stops until it has stopped, SIGINT is taken if it would do that (and SIGALRM, if it is nobody's, to unblock what
blocks); the owner is told afterwards. And if the block's own
task is gone before it has left the block, the one that stands in for it stays until the cleanup is over.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections.abc import Sequence
from typing import Any

from graceful._alarm import Alarm
from graceful._console import tell
from graceful._errors import Interrupted, StateError
from graceful._hook import Hook
from graceful._life import LifeTask
from graceful._machine import Sighting, State
from graceful._model import Cause, Kind, Settings
from graceful._pace import resolve
from graceful._runner import Runner
from graceful._signals import SignalHandlers, ask_owner, hold, in_main_thread, raises_interrupt

__all__ = ["Guest"]


class Guest(Runner):
    """A run of an app inside a block."""

    def __init__(self, hooks: Sequence[Hook], settings: Settings) -> None:
        super().__init__(hooks, settings, owns_loop=False)
        loop = asyncio.get_running_loop()
        body = asyncio.current_task()
        assert body is not None
        self._body = body
        self._cancelled = False
        self._left = asyncio.Event()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._task: LifeTask | None = None
        self._interrupts: SignalHandlers | None = None
        self._interrupted = False

    async def enter(self) -> None:
        """Start; raises what a failed start raised, after what was started was cleaned up."""
        loop = asyncio.get_running_loop()
        task = self._task = LifeTask(self._stay(loop), loop, self._stop)
        task.add_done_callback(lambda _: resolve(self._ready, None))
        task.add_done_callback(self._give_back)
        self._body.add_done_callback(self._abandoned)
        cancelled = await self._outlast(self._ready)
        if cancelled is not None or task.done():
            self._left.set()
            await self._outlast(task)
            self._body.remove_done_callback(self._abandoned)
            self._pass_on()
            task.result()
            raised = self.conclude()
            raise cancelled or raised or StateError("the app was told to stop before the block could begin")

    async def leave(self, error: BaseException | None) -> bool:
        """Shut down; raises what there is to raise besides `error`. Returns whether `error` is dealt with."""
        assert self._task is not None
        ours = self._cancelled and isinstance(error, asyncio.CancelledError)
        release = hold({signal.SIGINT})
        try:
            self._left.set()
            if error is None:
                self.inbox.post(Sighting.ENDED, Cause(Kind.COMPLETED, time.monotonic()))
            elif isinstance(error, asyncio.CancelledError):
                self.inbox.stop(error)
            else:
                self.life.failures.fail(error, "the block failed", task=self.life.tasks.main)
        finally:
            release()
        cancelled = await self._outlast(self._task)
        self._body.remove_done_callback(self._abandoned)
        self._task.result()
        raised = self.conclude()
        if raised is None:
            self._pass_on()
        if self._cancelled:
            ours = self._body.uncancel() == 0 and ours
        if raised is error is not None or (isinstance(raised, Interrupted) and isinstance(error, KeyboardInterrupt)):
            return False  # it leaves the block as it is
        if raised is not None:
            _raise(raised)
        if cancelled is not None:
            raise cancelled
        return ours or (error is not None and not isinstance(error, asyncio.CancelledError))

    async def end_owner(self) -> None:
        """
        When the app is told to stop from inside: have the server stop that owns the process.

        It answers what it has accepted, and then leaves the block; so that is not cancelled as long as there is time.
        """
        assert self.life.tasks.main is not None
        await self.life.sleep(math.inf)
        if self._left.is_set() or not ask_owner():
            return
        self.life.told.add(self.life.tasks.blocks.stands_for[self._body])
        name, cause = self._settings.name, self.inbox.cause
        if cause is not None and cause.kind is Kind.EXCEPTION:  # whose traceback the server may keep to itself
            tell(logging.ERROR, f"{name} failed: {cause}; the server is asked to stop", error=cause.exception)

    async def _outlast(self, future: asyncio.Future[Any]) -> asyncio.CancelledError | None:
        """Wait to the end, however often the waiting task is cancelled: the grace is the limit."""
        cancelled = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
                self._stop(error)
        return cancelled

    async def _stay(self, loop: asyncio.AbstractEventLoop) -> None:
        crashes = self.watch(loop)
        self.inbox.loop = loop
        try:
            await self.life.live(self._open)
            self.say_the_rest()
        finally:
            self.inbox.enter(State.OVER)
            crashes.detach(over=False)

    def _open(self) -> asyncio.Future[Any]:
        resolve(self._ready, None)
        task = self.life.tasks.create(self._stand_in(), "", "block")
        self.life.tasks.blocks.stands_for[self._body] = task
        return task

    async def _stand_in(self) -> None:
        try:
            await self._left.wait()
        except asyncio.CancelledError:
            self._stop()  # the block's task may never wake again: a KeyboardInterrupt can hit asyncio itself
            if not self._left.is_set() and not self._body.done():
                self._cancelled = True
                self._body.cancel()
                await self._left.wait()
        if self._left.is_set() and self._body.done() and self._task is not None:
            task = asyncio.current_task()
            assert task is not None
            self.life.tasks.release(task)
            await self._outlast(self._task)

    def _abandoned(self, body: asyncio.Task[Any]) -> None:
        """
        The task that entered the block is gone. If it ended well, another one leaves (a fixture of pytest does that);
        else nobody will: a KeyboardInterrupt hit the way out.
        """
        if body.cancelled() or body.exception() is not None:
            self._left.set()
            self._stop()

    def _stop(self, because: BaseException | None = None) -> None:
        """Begin the shutdown; a second Ctrl-C waits meanwhile until SIGINT is taken, or it would hit half a decision."""
        release = hold({signal.SIGINT})
        try:
            self.inbox.stop(because)
        finally:
            release()

    # --- SIGINT, while the app stops -------------------------------------------------------------------------------

    def _bound(self, cause: Cause) -> None:
        if self._interrupts is None and in_main_thread() and raises_interrupt(signal.getsignal(signal.SIGINT)):
            self._interrupts = SignalHandlers({signal.SIGINT}, (), self._sighted, None)
            self._interrupts.__enter__()
        self._take_alarm_if_free()
        super()._bound(cause)

    def _guard(self, begins: bool) -> None:
        self._take_alarm_if_free()
        super()._guard(begins)

    def _take_alarm_if_free(self) -> None:
        """A hook that blocks has nobody else who would unblock it."""
        free = in_main_thread() and Alarm.available() and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        if free and self._alarm is None:
            self._take_alarm()

    def _sighted(self, number: int) -> None:
        self._interrupted = True
        super()._sighted(number)

    def _give_back(self, _: object) -> None:
        if self._interrupts is not None:
            self._interrupts.__exit__()
        if self._alarm is not None:
            self._alarm.disarm()

    def _pass_on(self) -> None:
        """In the block's task: the owner hears now of the Ctrl-C that came meanwhile."""
        if self._interrupted:
            signal.raise_signal(signal.SIGINT)


def _raise(raised: BaseException) -> None:
    """While another exception is on its way, which would take the place of what is chained to this one."""
    if isinstance(raised, Interrupted) and raised.signal == signal.SIGINT:
        raised = KeyboardInterrupt()  # nobody here answers for a subclass: before 3.14 the status would be 1
    chained = raised.__context__
    try:
        raise raised
    finally:
        raised.__context__ = chained
