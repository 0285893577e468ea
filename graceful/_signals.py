"""
Signal handlers: taken for the time of a run, and given back.

What was tried, and why it is done like this:

- `loop.add_signal_handler` alone. It hears nothing while the loop is blocked; on uvloop a signal outside
  `run_forever` is lost, and after `close()` the process stays deaf to SIGTERM; on the stock loop
  `remove_signal_handler` leaves a moment with the default action, and it "restores" `default_int_handler` whatever was
  there. It also overrides an inherited SIG_IGN (`nohup`) without a word.
- `signal.signal` alone. It survives all of that, but a signal that arrives after the last check of the interpreter
  and before `epoll_wait` is noticed only when something else wakes the loop.
- `signal.pthread_sigmask`. Children inherit the blocked mask.

So: plain `signal.signal` handlers from before the loop is made until after it is closed, which only stamp and post;
and a wakeup fd of our own (see `_watchdog`) that wakes the loop. There is no moment in between.

Another thread that calls `stop()` must reach a main thread that is blocked, too. It knocks: with SIGURG, which is ignored
by default, so that a stray one harms nobody (Go's runtime preempts with it for the same reason).

A forked child must not run its parent's hooks: its handlers are reset to the default action, as `exec` would do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from types import FrameType

TYPE_CHECKING = False  # typing takes 2 ms, and from 3.14 on asyncio does without it: it is for checkers only
if TYPE_CHECKING:
    from typing import Any, Self

__all__ = [
    "SignalHandlers",
    "ask_owner",
    "default_signals",
    "forks",
    "hold",
    "in_main_thread",
    "raises_interrupt",
    "undo_in_child",
]

_KNOCK = getattr(signal, "SIGURG", None) if hasattr(signal, "pthread_kill") else None

_to_undo: set[Callable[[], None]] = set()
_forks = 0


def forks() -> int:
    """
    How often this process, or one that it descends from, was forked: it is another one if that has changed.

    Counted, because `os.getpid` is a system call; a C library that forks without telling Python is not seen.
    """
    return _forks


def undo_in_child(undo: Callable[[], None], *, over: bool = False) -> None:
    """Have `undo` called in every child that is forked from now on; `over`: no longer. Safe in a signal handler."""
    (_to_undo.discard if over else _to_undo.add)(undo)


def default_signals() -> tuple[signal.Signals, ...]:
    """What stops a program if nobody says otherwise: those of SIGINT, SIGTERM, SIGHUP and SIGBREAK there are here."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


def in_main_thread() -> bool:
    """Whether signal handlers can be set here."""
    return threading.current_thread() is threading.main_thread()


def hold(signals: Iterable[signal.Signals]) -> Callable[[], None]:
    """
    Keep these signals pending, for the milliseconds until somebody can take them: the heart is imported meanwhile.

    No way for a whole run (child processes would inherit the mask), nor in a process with other threads, where the
    kernel gives the signal to one of these.

    Returns:
        What lets them in, pending ones at once; calling it again does nothing.
    """
    if not hasattr(signal, "pthread_sigmask") or not in_main_thread():
        return lambda: None
    before = [signal.pthread_sigmask(signal.SIG_BLOCK, [])]

    def release() -> None:
        if before:
            signal.pthread_sigmask(signal.SIG_SETMASK, before.pop())

    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    except BaseException:  # a KeyboardInterrupt: handlers run in there, and by then the signals are blocked
        release()
        raise
    return release


def ask_owner() -> bool:
    """Send SIGTERM to who has taken it, as a supervisor would: the server that owns this process. Whether there is one."""
    taken = in_main_thread() and callable(signal.getsignal(signal.SIGTERM))
    if taken:
        signal.raise_signal(signal.SIGTERM)
    return taken


def raises_interrupt(handler: object) -> bool:
    """Whether this handler of SIGINT may raise KeyboardInterrupt in whatever runs: Python's own, or `asyncio.run`'s."""
    method = getattr(getattr(handler, "func", None), "__func__", None)
    return handler is signal.default_int_handler or method is asyncio.Runner._on_sigint  # type: ignore[attr-defined]


class SignalHandlers:
    """
    Context manager that takes signals and gives them back.

    Args:
        wanted: The signals that stop. One that is ignored now (inherited from `nohup` or `sh -c 'app &'`) stays so.
        explicit: The signals that are taken even if they are ignored.
        sighted: Called in the main thread, between any two bytecodes, with the signal. It must only do what is safe
            there: no locks, no I/O but `os.write`.
        knocked: Called in the same way, after `knock` was called in another thread; `None`: nobody knocks.
    """

    def __init__(
        self,
        wanted: Iterable[signal.Signals],
        explicit: Iterable[signal.Signals],
        sighted: Callable[[int], None],
        knocked: Callable[[], None] | None,
    ) -> None:
        self._explicit = {*explicit}
        self._wanted = {*wanted} | self._explicit
        self._sighted = sighted
        self._knocked = knocked
        self._before: dict[signal.Signals, Any] = {}

    @property
    def taken(self) -> Mapping[signal.Signals, Any]:
        """The signals taken, each with the handler it had before."""
        return self._before

    def __enter__(self) -> Self:
        for number in sorted(self._wanted):
            before = signal.getsignal(number)
            # None: a handler that Python did not install, and so cannot restore.
            if before is None or (before == signal.SIG_IGN and number not in self._explicit):
                continue
            self._before[number] = before
            signal.signal(number, self._handle)
        if self._knocked is not None and _KNOCK is not None and signal.getsignal(_KNOCK) == signal.SIG_DFL:
            self._before[_KNOCK] = signal.SIG_DFL
            signal.signal(_KNOCK, self._hear_knock)
        undo_in_child(self.reset)
        return self

    def __exit__(self, *_: object) -> None:
        undo_in_child(self.reset, over=True)
        for number, before in reversed(self._before.items()):
            signal.signal(number, before)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._sighted(number)

    def _hear_knock(self, _number: int, _frame: FrameType | None) -> None:
        if self._knocked is not None:
            self._knocked()

    def knock(self) -> None:
        """From another thread: have `knocked` called in the main thread, even if that is blocked."""
        if _KNOCK is not None and _KNOCK in self._before:
            signal.pthread_kill(threading.main_thread().ident or 0, _KNOCK)

    def reset(self) -> None:
        """In a forked child: the default action, whatever the parent had."""
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)


def _begin_child() -> None:
    """
    Count the fork, and reset what was taken.

    On 3.11 the child would also share the parent's wakeup fd, and a signal to it would run the handler in the parent.

    May this run in a thread? Yes, and after a fork that thread is the child's main thread.
    """
    global _forks  # noqa: PLW0603 - one number for the process
    _forks += 1
    if not _to_undo:
        return
    signal.set_wakeup_fd(-1)
    for undo in _to_undo:
        undo()
    _to_undo.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
