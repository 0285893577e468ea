"""
Death by the signal, last of all: what happens between the return of `run()` and the end of the process.

A parent learns what happened from the status, and a shell loop stops at Ctrl-C only if its child died by SIGINT:
`exit(130)` is not the same. But a process that kills itself inside `run()` skips atexit callbacks, threads and stdio
buffers. So:

1. `run()` raises `Interrupted`. Whether anybody catches it is known in one place, `sys.excepthook`: it is called for
   an uncaught KeyboardInterrupt, after all `finally` blocks, and never for a SystemExit. Where a program has put back its
   own one by then, the audit event of the same name tells (see `audit`).
2. The hook prints nothing and leaves an object in a module. Threads are joined, atexit callbacks run, buffers are
   flushed; then modules are torn down, the object with them, and its `__del__` kills the process.

Routes rejected: an atexit callback (skips those registered before it), `os._exit(128 + n)` (skips everything, and is not
death by a signal), raising KeyboardInterrupt itself (always SIGINT, and it prints a traceback).
As PID 1 a signal of one's own with the default action is discarded by the kernel (pid_namespaces(7)): there 128+n.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from graceful._core import clock
from graceful._core.deadline import TICK, Deadline
from graceful._core.errors import Interrupted
from graceful._core.frames import thread_lines
from graceful._core.settings import CTRL_C, default_signals
from graceful._core.state import Action, StateMachine, Trigger
from graceful._process.audit import listen, unlisten
from graceful._process.children import end_with_process
from graceful._process.exit import EX_SOFTWARE, die_by, exit_now, kill_self, worker_lines
from graceful._process.fork import undo_in_child
from graceful._process.stderr import write_stderr
from graceful._process.termination_log import TerminationLog

__all__ = ["die_if_uncaught", "end_in_time", "start_thread"]

#: Exceptions of a chain that are looked at, at most.
_DEEPEST = 100

#: Seconds past the deadline for what follows `run()`, so that the last message of a run that just made it is still seen.
_LATE = 0.5


class _KillOnTeardown:
    """Kills the process when the interpreter tears down the module that holds it: after atexit, threads and buffers."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._pid = os.getpid()

    def __del__(
        self,
        # Bound now: modules are empty when it is called.
        getpid: Callable[[], int] = os.getpid,
        kill: Callable[[int], None] = kill_self,
        leave: Callable[[int], NoReturn] = os._exit,
    ) -> None:
        if getpid() == self._pid:
            kill(self._number)
            leave(128 + self._number)


