"""How to end the process at once: with a status, or by a signal. `process_guard` and `after_run` say when."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["EX_SOFTWARE", "die_by", "exit_now", "flush_stdio", "kill_self", "status_of_exit"]

#: sysexits.h: an internal software error. The exit status 70 of a process that could not end by itself in time.
EX_SOFTWARE = 70

#: Seconds that flushing may take: it may be what is stuck.
_FLUSH = 0.3


def flush_stdio() -> None:
    """
    Do what Python does as soon as the script has ended: flush stdout and stderr.

    It may block for ever where nobody reads. Errors are dropped here, because Python raises them again at the end.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def exit_now(status: int) -> NoReturn:
    """End the process at once with this status. Flushes what was printed and logged, unless that takes too long."""
    _flush()
    os._exit(status)


def die_by(number: signal.Signals) -> NoReturn:
    """Die by this signal at once. Flushes what was printed and logged, unless that takes too long."""
    _flush()
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
) -> None:
    """Send this process a signal with its default action, even from another thread or while the interpreter ends."""
    try:
        set_handler(number, default)
    except ValueError:  # not the main thread: Python sets no handlers there, C does
        with contextlib.suppress(Exception):
            import ctypes  # here, because it takes 2 ms, and is needed only on this way

            ctypes.CDLL(None).signal(int(number), None)
    if unmask is not None:
        unmask((number,))
    kill(getpid(), number)
