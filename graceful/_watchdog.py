"""
The watchdog: a thread that hears a signal when the main thread does not, and ends the process when nothing else does.

The main thread can be deaf: a C function that releases the GIL and does not come back (a long query, a key
derivation) runs no Python handler. A thread that reads the wakeup fd hears the signal all the same. So one idle thread,
blocked in `poll`, does three things: it wakes the loop for each signal, which closes the race between the
interpreter's last check and `epoll_wait`; it keeps the deadline; and when that has passed it ends the process.

It wakes while the main thread reacts to the same signal, and with each system call of the one the GIL goes to the other.
So it makes few of them: it reads once, all that has come by then, and what is to be done after the run (see `_exit`) it
does itself, where another thread would have to be started. That was a quarter of the time in which an idle program
reacts. It is none of `threading`'s, which are waited for when they start, and would be seen after the run.

What was tried instead: `faulthandler.dump_traceback_later(exit=True)` needs no GIL, but its timer is global (pytest
has it), cannot be saved and restored, and its exit status is always 1. A timer armed in advance would cost wakeups
in an idle program. An interval timer's handler is Python again: it unblocks Python code (see `_alarm`), never C.
"""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable

from graceful._budget import HURRY
from graceful._machine import Action, Machine, Sighting
from graceful._model import Settings
from graceful._signals import forks

__all__ = ["LATE", "Watchdog"]

#: Seconds past the deadline at which the process is ended from outside. The road itself is over by then, or stuck.
LATE = 0.4

#: Seconds after which a main thread that has not followed a third request is deaf.
_DEAF = 0.3

#: Seconds for which it sleeps at most before it looks again; `poll` takes milliseconds, as a C int.
_DAY = 86400.0


class Watchdog:
    """
    Args:
        heard: Called in the watchdog's thread for each batch of signals: wake the loop.
        expired: Called in the watchdog's thread when the deadline has passed: end the process.
        forced: Called in the watchdog's thread for a third request that a deaf main thread did not follow.
        stopping: The signals that start the grace, for a main thread that does not hear them.
        settings: Grace and debounce.

    Attributes:
        heard_at: When the first request was heard (`time.monotonic`), before the main thread perhaps; infinity: none was.
        hurried_at: The same of the second.
        main_heard_at: When the main thread heard one last.
    """

    def __init__(
        self,
        heard: Callable[[], None],
        expired: Callable[[], None],
        forced: Callable[[int], None],
        stopping: frozenset[int],
        settings: Settings,
    ) -> None:
        self._heard = heard
        self._expired = expired
        self._forced = forced
        # What the main thread's machine would decide if it heard.
        self._shadow = Machine(settings.debounce)
        self._stopping = stopping
        self._grace = settings.grace
        self._deadline = math.inf
        self.heard_at = self.hurried_at = math.inf
        self.main_heard_at = -math.inf
        self._previous = -1
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._selector = getattr(selectors, "PollSelector", selectors.SelectSelector)()
        self._selector.register(self._reading, selectors.EVENT_READ)
        self._forks = forks()
        self._closed = False
        self._over = threading.Event()
        self._last: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to keep the deadline; what makes the loop may take long."""
        _thread.start_new_thread(self._watch, ())

    def attach(self) -> None:
        """Take the wakeup fd. In the main thread, inside the running loop: uvloop sets its own when it starts to run."""
        self._previous = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)

    def detach(self) -> None:
        """Give the wakeup fd back; the deadline is kept all the same."""
        if not self._in_child():
            signal.set_wakeup_fd(self._previous)
        self._previous = -1

    def arm(self, deadline: float) -> None:
        """End the process `LATE` seconds after `deadline` (`time.monotonic`), or before. Safe in a signal handler."""
        self._deadline = min(deadline, self._deadline)
        self._nudge()

    def suspect(self) -> None:
        """A request was made that the main thread may not hear: the grace begins now, if it has not."""
        if self._deadline == math.inf:
            self.arm(time.monotonic() + self._grace)

    def hand_over(self, last: Callable[[], None]) -> None:
        """Have `last` called in this thread when the run is over, or in one of its own if it is over already."""
        if self._closed:
            _thread.start_new_thread(last, ())
        else:
            self._last = last

    def close(self) -> None:
        """Disarm, and end the thread; it is not waited for if it was handed something, and closes its end by itself."""
        self._closed = True
        self._deadline = math.inf
        with contextlib.suppress(OSError):
            self._writing.shutdown(socket.SHUT_RDWR)
        self._writing.close()
        if self._in_child():
            self._release()
        elif self._last is None:
            self._over.wait()

    def _in_child(self) -> bool:
        """Whether the process was forked meanwhile: the thread is not there."""
        return forks() != self._forks

    def _release(self) -> None:
        self._selector.close()
        self._reading.close()

    def _nudge(self) -> None:
        with contextlib.suppress(OSError):  # full: the thread is awake anyway; closed: nobody is left to wake
            self._writing.send(b"\0")

    def _watch(self) -> None:
        try:
            self._keep_watch()
        finally:
            self._release()
            self._over.set()
        if self._last is not None:
            self._last()

    def _keep_watch(self) -> None:
        while (left := self._deadline + LATE - time.monotonic()) > 0:
            self._selector.select(None if left == math.inf else min(left, _DAY))
            try:
                numbers = self._reading.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not numbers:
                return
            self._hear(numbers.replace(b"\0", b""))
        self._expired()

    def _hear(self, numbers: bytes) -> None:
        if not numbers:
            return
        self._forward(numbers)
        with contextlib.suppress(Exception):  # of a loop of somebody's own; the deadline is kept all the same
            self._heard()
        requests = [number for number in numbers if number in self._stopping]
        if not requests:
            return
        # Does the main thread arm it, too? Yes, as soon as it hears; a deaf one never does.
        now = time.monotonic()
        self.heard_at = min(now, self.heard_at)
        if self._deadline == math.inf:
            self._deadline = now + self._grace
        action = self._shadow.decide(Sighting.SIGNAL, now)
        if action is Action.HURRY:
            self.hurried_at = now
            time.sleep(_DEAF)  # one that hears has decided by now
            if self.main_heard_at < now:
                self._deadline = min(now + HURRY, self._deadline)
        elif action is Action.FORCE:
            time.sleep(_DEAF)  # one that hears has died by now
            self._forced(requests[-1])

    def _forward(self, numbers: bytes) -> None:
        """To whoever had the wakeup fd before: handlers that a loop factory set on its loop go on working."""
        if self._previous != -1:
            with contextlib.suppress(OSError):
                os.write(self._previous, numbers)