def die_if_uncaught(
    interrupted: Interrupted, deadline: Deadline, later_signals: StateMachine, termination_log: TerminationLog
) -> None:
    """
    Have the process die by the signal if nobody catches this exception.

    `sys.excepthook` is wrapped while the exception lives, and restored when the exception was caught and dropped.

    Args:
        interrupted: What `run()` is about to raise.
        deadline: When the process must be gone.
        later_signals: Decides about the signals that still come.
        termination_log: Takes the last words of an end by force.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        if value is reference() and not _is_interactive():
            _prepare_death(number, deadline, later_signals, termination_log)
        else:
            previous(kind, value, traceback)

    def displayed(_hook: object, _kind: object, value: BaseException, _traceback: object) -> None:
        if value is reference() and not _is_interactive():
            _prepare_death(number, deadline, later_signals, termination_log)
            raise RuntimeError("not to be displayed")  # see sys.excepthook in Python's documentation

    def dropped(_: object) -> None:
        unlisten("sys.excepthook", displayed)
        if sys.excepthook is hook:
            sys.excepthook = previous

    number = interrupted.signal
    reference = weakref.ref(interrupted, dropped)
    sys.excepthook = hook
    listen("sys.excepthook", displayed)


def end_in_time(
    raised: BaseException | None,
    deadline: Deadline,
    later_signals: StateMachine,
    termination_log: TerminationLog,
    in_thread: Callable[[Callable[[], None]], None],
) -> None:
    """
    End the process at the deadline, if the interpreter is ending by then and cannot, as with a thread that never ends.

    If the program goes on past the deadline instead, it is left alone for good: it was not ending.

    Args:
        raised: What `run()` is about to raise. If Python displays it, the program is ending, even if that takes for ever
            because nobody reads stderr.
        deadline: When the process must be gone.
        later_signals: Decides about the signals that still come.
        termination_log: Takes the last words of an end by force.
        in_thread: Calls a function in another thread.
    """
    atexit.unregister(_at_exit)
    atexit.register(_at_exit, later_signals, termination_log)
    _keep(deadline, termination_log, in_thread, _uncaught(raised))


def _uncaught(raised: BaseException | None) -> Callable[[], bool]:
    """Returns whether Python has begun to display this exception: nobody has caught it."""
    if raised is None or isinstance(raised, SystemExit):  # which is never displayed
        return lambda: False
    wanted, seen = id(raised), threading.Event()

    def displayed(_hook: object, _kind: object, value: BaseException | None, _traceback: object) -> None:
        for _ in range(_DEEPEST):
            if id(value) == wanted and not _is_interactive():
                seen.set()
            if value is not None:
                value = value.__context__ if value.__cause__ is None else value.__cause__

    listen("sys.excepthook", displayed)
    return seen.is_set


def start_thread(function: Callable[[], None]) -> None:
    """Call a function in a daemon thread, without waiting for its start as `threading.Thread` does (0.3 ms)."""
    _thread.start_new_thread(function, ())


def _is_interactive() -> bool:
    """Whether an uncaught exception is not the end: at a prompt, or with one to come (`python -i`)."""
    return bool(sys.flags.interactive or sys.flags.inspect or os.environ.get("PYTHONINSPECT") or hasattr(sys, "ps1"))


def _prepare_death(
    number: signal.Signals, deadline: Deadline, later_signals: StateMachine, termination_log: TerminationLog
) -> None:
    # In a module of its own: the thread below holds this one's dictionary by its frame, so this one is not torn down.
    holder = ModuleType("graceful.kill_on_teardown")
    holder.it = _KillOnTeardown(number)  # type: ignore[attr-defined]
    sys.modules[holder.__name__] = holder
    _take_signals(later_signals, termination_log)
    _keep(deadline, termination_log, start_thread)


def _take_signals(later_signals: StateMachine, termination_log: TerminationLog) -> None:
    """In a process that is ending: only a further request of the user may cut atexit callbacks and threads short."""

    def again(number: int, _frame: object) -> None:
        trigger = Trigger.INTERRUPT if number in CTRL_C else Trigger.SIGNAL
        if later_signals.decide(trigger, clock.now()) is Action.FORCE:
            with contextlib.suppress(Exception):  # modules may be empty by now
                taken, ended = signal.Signals(number), end_with_process()
                what = f"the process was ended by {taken.name} before it could end by itself"
                termination_log.add(_still_running(what, ended))
                die_by(taken, ended)
            kill_self(number)

    def reset() -> None:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)

    handled = [each for each in default_signals() if signal.getsignal(each) not in (signal.SIG_IGN, None)]
    for each in handled:
        signal.signal(each, again)
    undo_in_child(reset)


def _still_running(what: str, ended: Sequence[Any]) -> str:
    busy = [*thread_lines(), *worker_lines(ended)]
    lines = busy or ["something without a Python frame: a C function, or the flush of a stream"]
    return "\n  ".join([f"{what}; still running:", *lines]) + "\n"


def _at_exit(later_signals: StateMachine, termination_log: TerminationLog) -> None:
    """In a process that ends after a signal: the same signal once more, forwarded by a wrapper, changes nothing."""
    if clock.now() - later_signals.last_signal_at < later_signals.debounce:
        _take_signals(later_signals, termination_log)


def _keep(
    deadline: Deadline,
    termination_log: TerminationLog,
    in_thread: Callable[[Callable[[], None]], None],
    uncaught: Callable[[], bool] = lambda: False,
) -> None:
    deadline.begin_watch()

    def wait() -> None:
        while (left := deadline.watch(_LATE)) > 0:
            time.sleep(min(left, TICK))
        # Executors are joined before the main thread counts as ended; the flag is up by then (threading._shutdown).
        ending = uncaught() or getattr(threading, "_SHUTTING_DOWN", False)
        if threading.main_thread().is_alive() and not ending:
            return
        ended = end_with_process()
        words = _still_running("the process could not end in time", ended)
        termination_log.add(words)
        write_stderr(words)
        exit_now(EX_SOFTWARE, ended)

    with contextlib.suppress(RuntimeError):  # the interpreter is ending: no new threads
        in_thread(wait)
