"""
How the process ends: by the signal that was the cause, and last of all.

A parent learns the truth from the status, and a shell loop stops at Ctrl-C only if its child died by SIGINT: `exit(130)`
is not the same. But a process that kills itself inside `run()` skips atexit callbacks, threads and stdio buffers. So:

1. `run()` raises `Interrupted`. Whether anybody catches it is known in one place, `sys.excepthook`: it is called for
   an uncaught KeyboardInterrupt, after all `finally` blocks, and never for a SystemExit.
2. The hook prints nothing and leaves an object in a module. Threads are joined, atexit callbacks run, buffers are
   flushed; then modules are torn down, the object with them, and its `__del__` kills the process.

Routes rejected: an atexit callback (skips those registered before it), `os._exit(128 + n)` (skips everything, and is no
death by a signal), raising KeyboardInterrupt itself (always SIGINT, and it prints a traceback).
As PID 1 a signal of one's own with the default action is discarded by the kernel (pid_namespaces(7)): there 128+n.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import functools
import os
import select
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from graceful._errors import Interrupted
from graceful._machine import Action, Machine, Sighting
from graceful._signals import default_signals, forks, undo_in_child
from graceful._stacks import thread_lines

__all__ = [
    "EX_SOFTWARE",
    "die_by",
    "die_if_uncaught",
    "end_if_forked",
    "end_in_time",
    "exit_now",
    "flush_stdio",
    "say",
]

#: sysexits.h: an internal software error. The status of a process that could not end by itself in time.
EX_SOFTWARE = 70

#: Seconds past the deadline for what follows `run()`, so that the last word of a road that just made it is heard.
_LATE = 0.5

#: Seconds to wait for a reader of stderr who does not read.
_PATIENCE = 0.3


def say(text: str) -> None:
    """Write to stderr past every buffer and lock: whoever holds one may be what is stuck; so may the one who reads it."""
    if sys.__stderr__ is None:
        return  # started without one: descriptor 2 may be anything by now
    left = text.encode(errors="backslashreplace")
    with contextlib.suppress(OSError, ValueError):
        # A pipe that can be written takes PIPE_BUF bytes at least, which is 512 or more (POSIX, limits.h).
        while left and select.select([], [2], [], _PATIENCE)[1]:
            left = left[os.write(2, left[:512]) :]


def flush_stdio() -> None:
    """
    What Python does as soon as the script has ended; but then nobody could end a process whose reader does not read.

    What a stream raises, it raises again there.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def exit_now(status: int) -> NoReturn:
    """End the process at once, with what was printed and logged flushed, unless that is what hangs."""
    _flush()
    os._exit(status)


def die_by(number: signal.Signals) -> NoReturn:
    """Die by this signal at once, with what was printed and logged flushed, unless that is what hangs."""
    _flush()
    _kill(number)
    os._exit(128 + number)


def end_if_forked(before: int, error: BaseException | None) -> None:
    """
    End a forked child that fell out of its parent's loop, as `multiprocessing` ends its own: at once.

    Its parent's hooks are none of its business. Nor may it close the loop, which shares its epoll descriptor with the
    parent's: to unregister the child's self-pipe there would leave the parent deaf.

    Args:
        before: What `forks()` was in the parent; if it still is, this is no child, and nothing is done.
        error: What it fell out with; `None`: nothing.
    """
    if forks() == before:
        return
    error = error or SystemExit(0)
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    code = error.code if isinstance(error, SystemExit) else 1
    exit_now(code if isinstance(code, int) else int(code is not None))


def _flush() -> None:
    def flush() -> None:
        logging = sys.modules.get("logging")
        flush_stdio()
        for reference in list(getattr(logging, "_handlerList", ())):
            with contextlib.suppress(Exception):
                reference().flush()

    flusher = threading.Thread(target=flush, daemon=True)
    with contextlib.suppress(RuntimeError):  # the interpreter is ending: no new threads
        flusher.start()
        flusher.join(0.3)


_c_signal = sys.modules["_signal"]
_unmask = (
    functools.partial(_c_signal.pthread_sigmask, int(signal.SIG_UNBLOCK))
    if hasattr(signal, "pthread_sigmask")
    else None
)


