"""
The runner: one run of an app, from outside the loop.

It wires the rooms together, owns loop, signals and the end of the process, and gives back what it borrowed.
`_guest` is the other way in, where somebody else owns all of these.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import math
import signal
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from graceful._alarm import Alarm, Unblocked
from graceful._console import tell
from graceful._crashes import Crashes
from graceful._errors import Interrupted
from graceful._executor import DefaultExecutor
from graceful._exit import EX_SOFTWARE, die_by, die_if_uncaught, end_in_time, exit_now, flush_stdio, say
from graceful._hook import Hook, Stage
from graceful._inbox import Inbox
from graceful._journal import Journal
from graceful._life import Life, LifeTask
from graceful._machine import Machine, Sighting, State
from graceful._model import Cause, Kind, Settings, describe
from graceful._pace import Pace
from graceful._patience import Patience
from graceful._report import Report, verdict_of
from graceful._signals import SignalHandlers, in_main_thread
from graceful._stacks import origin, thread_lines
from graceful._stragglers import keep_stragglers, leave_behind, stragglers
from graceful._tasks import eager
from graceful._watchdog import Watchdog

__all__ = ["Runner"]


class Runner:
    """
    Args:
        owns_loop: Whether loop, signals and the process are ours.

    Attributes:
        report: Says what happened, once the run is over; `None` before.
    """

    def __init__(self, hooks: Sequence[Hook], settings: Settings, *, owns_loop: bool) -> None:
        self.report: Callable[[], Report] | None = None
        self.pace = Pace(time.monotonic, self._guard)
        self.journal = Journal()
        self.inbox = Inbox(settings, self.pace, self.journal, bound=self._bound, force=self._force)
        self.life = Life(hooks, settings, self.pace, self.journal, self.inbox, owns_loop=owns_loop)
        self._settings = settings
        self._watchdog: Watchdog | None = None
        self._alarm: Alarm | None = None
        self._has_main = False
        self._reactions: set[signal.Signals] = set()

    # --- owner -----------------------------------------------------------------------------------------------------

    def run(
        self,
        main: Coroutine[Any, Any, Any] | None,
        debug: bool | None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
        *,
        taken: Callable[[], None],
    ) -> tuple[BaseException | None, Any]:
        """
        Take the whole road; see `App.run`.

        Args:
            taken: Called as soon as the signals are ours.

        Returns:
            What there is to raise, and what main returned.
        """
        self._has_main = main is not None
        raised, late = None, self.inbox.late
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(_close, main)
                if in_main_thread():
                    stack.enter_context(self._borrow_process())
                taken()
                try:
                    loop = (loop_factory or asyncio.new_event_loop)()
                except Unblocked as error:  # nothing was started, so there is nothing to clean up
                    self.life.turns.unblocked(error, "loop_factory")
                    return self.conclude(), None
                stack.callback(_close_loop, loop)
                if debug is not None:
                    loop.set_debug(debug)
                self._drive(loop, main)
                if self.inbox.signalled is not None:
                    with contextlib.suppress(Unblocked):
                        flush_stdio()  # while the watchdog is there
                raised, late = self.conclude(), self.inbox.late  # while Ctrl-C is no KeyboardInterrupt
        except KeyboardInterrupt:  # SIGINT is its owner's again, and came at that very moment
            if self.inbox.machine.state is not State.OVER:
                raise
            self.inbox.post(Sighting.SIGNAL, Cause(Kind.SIGNAL, time.monotonic(), signal=signal.SIGINT))
        try:
            if raised is None and self.inbox.late is not late:
                raised = self.conclude()
            return raised, self.life.result
        finally:
            del raised  # who holds this frame, by a traceback, must not hold it

    @contextlib.contextmanager
    def _borrow_process(self) -> Generator[None, None, None]:
        """The signal handlers, and what makes a deaf main thread hear; given back in reverse."""
        reactions = self._reactions = {number for hook in self.life.hooks_of(Stage.SIGNAL) for number in hook.signals}
        stopping = {*self._settings.signals} - reactions
        with SignalHandlers(stopping, reactions, self._sighted, self.inbox.decide_all) as handlers:
            hard = frozenset(int(number) for number in stopping & handlers.taken.keys())
            self._watchdog = Watchdog(self.inbox.wake, self._expired, self._forced, hard, self._settings)
            if Alarm.available():
                self._take_alarm()
            self._watchdog.start()
            self.inbox.knock = functools.partial(self._knock, handlers)
            if self.inbox.cause is not None:  # stop() before run(), or a signal just now
                self._bound(self.inbox.cause)
            try:
                yield
            finally:
                self.inbox.knock = None
                alarm, self._alarm = self._alarm, None  # so that a signal that comes now does not take it again
                if alarm is not None:
                    alarm.disarm()
                self._watchdog.close()

    def _knock(self, handlers: SignalHandlers) -> None:
        """From another thread: have the main thread decide, and keep the deadline for it if it is deaf."""
        handlers.knock()
        if self._watchdog is not None:
            self._watchdog.suspect()

    def _sighted(self, number: int) -> None:
        """A signal handler: between any two bytecodes of the main thread."""
        sighted = signal.Signals(number)
        if sighted in self._reactions:
            self.life.signalled.append(sighted)
            self.inbox.wake()
            return
        first, second = time.monotonic(), math.inf
        if self._watchdog is not None:
            self._watchdog.main_heard_at = first
            if not self.inbox.stopping:  # this thread may have been deaf for a while, and several signals come as one
                first, second = min(first, self._watchdog.heard_at), self._watchdog.hurried_at
        for at in (first, second):
            if at < math.inf:
                self.inbox.post(Sighting.SIGNAL, Cause(Kind.SIGNAL, at, signal=sighted))

    def _drive(self, loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, Any] | None) -> None:
        """Run the loop until the life has ended, whatever is thrown out of it before."""
        life = LifeTask(self._live(loop, main), loop, self.inbox.stop)
        life.add_done_callback(lambda _: loop.stop())
        while not life.done() and not loop.is_closed():
            try:
                loop.run_forever()
            except Unblocked:
                continue  # it came to the loop's own code; what was to be unblocked is over
            except BaseException as error:
                self.life.failures.fail(error, "raised out of the loop")
            else:
                if not life.done():
                    self.inbox.stop()  # somebody called loop.stop(): it stops after the cleanup
        if life.done():
            life.result()

    async def _live(self, loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, Any] | None) -> None:
        executor = DefaultExecutor(loop)
        crashes = self.watch(loop)
        self.inbox.loop = loop
        if self._watchdog is not None:
            self._watchdog.attach()
        try:
            await self.life.live(lambda: self._start_main(loop, main))
            await self._shut_down(loop, executor)
            self.say_the_rest()
        finally:
            self.inbox.enter(State.OVER)
            if self._watchdog is not None:
                self._watchdog.detach()
            crashes.detach(over=True)

    def _start_main(
        self, loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, Any] | None
    ) -> asyncio.Future[Any] | None:
        if main is None:
            return None
        if self.life.tasks.patience is not None:
            self.life.tasks.patience.spared = main
        task = loop.create_task(main)
        task.add_done_callback(self.life.main_ended)
        return task

    async def _shut_down(self, loop: asyncio.AbstractEventLoop, executor: DefaultExecutor) -> None:
        """Async generators and the default executor, both with a limit."""
        closing = eager(asyncio.Task, loop.shutdown_asyncgens(), loop, "graceful shutdown_asyncgens")
        await self.pace.settle([closing], lambda: (self.pace.clock() + self.pace.deadline) / 2)
        emptied = await executor.shut_down(self.pace)
        if emptied and await self.pace.settle([closing], lambda: self.pace.deadline):
            # One that the program set in place of ours.
            theirs = eager(asyncio.Task, loop.shutdown_default_executor(), loop, "graceful shutdown_default_executor")
            if not await self.pace.settle([theirs], lambda: self.pace.deadline):
                leave_behind(theirs)
        if stragglers or not closing.done():  # what they have started, too
            for task in asyncio.all_tasks():
                leave_behind(task)
        if not closing.done():
            tell(logging.WARNING, "async generators would not be closed, and are left behind")
        if not emptied and self.inbox.cause is not None and self.inbox.cause.signal is None:
            tell(logging.WARNING, "jobs in the default executor still run; the process ends when they do")

    # --- called from the rooms below -------------------------------------------------------------------------------

    def _bound(self, cause: Cause) -> None:
        """The deadline was fixed or brought forward; perhaps in a signal handler."""
        if self._watchdog is not None:
            self._watchdog.arm(self.pace.deadline)
        if self._alarm is not None:
            self._alarm.arm()
            self._alarm.expect((cause.at + self.pace.deadline) / 2)

    def _take_alarm(self) -> None:
        alarm = Alarm(self.life.turns.allowed, self.inbox.wake)
        self.pace.expect = alarm.expect
        self._alarm = alarm

    def _guard(self, begins: bool) -> None:
        if self._alarm is None:
            return
        if begins:
            self._alarm.arm()
        elif not self.inbox.stopping:
            self._alarm.disarm()
        if self.inbox.cause is not None:  # a signal that came in between found it armed
            self._bound(self.inbox.cause)

    def _force(self, cause: Cause) -> None:
        self._forced(cause.signal or signal.SIGTERM)

    def _forced(self, number: int) -> None:
        """In a signal handler; in the watchdog's thread if the main thread is deaf."""
        taken = signal.Signals(number)
        self._say_last_words(f"{self._settings.name} is ended by {taken.name}, before its cleanup was over")
        die_by(taken)

    def _expired(self) -> None:
        """In the watchdog's thread: the road did not end in time."""
        grace = self._settings.grace
        cause = self.inbox.cause or "the request to stop"
        self._say_last_words(f"{self._settings.name} did not end within {grace:g} s of {cause}")
        exit_now(EX_SOFTWARE)

    def _say_last_words(self, what: str) -> None:
        try:
            rows = [*self.life.turns.still_running(), *thread_lines()]
        except Exception as error:  # whatever a hook is called, or its frames look like: the end must come
            rows = [f"(where it stands cannot be told: {error!r})"]
        say("\n  ".join([f"graceful: {what}; still running:", *rows]) + "\n")

    def watch(self, loop: asyncio.AbstractEventLoop) -> Crashes:
        """Take the loop's exception handler and task factory."""
        seconds, tasks = self._settings.patience, self.life.tasks
        tasks.loop, tasks.patience = loop, None if seconds is None else Patience(loop, seconds)
        crashes = Crashes(loop, tasks.patience, self._crashed, self.life.failures.keep)
        crashes.attach()
        return crashes

    def say_the_rest(self) -> None:
        """What would not be seen otherwise; while what hears of it can still be unblocked."""
        thrown = self._alarm.raised if self._alarm is not None else []
        untold: dict[tuple[str, ...], Unblocked] = {each.stack: each for each in thrown if not each.told}
        for each in untold.values():  # once, however often it was swallowed
            self.life.turns.unblocked(each, "code that nobody answers for")
        errors = self.journal.errors
        if errors and isinstance(errors[0], SystemExit):  # which prints nothing, nor what is chained to it
            for error in errors[1:]:
                tell(logging.ERROR, f"and while the program stopped: {describe(error)}", error=error)

    def _crashed(self, error: BaseException, context: dict[str, Any]) -> None:
        task = context.get("future", context.get("task"))
        message = str(context.get("message", "unhandled exception"))
        # asyncio's own words: `Exception in callback tick() at app.py:7`, `Task exception was never retrieved`
        came = f"in {origin(task)}: {message}" if task is not None else message.replace("Exception in ", "in ", 1)
        self.life.failures.fail(error, message, context, task, came=came)

    # --- the end ---------------------------------------------------------------------------------------------------

    def conclude(self) -> BaseException | None:
        """Make the report, prepare the end of the process where a signal is the cause, and say what there is to raise."""
        cause = self.inbox.cause
        assert cause is not None
        keep_stragglers()
        raised = verdict_of(cause, self.journal.errors, finished=self.life.finished, has_main=self._has_main)
        late = self.inbox.late
        if raised is None and cause.signal is None and late is not None and late.signal is not None:
            raised = Interrupted(late.signal)
        self.report = self.journal.report(cause, time.monotonic() - cause.at, raised)
        if self._watchdog is not None:
            ending = self._ending()
            if isinstance(raised, Interrupted):
                die_if_uncaught(raised, self.pace.deadline, ending)
            elif self.inbox.signalled is not None:
                end_in_time(self.pace.deadline, ending, self._watchdog.hand_over)
        return raised

    def _ending(self) -> Machine:
        """What decides about signals that come after the run: they follow those that came in it."""
        ending = Machine(self._settings.debounce)
        signalled = [each for each in self.journal.causes if each.signal is not None]
        if not signalled and self.inbox.signalled is not None:
            signalled = [self.inbox.signalled]
        for each in signalled:
            ending.decide(Sighting.SIGNAL, each.at)
        ending.last = max(ending.last, self.inbox.machine.last)  # echoes, too
        return ending


def _close_loop(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(Unblocked):  # a loop of somebody's own may block there
        loop.close()


def _close(main: Coroutine[Any, Any, Any] | None) -> None:
    """Main was never started: without this Python would warn that it was never awaited."""
    if main is not None and inspect.getcoroutinestate(main) == inspect.CORO_CREATED:
        main.close()
