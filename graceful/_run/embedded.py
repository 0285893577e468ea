"""
`async with app:` and `App.lifespan`: a run inside a loop that somebody else owns.

That is uvicorn, pytest, a notebook or `asyncio.run`. The block takes the place of main. A task stands in for it: when the shutdown cancels that task, the block is cancelled, and
the task ends when the block has been left. Nothing else differs, except that only tasks created through the app are
cancelled, and that signals are the owner's business, apart from what `block_guard` says.

If the task that entered the block is gone, another one may leave it, as with a fixture of pytest. If nobody does, the app
stops when the owner of the loop closes it, which is held open until the cleanup is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from typing_extensions import override

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.errors import Interrupted, StateError
from graceful._core.frames import show_instead
from graceful._core.settings import Settings
from graceful._core.state import State
from graceful._core.types import Kind, describe
from graceful._hooks.hook import Hook
from graceful._loop.hidden import hide_from_all_tasks
from graceful._loop.patch import patch_method
from graceful._loop.waiting import resolve
from graceful._observe.log import log
from graceful._observe.observers import Observer
from graceful._process.handlers import block_signals
from graceful._run.block_guard import BlockGuard
from graceful._run.hypercorn import hear_hypercorn
from graceful._run.lifecycle import LifecycleTask
from graceful._run.run import LoopParts, Run

__all__ = ["EmbeddedRun"]

#: Seconds, or a quarter of the grace, in which a block may still be left while its loop is closed.
_LEAVING = 1.0


class EmbeddedRun(Run):
    """
    A run inside a block. Made in the running loop, by the task that enters the block.

    Args:
        outer: The deadline of the app in one of whose tasks that is: this one is a part of it; `None`: there is none.
        on_left_by_nobody: Called when the run is over, if nobody has left the block.
    """

    guard: BlockGuard
    guard_type = BlockGuard

    def __init__(
        self,
        is_part: Callable[[], bool],
        outer: Deadline | None,
        on_left_by_nobody: Callable[[Run], None],
        hooks: Sequence[Hook],
        settings: Settings,
        observers: list[Observer],
    ) -> None:
        super().__init__(hooks, settings, observers, owns_loop=False)
        self._is_part = is_part
        self._outer = outer
        self._on_left_by_nobody = on_left_by_nobody
        body = asyncio.current_task()
        assert body is not None
        self._body = body
        self._cancelled = False
        self._left = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: LifecycleTask | None = None
        self._has_main = True
        self._finished = False
        self._body_failed = self._loop_closes = False
        self._held_open: AsyncGenerator[None] | None = None

    async def enter(self) -> None:
        """Start; raises what a failed start raised, after what was started was cleaned up."""
        loop = asyncio.get_running_loop()
        parts = self.enter_loop(loop)
        self.guard.take()
        task = self._task = LifecycleTask(self._live(parts), loop, self._stop)
        task.add_done_callback(lambda _: resolve(self._ready, None))
        task.add_done_callback(lambda _: self.guard.give_back())
        self._body.add_done_callback(self._abandoned)
        self._held_open = self._hold_loop_open()
        await anext(self._held_open)
        cancelled = await self._wait_uncancelled(self._ready)
        if cancelled is not None or task.done():
            self._left.set()
            await self._wait_over(task)
            await self._held_open.aclose()
            self._held_open = None
            self._body.remove_done_callback(self._abandoned)
            self.guard.pass_on()
            task.result()
            otherwise: BaseException = StateError("the app was told to stop before the block could begin")
            raised = self.conclude(otherwise if cancelled is None else cancelled)
            raise next(each for each in (raised, cancelled, otherwise) if each is not None)

    async def leave(self, error: BaseException | None) -> bool:
        """Shut down; raises what there is to raise besides `error`. Returns whether `error` is dealt with."""
        assert self._task is not None
        ours = self._cancelled and isinstance(error, asyncio.CancelledError)
        self._begin_to_leave(error)
        cancelled = await self._wait_over(self._task)
        held_open, self._held_open = self._held_open, None  # or the owner of the loop would close it once more
        if held_open is not None and not self._loop_closes:
            await held_open.aclose()
        self._body.remove_done_callback(self._abandoned)
        self._task.result()
        raised = self.conclude()
        if raised is None:
            self.guard.pass_on()
        if self._cancelled:
            ours = self._body.uncancel() == 0 and ours
        if raised is error is not None or (isinstance(raised, Interrupted) and isinstance(error, KeyboardInterrupt)):
            return False  # it leaves the block as it is
        if raised is not None:
            _raise(raised)
        if cancelled is not None:
            raise cancelled
        return ours or (error is not None and not isinstance(error, (asyncio.CancelledError, GeneratorExit)))

    def _begin_to_leave(self, error: BaseException | None) -> None:
        release = block_signals({signal.SIGINT})
        try:
            self._left.set()
            self._bound()
            if error is None or isinstance(error, GeneratorExit):  # the block is in a generator, which is closed
                self._finished = True
                self.dispatcher.main_ended(clock.now())
            elif isinstance(error, asyncio.CancelledError):
                self.dispatcher.stop(error, by_ctrl_c=self.guard.ctrl_c_was_pressed())
            else:
                self.failures.main_fails(error)
                self.intake.fail(error, "the block failed", task=self._stand_in_task())
        finally:
            release()

    @override
    def signal_to_pass_on(self) -> signal.Signals | None:
        """Also one that came while the block was left: the program goes on after it, and would have died by the signal."""
        first = self.dispatcher.first_signal
        number = None if first is None else first.signal
        return number if number is not None and self.guard.is_fatal(number) else super().signal_to_pass_on()

    @override
    def main_finished(self) -> bool:
        return self._finished

    def watch_owner(self) -> None:
        """
        When the app is told to stop from inside, have the server stop that owns the process.

        It answers what it has accepted, and then leaves the block; so the block is not cancelled as long as there is time.
        """
        parts = self.parts
        assert parts is not None
        hide_from_all_tasks(parts.tasks.create(self._end_owner(parts), "", "end owner"))

    async def _end_owner(self, parts: LoopParts) -> None:
        hear_hypercorn(asyncio.get_running_loop(), self.guard.announce)
        task = asyncio.current_task()
        assert task is not None
        parts.notice.expect_end_of(task)  # so that the drain does not end before it has asked the server
        await parts.notice.wait_begun()
        if self._left.is_set() or not self.guard.signal_owner():
            return
        parts.notice.expect_end_of(self._body)
        name, cause = self.settings.name, self.dispatcher.cause
        if cause is not None and cause.kind is Kind.EXCEPTION:  # the server may not show its traceback
            log(logging.ERROR, f"{name} failed: {cause}; asking the server to stop", error=cause.exception)

    async def _wait_over(self, task: LifecycleTask) -> asyncio.CancelledError | None:
        """Wait until the app has stopped, and the signals until then are heard; returns the last cancellation meanwhile."""
        cancelled = await self._wait_uncancelled(task)
        return await self.guard.hear_the_last() or cancelled

    async def _wait_uncancelled(self, future: asyncio.Future[Any]) -> asyncio.CancelledError | None:
        """Wait to the end, however often the waiting task is cancelled: the grace is the limit."""
        cancelled = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
                self._stop(error)
        return cancelled

    def _bound(self) -> None:
        """If the app that this one is a part of shuts down, it waits for work half of its time, and so for this one."""
        if self._outer is not None and self._outer.stopping:
            self.deadline.bound(self._outer.half_of_rest())
            if (parts := self.parts) is not None:
                parts.waiting.reconsider()

    async def _hold_loop_open(self) -> AsyncGenerator[None]:
        """
        Have the owner of the loop wait for the cleanup, if the block's own task is gone; nobody leaves the block any more.

        The last thing that `asyncio.run` waits for are the loop's async generators (`loop.shutdown_asyncgens`). A task would
        do as well, but code in the block that gathers or cancels all tasks would find it.
        """
        try:
            yield
        finally:
            self._loop_closes = True
            # Otherwise it is the block that calls `shutdown_asyncgens`, and the cleanup waits for the block.
            if self._task is not None and (self._left.is_set() or self._body.done()):
                with contextlib.suppress(TimeoutError):  # the block may be in another generator that is closed now
                    await asyncio.wait_for(self._left.wait(), min(_LEAVING, self.settings.grace / 4))
                if self._left.is_set():
                    await self._wait_uncancelled(self._task)
                else:
                    await self._stop_in_place_of_block(self._task)

    async def _stop_in_place_of_block(self, task: LifecycleTask) -> None:
        name = self.settings.name
        log(logging.WARNING, f"nobody has left the block of {name}: it stops now, because its loop is being closed")
        self._left.set()
        self._stop()
        await self._wait_over(task)
        raised = self.conclude()
        self._on_left_by_nobody(self)
        if raised is None:
            self.guard.pass_on()
        elif isinstance(raised, Exception):
            log(logging.ERROR, f"{name} failed: {describe(raised)}", error=raised)  # there is nobody to raise it to
        else:
            _raise(raised)  # `sys.exit()` or a signal, which ends the process

    async def _live(self, parts: LoopParts) -> None:
        unpatch = patch_method(asyncio.get_running_loop(), "run_in_executor", self._note_jobs)
        try:
            with self.told_to_manager(asyncio.get_running_loop()), parts.view.told(self.observers):
                await parts.lifecycle.live(lambda: self._open(parts))
            self.report_the_rest()
        finally:
            unpatch()
            self.dispatcher.enter(State.OVER)
            parts.detach(loop_ends=False)

    def _note_jobs(self, run_in_executor: Callable[..., Any]) -> Callable[..., Any]:
        """
        Jobs of what runs in the app are waited for before the cleanup; other code's are its own business.

        A supervised task, a hook or what something acquired has started ends with the app. The body and its plain tasks may
        outlive it, so their jobs are waited for only if they are cancelled.
        """
        loop = asyncio.get_running_loop()

        def run(executor: Any, func: Callable[..., Any], *args: Any) -> Any:
            parts = self.parts
            if parts is None or asyncio._get_running_loop() is not loop or not self._is_part():
                return run_in_executor(executor, func, *args)
            ends_with_app = asyncio.current_task() in parts.tasks or self.active.current() is not None
            if executor is None:
                return parts.jobs.submit_to_default(run_in_executor, func, *args, outlives=not ends_with_app)
            return parts.jobs.submit(run_in_executor, executor, func, *args, outlives=not ends_with_app)

        return run

    # --- the task that stands in for the block ---------------------------------------------------------------------

    def _open(self, parts: LoopParts) -> None:
        resolve(self._ready, None)
        task = parts.tasks.create_stand_in(self._stand_in(parts), "block")
        parts.blocks.stand_in_for(self._body, task)
        show_instead(self._body, of=task)

    def _stand_in_task(self) -> asyncio.Task[Any] | None:
        return None if (parts := self.parts) is None else parts.tasks.main

    async def _stand_in(self, parts: LoopParts) -> None:
        try:
            await self._left.wait()
        except asyncio.CancelledError:
            self._stop()  # the block's task may never wake again: a KeyboardInterrupt can hit asyncio itself
            if not self._left.is_set() and not self._body.done():
                self._cancelled = True
                self._body.cancel()
                await self._left.wait()
        if self._body_failed and self._task is not None:
            task = asyncio.current_task()
            assert task is not None
            parts.tasks.release(task)
            await self._wait_uncancelled(self._task)

    def _abandoned(self, body: asyncio.Task[Any]) -> None:
        """
        The task that entered the block is gone. If it ended without an error, another one leaves the block (a pytest
        fixture does that); else none will: a KeyboardInterrupt hit the way out.
        """
        if body.cancelled() or body.exception() is not None:
            self._body_failed = True
            self._left.set()
            self._stop()

    def _stop(self, because: BaseException | None = None) -> None:
        """Begin the shutdown. A second Ctrl-C is held back until SIGINT is taken, or it would hit a half-made decision."""
        release = block_signals({signal.SIGINT})
        try:
            self._bound()
            self.dispatcher.stop(because, by_ctrl_c=self.guard.ctrl_c_was_pressed())
        finally:
            release()


def _raise(raised: BaseException) -> None:
    """While another exception is being handled, which would take the place of what is chained to this one."""
    if isinstance(raised, Interrupted) and raised.signal == signal.SIGINT:
        raised = KeyboardInterrupt()  # nothing here handles a subclass: before 3.14 the status would be 1
    chained = raised.__context__
    try:
        raise raised
    finally:
        raised.__context__ = chained
