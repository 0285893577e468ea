"""`App.run`: a run that owns the loop, and in the main thread the signals and the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from types import CoroutineType
from typing import Any

from graceful._core import clock
from graceful._core.asyncio_private import restore_running_loop
from graceful._core.marks import calls_user_code, calls_without_frame, stack_starts_here
from graceful._core.settings import Settings
from graceful._core.state import State
from graceful._core.types import Cause, Kind
from graceful._hooks.hook import Hook
from graceful._loop.executor import DefaultExecutor
from graceful._observe.log import log
from graceful._observe.observers import Observer
from graceful._process.exit import ProcessEnded, flush_stdio
from graceful._process.unblock import Unblocked
from graceful._run.finish import finish
from graceful._run.lifecycle import LifecycleTask
from graceful._run.run import LoopParts, Run

__all__ = ["Runner"]

Main = Coroutine[Any, Any, Any] | None


class Runner(Run):
    """A run that owns the loop."""

    def __init__(self, hooks: Sequence[Hook], settings: Settings, observers: list[Observer]) -> None:
        super().__init__(hooks, settings, observers, owns_loop=True)

    def run(
        self,
        main: Main,
        debug: bool | None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
        *,
        on_taken: Callable[[], None],
    ) -> tuple[BaseException | None, Any]:
        """
        Run from start to end; see `App.run`.

        Args:
            main: What runs between startup and shutdown; `None`: nothing does.
            debug: asyncio's debug mode; `None`: the loop decides.
            loop_factory: What makes the loop; `None`: asyncio's own.
            on_taken: Called as soon as the signals are ours.

        Returns:
            What there is to raise, and what main returned.
        """
        self._has_main = main is not None
        raised, late = None, self.dispatcher.late
        try:
            raised = self._run(main, debug, loop_factory, on_taken)
            late = self.dispatcher.late
        except KeyboardInterrupt:  # SIGINT was given back, and came at that very moment
            if not self.dispatcher.over:
                raise
            self.dispatcher.post_signal(Cause(Kind.SIGNAL, clock.now(), signal=signal.SIGINT))
        try:
            if raised is None and self.dispatcher.late is not late:
                raised = self.conclude()
            return raised, None if (parts := self.parts) is None else parts.serving.result
        finally:
            del raised  # a traceback that holds this frame must not hold the exception

    def _run(
        self,
        main: Main,
        debug: bool | None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
        on_taken: Callable[[], None],
    ) -> BaseException | None:
        with contextlib.ExitStack() as stack:
            stack.callback(_close, main, self._main_was_started)
            if self.guard.applies():
                stack.enter_context(self.guard.taken())
            on_taken()
            try:
                loop = (loop_factory or asyncio.new_event_loop)()
            except Unblocked as error:  # nothing was started, so there is nothing to clean up
                self.stuck.unblocked(error, "loop_factory")
                return self.conclude()
            stack.callback(_close_loop, loop)
            if loop_factory is None:  # as `asyncio.Runner` does, and only then
                asyncio.set_event_loop(loop)
                stack.callback(asyncio.set_event_loop, None)
            if debug is not None:
                loop.set_debug(debug)
            self._drive(loop, main)
            if self.dispatcher.first_signal is not None:
                with contextlib.suppress(Unblocked):
                    flush_stdio()  # while the watchdog is there
            return self.conclude()  # while Ctrl-C is not a KeyboardInterrupt

    def _main_was_started(self) -> bool:
        return (parts := self.parts) is not None and parts.tasks.main is not None

    @stack_starts_here
    @calls_user_code
    @calls_without_frame  # uvloop is written in C: `call_soon(time.sleep, 60)` blocks in this very frame
    def _drive(self, loop: asyncio.AbstractEventLoop, main: Main) -> None:
        """Run the loop until the lifecycle has ended, whatever leaves the loop before."""
        life = LifecycleTask(self._live(loop, main), loop, self.dispatcher.stop)
        life.add_done_callback(lambda _: loop.stop())
        while not life.done() and not loop.is_closed():
            try:
                loop.run_forever()
            except ProcessEnded:
                raise
            except Unblocked:
                continue  # it hit the loop's own code; what was to be unblocked is over
            except BaseException as error:
                self.intake.fail(error, "raised out of the loop")
            else:
                if not life.done():
                    self.dispatcher.stop()  # something called loop.stop(): it stops after the cleanup
        if life.done():
            life.result()

    async def _live(self, loop: asyncio.AbstractEventLoop, main: Main) -> None:
        parts = self.enter_loop(loop)
        executor = DefaultExecutor(loop, self.deadline, parts.waiting, parts.jobs)
        self.guard.attach_loop(loop)
        self.guard.shield_handlers(self.intake.raised_by_handler)
        try:
            with self.told_to_manager(loop), parts.view.told(self.observers):
                await parts.lifecycle.live(lambda: _start_main(parts, main))
                await finish(loop, executor, self.deadline, parts.waiting, self.dispatcher.cause)
                await parts.children.close_pipes()
            self.report_the_rest()
            for pid in parts.children.strangers():
                log(
                    logging.WARNING,
                    f"a child process (pid {pid}) that asyncio.create_subprocess_exec() or _shell() has started outlives "
                    f"{self.settings.name}: start it with app.create_subprocess_exec(), or end it in the cleanup",
                )
        finally:
            self.dispatcher.enter(State.OVER)
            self.guard.detach_loop()
            parts.detach(loop_ends=True)


def _start_main(parts: LoopParts, main: Main) -> None:
    if main is not None:
        task = parts.tasks.create_main(main)
        task.add_done_callback(lambda _: restore_running_loop(task.get_loop()))
        task.add_done_callback(parts.serving.main_ended)


def _close_loop(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(Unblocked):  # a user's own loop may block there
        loop.close()


def _close(main: Main, was_started: Callable[[], bool]) -> None:
    """If main was never started: without this Python would warn that it was never awaited."""
    if isinstance(main, CoroutineType):
        if inspect.getcoroutinestate(main) == inspect.CORO_CREATED:
            main.close()
    elif main is not None and not was_started():  # of another type, which need not show its state
        main.close()
