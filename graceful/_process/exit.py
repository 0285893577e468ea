"""How to end the process at once: with a status, or by a signal. `process_guard` and `after_run` say when."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from graceful._core.settings import CTRL_C, default_signals

__all__ = [
    "EX_SOFTWARE",
    "ProcessEnded",
    "at_forced_end",
    "die_by",
    "exit_now",
    "flush_stdio",
    "kill_self",
    "not_at_forced_end",
    "status_of_exit",
    "status_of_signal",
    "worker_lines",
    "workers",
]

#: sysexits.h: an internal software error. The exit status 70 of a process that could not end by itself in time.
EX_SOFTWARE = 70

#: What Windows ends a process with at Ctrl-C or Ctrl-Break, and Python for an uncaught KeyboardInterrupt there (Modules/main.c):
#: STATUS_CONTROL_C_EXIT. cmd.exe asks then whether to end the batch file, too.
_CONTROL_C_EXIT = 0xC000013A

#: The status instead of death by a signal, which Windows does not have. After SIGTERM that of `os.kill` there.
_STATUSES = {int(each): _CONTROL_C_EXIT if each in CTRL_C else int(each) for each in default_signals()}
_DIES_BY_SIGNALS = sys.platform != "win32"

#: Seconds that flushing may take: it may be what is stuck.
_FLUSH = 0.3


class ProcessEnded(BaseException):
    """
    Raised where a process that is only simulated ends at once (see `graceful.testing`); nothing of the run catches it.

    Attributes:
        status: The exit status, negative for death by that signal.
        words: What the process would have written to stderr.
    """

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        self.words = words
        super().__init__(status, words)


def flush_stdio() -> None:
    """
    Do what Python does as soon as the script has ended: flush stdout and stderr.

    It may block for ever where nobody reads. Errors are dropped here, because Python raises them again at the end.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def workers() -> list[Any]:
    """
    The processes of `multiprocessing` and of process pools, which a forced end would leave behind.

    Python itself would wait for them in the end, or terminate them if they are daemons.
    """
    multiprocessing = sys.modules.get("multiprocessing")
    with contextlib.suppress(Exception):
        return [] if multiprocessing is None else multiprocessing.active_children()
    return []


def worker_lines(ended: Iterable[Any]) -> list[str]:
    """A line for each, for the message before a forced end."""
    return [f"process {worker.name} (pid {worker.pid}), which is terminated" for worker in ended]


def _terminate(ended: Iterable[Any]) -> None:
    for worker in ended:
        with contextlib.suppress(Exception):
            worker.terminate()


def at_forced_end(undo: Callable[[], None]) -> None:
    """Call `undo` before the process is ended at once, perhaps in another thread: it gives back what outlives a process."""
    _to_undo.add(undo)


def not_at_forced_end(undo: Callable[[], None]) -> None:
    """Remove it again."""
    _to_undo.discard(undo)


_to_undo: set[Callable[[], None]] = set()


def _undo_all() -> None:
    for undo in [*_to_undo]:
        with contextlib.suppress(Exception):
            undo()


def exit_now(status: int, ended: Iterable[Any] = ()) -> NoReturn:
    """
    End the process at once with this status. Flushes what was printed and logged, unless that takes too long.

    Args:
        status: The exit status.
        ended: The `workers()` that end with it: last of all, because what waited for them goes on then.
    """
    _undo_all()
    _flush()
    _terminate(ended)
    os._exit(status)


def die_by(number: signal.Signals, ended: Iterable[Any] = ()) -> NoReturn:
    """Die by this signal at once; otherwise like `exit_now`."""
    _undo_all()
    _flush()
    _terminate(ended)
    kill_self(number)
    os._exit(128 + number)  # as PID 1, which cannot die by a signal of its own (pid_namespaces(7))


def status_of_exit(error: SystemExit) -> int:
    """
    The status that a parent sees of a process that ends with `sys.exit(code)`: of a number the last 8 bits (wait(2)).

    On Windows a status has 32 bits.
    """
    if not isinstance(error.code, int):
        return int(error.code is not None)
    if not -(2**63) <= error.code < 2**63:  # more than Python passes on
        return _status(-1)
    return _status(error.code)


def status_of_signal(number: int) -> int:
    """The status that a parent sees of a process that has died by this signal, as `subprocess` counts."""
    return -int(number) if _DIES_BY_SIGNALS else _STATUSES.get(number, int(number))


def _status(code: int) -> int:
    return code & (0xFFFFFFFF if sys.platform == "win32" else 0xFF)


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
        flusher.join(_FLUSH)


# `signal` wraps these in Python code, and at the interpreter's end modules are empty: the C functions still work then.
_c_signal = sys.modules["_signal"]
_unmask = (
    functools.partial(_c_signal.pthread_sigmask, int(signal.SIG_UNBLOCK))
    if hasattr(signal, "pthread_sigmask")
    else None
)


def kill_self(
    number: int,
    *,
    # Bound now, and C functions all, for the same reason.
    kill: Callable[..., Any] = os.kill,
    getpid: Callable[[], int] = os.getpid,
    set_handler: Callable[..., Any] = _c_signal.signal,
    default: int = int(signal.SIG_DFL),
    unmask: Any = _unmask,
    statuses: Mapping[int, int] | None = None if _DIES_BY_SIGNALS else _STATUSES,
    leave: Callable[[int], NoReturn] = os._exit,
) -> None:
    """
    Send this process a signal with its default action, even from another thread or while the interpreter ends.

    On Windows: end it with the status that this signal would end it with.
    """
    if statuses is not None:
        status = statuses.get(number, number)
        leave(status - (1 << 32) if status >> 31 else status)  # `_exit` takes a C int
    try:
        set_handler(number, default)
    except ValueError:  # not the main thread: Python sets no handlers there, C does
        with contextlib.suppress(Exception):
            import ctypes  # here, because it takes 2 ms, and is needed only on this way

            ctypes.CDLL(None).signal(int(number), None)
    if unmask is not None:
        unmask((number,))
    kill(getpid(), number)
