"""
The process guard: signal handlers, the end of the process at the deadline (exit status 70) or by a third Ctrl-C.

Behind one object are the signal handlers, the watchdog (ends the process at the deadline) and the unblocker (raises in code that blocks
the loop). A run in another thread than the main one has none of them: then each method does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from graceful._core import clock
from graceful._core.asyncio_private import loop_signal_callback
from graceful._core.deadline import Deadline
from graceful._core.errors import Interrupted, StateError
from graceful._core.frames import thread_lines
from graceful._core.settings import CTRL_C, Settings
from graceful._core.state import Trigger
from graceful._core.types import Cause, Kind
from graceful._hooks.hook import described
from graceful._process.after_run import die_if_uncaught, end_in_time
from graceful._process.children import end_with_process
from graceful._process.exit import EX_SOFTWARE, die_by, exit_now, worker_lines
from graceful._process.handlers import SignalHandlers, in_main_thread
from graceful._process.stderr import write_stderr
from graceful._process.termination_log import TerminationLog
from graceful._process.unblock import Unblocked, Unblocker
from graceful._process.watchdog import Watchdog
from graceful._run.dispatcher import Dispatcher
from graceful._run.signal_hooks import SignalHooks

__all__ = ["ProcessGuard", "check_main_thread", "simulated_guards"]


class ProcessGuard:
    """
    What a run has to do with the process: see above.

    Args:
        settings: What the app was made with.
        deadline: The deadline of the run.
        dispatcher: What signals are posted to.
        signal_hooks: What is told of the signals that there are `on_signal` hooks for.
        may_block_until: Says when the running code must stop blocking the loop.
        still_running: Names what has not ended, before a forced end.
        trouble_so_far: Tells what has failed or was given up until then. Called in any thread.
        termination_log: Takes the last words.
    """

    def __init__(
        self,
        settings: Settings,
        deadline: Deadline,
        dispatcher: Dispatcher,
        signal_hooks: SignalHooks,
        *,
        may_block_until: Callable[[], float],
        still_running: Callable[[], list[str]],
        trouble_so_far: Callable[[], list[str]],
        termination_log: TerminationLog,
    ) -> None:
        self._settings = settings
        self._deadline = deadline
        self._dispatcher = dispatcher
        self._signal_hooks = signal_hooks
        self._may_block_until = may_block_until
        self._still_running = still_running
        self._trouble_so_far = trouble_so_far
        self._termination_log = termination_log
        self._reactions: set[signal.Signals] = set()
        self._handlers: SignalHandlers | None = None
        self._watchdog: Watchdog | None = None
        self._unblocker: Unblocker | None = None
        self._attached_to: asyncio.AbstractEventLoop | None = None

    def applies(self) -> bool:
        """Whether there is anything to guard here: signals are handled in the main thread only."""
        return in_main_thread()

    # --- taken and given back --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def taken(self) -> Generator[None]:
        """Take the signal handlers and start the watchdog, in the main thread; everything is given back in reverse."""
        reactions = self._reactions = self._signal_hooks.signals
        stopping = {*self._settings.signals} - reactions
        override = self._settings.signals_given
        with SignalHandlers(stopping, reactions, override, self._on_signal, self._dispatcher.decide_all) as handlers:
            self._watchdog = self._make_watchdog(handlers, stopping & handlers.taken.keys())
            if Unblocker.available():
                self._make_unblocker()
            self._watchdog.start()
            self._handlers = handlers
            if self._deadline.stopping:  # stop() before run(), or a signal just now
                self.deadline_changed()
            try:
                yield
            finally:
                self._handlers = None
                unblocker, self._unblocker = self._unblocker, None  # so that a signal now does not arm it again
                if unblocker is not None:
                    unblocker.disarm()
                self._watchdog.close()

    def attach_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the wakeup fd, inside the running loop."""
        self._attached_to = loop
        if self._watchdog is not None:
            self._watchdog.attach(loop)

    def detach_loop(self) -> None:
        """Give it back."""
        if self._watchdog is not None:
            self._watchdog.detach()

    def _make_watchdog(self, handlers: SignalHandlers, stopping: set[signal.Signals]) -> Watchdog:
        return Watchdog(
            self._deadline,
            self._settings.debounce,
            frozenset(int(number) for number in stopping),
            is_ours=handlers.has,
            on_signal=self._dispatcher.wake,
            on_foreign=self._heard_foreign,
            on_expired=self._end_expired,
            on_forced=self.force,
        )

    def _make_unblocker(self) -> None:
        self._unblocker = Unblocker(self._may_block_until, self._dispatcher.wake)

    def shield_handlers(self, on_raised: Callable[[BaseException], None]) -> None:
        """What a handler of the program raises from now on is not raised in our own code."""
        if self._handlers is not None:
            self._handlers.shield(on_raised)

    def check_reactions(self, numbers: Iterable[signal.Signals]) -> None:
        """
        Check that more signals can be taken, for `on_signal` hooks that are registered while the app runs.

        Raises:
            StateError: They cannot, here and now.
        """
        check_main_thread()
        if self._handlers is None:
            raise StateError("this app has not taken the signals: it runs in another thread")
        for number in numbers:
            if signal.getsignal(number) is None:
                raise StateError(f"{number.name} has a handler that Python did not install and could not restore")

    def add_reactions(self, numbers: Iterable[signal.Signals]) -> None:
        """From now on these signals are for `on_signal` hooks."""
        assert self._handlers is not None
        self._reactions.update(numbers)
        self._handlers.take_more(numbers)
        if self._watchdog is not None:
            self._watchdog.stops_no_more(numbers)

    def has_ctrl_c(self) -> bool:
        """Whether the app handles the next Ctrl-C."""
        return self._handlers is not None and self._handlers.has(signal.SIGINT)

    # --- a signal --------------------------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        """A signal handler: between any two bytecodes of the main thread."""
        arrived = signal.Signals(number)
        if arrived in self._reactions:
            self._signal_hooks.note(arrived)
            self._dispatcher.wake()
            return
        first, second = clock.now(), math.inf
        if self._watchdog is not None:
            self._watchdog.main_thread_heard(first)
            # This thread may have been deaf for a while, and several signals arrive as one.
            if not self._dispatcher.stopping:
                first, second = min(first, self._watchdog.heard_at), self._watchdog.hurried_at
        for at in (first, second):
            if at < math.inf:
                self._dispatcher.post_signal(Cause(Kind.SIGNAL, at, signal=arrived))

    def announce(self, number: int) -> None:
        """Somebody else handles this signal, and stops the process; in any thread, and in a signal handler."""
        self._dispatcher.post(Trigger.ANNOUNCE, Cause(Kind.SIGNAL, clock.now(), signal=signal.Signals(number)))

    def _heard_foreign(self, number: int) -> None:
        """Somebody else handles this signal; in any thread."""
        if number == signal.SIGTERM or (number in CTRL_C and self._stops(number)):
            self.announce(number)

    def _stops(self, number: int) -> bool:
        """
        Whether what handles a Ctrl-C stops the program by it: the same handler has SIGTERM, too, as that of a server has.

        Another program may have taken SIGINT to cancel one command or to ask a question, and goes on.
        """
        handler = self._foreign_handler(signal.Signals(number))
        return handler is not None and handler == self._foreign_handler(signal.SIGTERM)

    def _foreign_handler(self, number: signal.Signals) -> Callable[..., Any] | None:
        """What handles this signal in the place of the app; `None`: it cannot be seen, as on uvloop."""
        loop = self._attached_to
        handler = loop_signal_callback(loop, number) or signal.getsignal(number)
        is_the_loops = loop is not None and getattr(handler, "__self__", None) is loop
        return handler if callable(handler) and not is_the_loops else None

    def taker_of(self, number: signal.Signals) -> str | None:
        """Who handles this signal in the place of the app, by name and place; `None`: the owner, as it should be."""
        handler = self._foreign_handler(number)
        if handler is None:
            unknown = signal.getsignal(number) is None
            return "somebody else" if unknown else "a handler set with loop.add_signal_handler()"
        return described(getattr(handler, "__wrapped__", handler))

    def interrupt_main_thread(self) -> None:
        """From another thread: have the main thread decide what was posted, and keep the deadline if it is deaf."""
        if self._handlers is not None and self._watchdog is not None:
            self._handlers.interrupt_main_thread()
            self._deadline.request_heard(clock.now())
            self._watchdog.deadline_changed()

    # --- the deadline ----------------------------------------------------------------------------------------------

    def deadline_changed(self) -> None:
        """The deadline was fixed or moved up; perhaps in a signal handler."""
        if self._watchdog is not None:
            self._watchdog.deadline_changed()
        if self._unblocker is not None:
            self._unblocker.arm()
            self._unblocker.expect_progress(self._deadline.half_of_rest(self._deadline.changed_at))

    def expect_progress(self, by: float) -> None:
        """The loop made progress, and will again `by` this time; infinity: nothing says when."""
        if self._unblocker is not None:
            self._unblocker.expect_progress(by)

    def hook_limited(self, begins: bool) -> None:
        """A hook with a time limit begins or ends while the program runs: meanwhile it must not block the loop."""
        if self._unblocker is None:
            return
        if begins:
            self._unblocker.arm()
        elif not self._dispatcher.stopping:
            self._unblocker.disarm()
        if self._deadline.stopping:  # a signal that came in between found it armed
            self.deadline_changed()

    def untold(self) -> list[Unblocked]:
        """What was raised in code that blocked the loop, and swallowed there; each place once."""
        raised = self._unblocker.raised if self._unblocker is not None else []
        return [*{each.stack: each for each in raised if not each.told}.values()]

    # --- the end ---------------------------------------------------------------------------------------------------

    def force(self, number: int) -> None:
        """End the process now, by this signal. In a signal handler, or in the watchdog's thread."""
        taken = signal.Signals(number)
        self._end(f"{self._settings.name} was ended by {taken.name} before its cleanup had finished", -taken)

    def _end_expired(self) -> None:
        """In the watchdog's thread: the shutdown did not end in time."""
        cause = self._dispatcher.cause or "the request to stop"
        self._end(f"{self._settings.name} did not end within {self._settings.grace:g} s of {cause}", EX_SOFTWARE)

    def _end(self, what: str, status: int) -> None:
        ended = self.workers()
        self.end_process(self._last_words(what, ended), status, ended)

    def end_process(self, words: str, status: int, ended: Sequence[Any]) -> None:
        """
        End it at once.

        Args:
            words: What to write to stderr before.
            status: The exit status; negative: to die by that signal.
            ended: Worker processes that end, too.
        """
        self._termination_log.write("\n".join([words.rstrip("\n"), *self._before_that()]))
        write_stderr(words)
        if status < 0:
            die_by(signal.Signals(-status), ended)
        exit_now(status, ended)

    def other_threads(self) -> list[str]:
        """What the threads of the process are doing, for the last words."""
        return thread_lines()

    def workers(self) -> Sequence[Any]:
        """The worker processes of `multiprocessing`, and child processes, that would outlive the process."""
        return end_with_process()

    def _last_words(self, what: str, ended: Sequence[Any]) -> str:
        try:
            rows = [*self._still_running(), *self.other_threads()]
        except Exception as error:  # whatever a hook is called, or its frames look like: the end must come
            rows = [f"(what is running cannot be listed: {error!r})"]
        return "\n  ".join([f"{what}; still running:", *rows, *worker_lines(ended)]) + "\n"

    def _before_that(self) -> list[str]:
        try:
            rows = self._trouble_so_far()
        except Exception as error:  # as above; and the main thread may change what is looked at
            rows = [f"(what went wrong cannot be listed: {type(error).__name__})"]
        return ["before that:", *rows] if rows else []

    def prepare_end(self, raised: BaseException | None) -> None:
        """`run()` is about to raise this, or to return: have the process end by the signal, or at least in time."""
        if self._watchdog is None:
            return
        later_signals = self._dispatcher.later_signals()
        if isinstance(raised, Interrupted):
            die_if_uncaught(raised, self._deadline, later_signals, self._termination_log)
        elif self._dispatcher.first_signal is not None:
            end_in_time(raised, self._deadline, later_signals, self._termination_log, self._watchdog.run_last)


#: Which guard takes the place of which, in a process that is only simulated (`graceful.testing`).
simulated_guards: ContextVar[Mapping[type[ProcessGuard], type[ProcessGuard]]] = ContextVar(
    "graceful simulated guards", default=MappingProxyType({})
)


def check_main_thread() -> None:
    """
    Raises:
        StateError: This is another thread, and no handler can be set.
    """
    if not in_main_thread():
        raise StateError("Python sets signal handlers only in the main thread: register the hook there")