def _kill(
    number: int,
    *,
    # Bound early, and C functions all: at the interpreter's end modules are empty, `signal` with its wrappers too.
    kill: Callable[..., Any] = os.kill,
    getpid: Callable[[], int] = os.getpid,
    set_handler: Callable[..., Any] = _c_signal.signal,
    default: int = int(signal.SIG_DFL),
    unmask: Any = _unmask,
) -> None:
    try:
        set_handler(number, default)
    except ValueError:  # not the main thread: Python sets no handlers there, C does
        with contextlib.suppress(Exception):
            import ctypes  # here, for its 2 ms

            ctypes.CDLL(None).signal(int(number), None)
    if unmask is not None:
        unmask((number,))
    kill(getpid(), number)


class _LastWord:
    """Kills the process when the interpreter tears down the module that holds it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._pid = os.getpid()

    def __del__(
        self,
        getpid: Callable[[], int] = os.getpid,
        kill: Callable[[int], None] = _kill,
        leave: Callable[[int], NoReturn] = os._exit,
    ) -> None:
        if getpid() == self._pid:
            kill(self._number)
            leave(128 + self._number)


def die_if_uncaught(interrupted: Interrupted, deadline: float, ending: Machine) -> None:
    """
    See to it that the process dies by the signal if nobody catches this exception.

    `sys.excepthook` is wrapped while the exception lives, and as it was when somebody caught and dropped it.

    Args:
        interrupted: What `run()` is about to raise.
        deadline: When the process must be gone (`time.monotonic`).
        ending: Decides about the signals that still come.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        if value is reference() and not _is_interactive():
            _end_by(interrupted_signal, deadline, ending)
        else:
            previous(kind, value, traceback)

    def dropped(_: object) -> None:
        if sys.excepthook is hook:
            sys.excepthook = previous

    interrupted_signal = interrupted.signal
    reference = weakref.ref(interrupted, dropped)
    sys.excepthook = hook


def _is_interactive() -> bool:
    """Whether an uncaught exception is not the end: at a prompt, or with one to come (`python -i`)."""
    return bool(sys.flags.interactive or sys.flags.inspect or os.environ.get("PYTHONINSPECT") or hasattr(sys, "ps1"))


def _end_by(number: signal.Signals, deadline: float, ending: Machine) -> None:
    # In a module of its own: this one's dictionary is held by the frame of the thread below, and so is not torn down.
    holder = ModuleType("graceful._last_word")
    holder.word = _LastWord(number)  # type: ignore[attr-defined]
    sys.modules[holder.__name__] = holder
    _take_signals(ending)
    _keep(deadline)


def _take_signals(ending: Machine) -> None:
    """In a process that ends: what is no third request is not to cut atexit callbacks and threads short."""

    def again(number: int, _frame: object) -> None:
        if ending.decide(Sighting.SIGNAL, time.monotonic()) is Action.FORCE:
            _kill(number)

    def reset() -> None:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)

    handled = [each for each in default_signals() if signal.getsignal(each) not in (signal.SIG_IGN, None)]
    for each in handled:
        signal.signal(each, again)
    undo_in_child(reset)


def _at_exit(ending: Machine) -> None:
    """Of a process that ends after a signal: the same signal once more, from a wrapper that forwards it, changes nothing."""
    if time.monotonic() - ending.last < ending.debounce:
        _take_signals(ending)


def end_in_time(deadline: float, ending: Machine, begin: Callable[[Callable[[], None]], None]) -> None:
    """
    End the process at the deadline, if the interpreter is ending by then and cannot: a thread that never ends.

    If the program lives on past the deadline instead, it is left alone for good: it evidently was not ending.

    Args:
        deadline: When the process must be gone (`time.monotonic`).
        ending: Decides about the signals that still come.
        begin: Has something called in a thread.
    """
    atexit.unregister(_at_exit)
    atexit.register(_at_exit, ending)
    _keep(deadline, begin)


def _begin(last: Callable[[], None]) -> None:
    _thread.start_new_thread(last, ())  # a `Thread` would wait until this one runs, a third of a millisecond


def _keep(deadline: float, begin: Callable[[Callable[[], None]], None] = _begin) -> None:
    def wait() -> None:
        time.sleep(max(0.0, deadline + _LATE - time.monotonic()))
        # Executors are joined before the main thread counts as ended; the flag is up by then (threading._shutdown).
        if threading.main_thread().is_alive() and not getattr(threading, "_SHUTTING_DOWN", False):
            return
        lines = "\n  ".join(thread_lines() or ["what has no Python frame: a C function, or the flush of a stream"])
        say(f"graceful: the process could not end in time; still running:\n  {lines}\n")
        exit_now(EX_SOFTWARE)

    with contextlib.suppress(RuntimeError):  # the interpreter is ending: no new threads
        begin(wait)
