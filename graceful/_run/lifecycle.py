"""
The life of a run inside its loop: startup, serving, shutdown.

It is a coroutine in a task that cannot be cancelled, and each of its waits is either for something to happen or has a
limit. When it has ended the loop stops, not before.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from typing_extensions import override

from graceful._core.budget import HURRY
from graceful._core.deadline import Deadline
from graceful._core.settings import Settings
from graceful._core.state import State
from graceful._core.types import Cause, EventKind
from graceful._hooks.hook_set import HookSet
from graceful._loop.hidden import HiddenTask, hide_from_all_tasks
from graceful._loop.stop_notice import StopNotice
from graceful._loop.waiting import Waiting
from graceful._observe.log import log
from graceful._observe.observers import Observers
from graceful._run.dispatcher import Dispatcher
from graceful._run.drain import Drain
from graceful._run.failure_intake import FailureIntake
from graceful._run.serving import Serving
from graceful._run.shutdown import Shutdown
from graceful._run.startup import Startup

__all__ = ["Lifecycle", "LifecycleTask"]

#: Seconds that the program's own handler of SIGTERM has to begin the shutdown before a warning says that it has not.
_TAKER_HAS = 2.0


class LifecycleTask(HiddenTask[None]):
    """
    The task of a run. Code that cancels all tasks of a loop asks it to stop; it cleans up all the same.

    Args:
        live: What it runs.
        loop: Where it runs.
        on_cancel: Called instead of a cancellation.
    """

    def __init__(
        self, live: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, on_cancel: Callable[[], None]
    ) -> None:
        super().__init__(live, loop=loop, name="graceful")
        self._on_cancel = on_cancel
        hide_from_all_tasks(self)

    @override
    def cancel(self, msg: object = None) -> bool:
        """Ask instead of cancelling."""
        self._on_cancel()
        return False


class Lifecycle:
    """
    Args:
        settings: What the app was made with.
        intake: Takes each phase whatever goes wrong in the one before.
        hooks: All hooks.
        deadline: The deadline of the run.
        dispatcher: Decides what was posted.
        waiting: Its waiters are woken when the deadline moves up.
        notice: The tasks that asked to be told.
        startup: The first phase.
        serving: The second.
        drain: Its first step, which an announcement begins.
        shutdown: The third.
        observers: Are told how far it is.
        taker_of: Says who handles a signal in the place of the app, by name and place; `None`: the owner of the process.
        is_shown: Says whether a live view shows what the next Ctrl-C does.
    """

    def __init__(
        self,
        settings: Settings,
        intake: FailureIntake,
        hooks: HookSet,
        deadline: Deadline,
        dispatcher: Dispatcher,
        waiting: Waiting,
        notice: StopNotice,
        startup: Startup,
        serving: Serving,
        drain: Drain,
        shutdown: Shutdown,
        observers: Observers,
        taker_of: Callable[[signal.Signals], str | None],
        is_shown: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._hooks = hooks
        self._deadline = deadline
        self._dispatcher = dispatcher
        self._waiting = waiting
        self._notice = notice
        self._startup = startup
        self._serving = serving
        self._drain = drain
        self._shutdown = shutdown
        self._observers = observers
        self._taker_of = taker_of
        self._is_shown = is_shown
        self._running = False
        self._announcement_seen = False
        self._hurry_announced = False
        self._answer_due = False

    async def live(self, start_main: Callable[[], None]) -> None:
        """
        From the first startup hook to the last task.

        Args:
            start_main: Called when the startup is over; not called if the program was told to stop before.
        """
        self._dispatcher.decide_all()
        self._warn_of_timeouts()
        self._dispatcher.enter(State.STARTING)
        self._observers.tell(EventKind.STARTED)
        await self._intake.guarded(self._startup.run())
        self._dispatcher.enter(State.RUNNING)
        self._running = True
        if not self._dispatcher.stopping:
            self._drain.begin_to_serve()
            self._observers.tell(EventKind.READY)
        self._pass_on_announcement()
        await self._intake.guarded(self._serving.run(start_main))
        cause = self._dispatcher.cause
        assert cause is not None
        await self._shutdown.run(cause, by_ctrl_c=self._dispatcher.interrupted)

    def answer(self) -> None:
        """In a signal handler: the first Ctrl-C in a shutdown that something else began."""
        self._answer_due = True

    def wake(self) -> None:
        """In the loop, soon after anything was posted: whatever waits for it goes on."""
        self._dispatcher.decide_all()
        if self._dispatcher.stopping:
            self._notice.begin()
            self._startup.cut_short()
        else:
            self._pass_on_announcement()
        self._waiting.reconsider()
        self._serving.wake()
        self._say_what_ctrl_c_does()

    def _pass_on_announcement(self) -> None:
        """The owner of the process was told to stop: tell the tasks that asked to be told, and stop accepting work."""
        announced = self._dispatcher.announced
        if announced is None or self._announcement_seen or not self._running:
            return
        self._announcement_seen = True
        self._observers.tell(EventKind.ANNOUNCED, at=announced.at, cause=announced)
        self._notice.announce()
        self._drain.announce()
        name = self._settings.name
        log(logging.INFO, f"{name} is told that the process stops ({announced})", on_terminal=False, app=name)
        taker = None if announced.signal is None else self._taker_of(announced.signal)
        if taker is not None:
            asyncio.get_running_loop().call_later(_TAKER_HAS, self._warn_of_taker, announced, taker)

    def _warn_of_taker(self, announced: Cause, taker: str) -> None:
        """Say who has the signal, if that has not led to a shutdown in the meantime, as it does with a server."""
        if not self._dispatcher.stopping:
            name = self._settings.name
            log(
                logging.WARNING,
                f"{name} still runs {_TAKER_HAS:g} s after {announced}, which {taker} handles: if that does not end the "
                "program, call app.stop() there, or leave the signal to the app",
                app=name,
            )

    def _say_what_ctrl_c_does(self) -> None:
        name = self._settings.name
        if self._answer_due:
            self._answer_due = False
            left, cause = self._deadline.remaining(), self._dispatcher.cause
            log(
                logging.INFO,
                f"{name} is already shutting down ({cause}), {left:.1f} s left for cleanup; press Ctrl-C again to hurry",
                in_view=self._is_shown(),
            )
        if self._deadline.hurried and not self._hurry_announced:
            self._hurry_announced = True
            self._observers.tell(EventKind.HURRIED, cause=self._dispatcher.cause, until=self._deadline.at)
            log(
                logging.INFO,
                f"{name} is hurrying, {HURRY:g} s left for cleanup; press Ctrl-C again to end it at once",
                in_view=self._is_shown(),
            )

    def _warn_of_timeouts(self) -> None:
        settings, (drains, cleanups) = self._settings, self._hooks.declared()
        declared = settings.drain_delay + drains + cleanups
        if declared > settings.grace:
            log(
                logging.WARNING,
                f"the shutdown of {settings.name} may take {declared:g} s by its timeouts (drain_delay "
                f"{settings.drain_delay:g} + drain hooks {drains:g} + cleanup hooks {cleanups:g}), but is cut short "
                f"after its grace of {settings.grace:g} s: raise the grace or lower the timeouts",
                declared=declared,
                grace=settings.grace,
            )
