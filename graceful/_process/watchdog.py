"""
The watchdog: a thread that hears a signal when the main thread does not, and ends the process when nothing else does.

The main thread can be deaf: a C function that releases the GIL and does not return (a long query, a key derivation) runs
no Python handler. A thread that reads the wakeup fd hears the signal all the same. So one idle thread, blocked in `poll`,
does three things: it wakes the loop for each signal, which closes the race between the interpreter's last check and
`epoll_wait`; it keeps the deadline; and when that has passed, it ends the process.

It wakes while the main thread reacts to the same signal, and at each of its system calls the GIL may go to the other
thread. So it makes few of them: it reads once, all that has come by then, and keeps the deadline after the run itself
(see `after_run`), instead of starting another thread for that. This saves a quarter of the time in which an idle program
reacts. The thread is started with `_thread`, because `threading` waits for it to start (0.3 ms) and would list it.

Time in which the whole process is suspended (SIGSTOP, a paused container) is nobody's fault. So during a shutdown the thread
looks twice a second, and the deadline moves by what was lost.

What was tried instead: `faulthandler.dump_traceback_later(exit=True)` needs no GIL, but its timer is global (pytest
has it), cannot be saved and restored, and its exit status is always 1. A timer armed in advance would cost wakeups
in an idle program. An interval timer's handler is Python again: it unblocks Python code (see `unblock`), never C.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable

from graceful._core import clock
from graceful._core.asyncio_private import watch_signal_handlers
from graceful._core.deadline import TICK, Deadline
from graceful._core.settings import CTRL_C
from graceful._core.state import Action, StateMachine, Trigger
from graceful._process.after_run import start_thread
from graceful._process.fork import forks

__all__ = ["Watchdog"]

#: Seconds past the deadline at which the process is ended from outside. The shutdown is over by then, or stuck.
LATE = 0.4

#: Seconds after which a main thread that has not reacted to a request is deaf.
_DEAF = 0.3


class Watchdog:
    """
    Args:
        deadline: When the process is ended; it begins to run here, if the main thread does not hear a request.
        debounce: Seconds after a signal that counted before the next one counts.
        stopping: The signals that begin the shutdown.
        is_ours: Says whether the app handles a signal now. One that the program handles is none of its business.
        on_signal: Called in the watchdog's thread for each batch of signals: wake the loop.
        on_foreign: Called in the watchdog's thread for a stopping signal that the program handles itself.
        on_expired: Called in the watchdog's thread when the deadline has passed: end the process.
        on_forced: Called in the watchdog's thread for a third Ctrl-C that a deaf main thread did not react to.

    Attributes:
        heard_at: When the first request was heard, perhaps before the main thread did; infinity: there was none.
        hurried_at: The same for the second.
    """

    def __init__(
        self,
        deadline: Deadline,
        debounce: float,
        stopping: frozenset[int],
        *,
        is_ours: Callable[[int], bool],
        on_signal: Callable[[], None],
        on_foreign: Callable[[int], None],
        on_expired: Callable[[], None],
        on_forced: Callable[[int], None],
    ) -> None:
        self._deadline = deadline
        self._stopping = stopping
        self._on_signal = on_signal
        self._is_ours = is_ours
        self._on_foreign = on_foreign
        self._on_expired = on_expired
        self._on_forced = on_forced
        # What the main thread's state machine would decide if it heard.
        self._shadow = StateMachine(debounce)
        self.heard_at = self.hurried_at = math.inf
        self._main_heard_at = self._requested_at = -math.inf
        self._previous_fds: list[int] = []
        self._reading_lock = threading.Lock()
        self._unwatch: Callable[[], None] = lambda: None
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._selector = getattr(selectors, "PollSelector", selectors.SelectSelector)()
        self._selector.register(self._reading, selectors.EVENT_READ)
        self._forks = forks()
        self._closed = False
        self._over = threading.Event()
        self._last: Callable[[], None] | None = None

    # --- called in the main thread ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep the deadline: creating the loop may take long."""
        self._deadline.begin_watch()
        start_thread(self._run)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """
        Take the wakeup fd. In the main thread, inside the running loop: uvloop sets its own when it starts to run.

        asyncio's loop takes it with each `add_signal_handler`, and so it is taken again, or nothing would be heard.
        """
        self._take_wakeup_fd()
        self._unwatch = watch_signal_handlers(loop, self._take_wakeup_fd)

    def _take_wakeup_fd(self) -> None:
        if not self._in_child():
            previous = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
            if previous not in (self._writing.fileno(), *self._previous_fds):
                self._previous_fds.append(previous)

    def detach(self) -> None:
        """Give the wakeup fd back; the deadline is kept all the same."""
        self._unwatch()
        if self._in_child():
            return
        try:
            signal.set_wakeup_fd(self._previous_fds[0] if self._previous_fds else -1)
        except OSError:  # the program has closed it meanwhile
            signal.set_wakeup_fd(-1)
        with self._reading_lock, contextlib.suppress(OSError):  # what came in the last moment, and was not read yet
            self._forward(self._reading.recv(4096))
        self._previous_fds = []
        self.deadline_changed()  # that may have been among what was read here: the thread would sleep past the deadline

    def deadline_changed(self) -> None:
        """Look at the deadline again. Safe in a signal handler and from any thread."""
        with contextlib.suppress(OSError):  # full: the thread is awake anyway; closed: it has ended
            self._writing.send(b"\0")

    def main_thread_heard(self, at: float) -> None:
        """The main thread's own handler ran for a request, `at` this time. Safe in a signal handler."""
        self._main_heard_at = at

    def stops_no_more(self, numbers: Iterable[int]) -> None:
        """These signals no longer begin the shutdown."""
        self._stopping -= frozenset(numbers)

    def run_last(self, last: Callable[[], None]) -> None:
        """Call `last` in the watchdog's thread when the run is over, or in another one if that has ended already."""
        if self._closed:
            start_thread(last)
        else:
            self._last = last

    def close(self) -> None:
        """End the thread. It is not waited for if it has something to call last; then it closes its socket by itself."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._writing.shutdown(socket.SHUT_RDWR)
        self._writing.close()
        if self._in_child():
            self._release()
        elif self._last is None:
            self._over.wait()

    def _in_child(self) -> bool:
        """Whether the process was forked meanwhile: the thread does not exist there."""
        return forks() != self._forks

    def _release(self) -> None:
        self._selector.close()
        self._reading.close()

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._watch()
        finally:
            self._release()
            self._over.set()
        if self._last is not None:
            self._last()

    def _watch(self) -> None:
        while (left := self._deadline.watch(LATE)) > 0:
            self._selector.select(None if left == math.inf else min(left, TICK))
            try:
                with self._reading_lock:
                    numbers = self._reading.recv(4096)
                    self._forward(numbers)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not numbers:
                return
            self._hear(numbers.replace(b"\0", b""))
        if not self._closed:
            self._on_expired()

    def _hear(self, numbers: bytes) -> None:
        if not numbers:
            return
        with contextlib.suppress(Exception):  # of a user's own loop; the deadline is kept all the same
            self._on_signal()
        stopping = [number for number in numbers if number in self._stopping]
        requests = [number for number in stopping if self._is_ours(number)]
        for number in dict.fromkeys(stopping):
            if number not in requests:
                self._on_foreign(number)
        if requests:
            self._request(requests)

    def _request(self, requests: list[int]) -> None:
        now, before = clock.now(), self._requested_at
        self.heard_at, self._requested_at = min(now, self.heard_at), now
        # The main thread fixes it, too, as soon as it hears; a deaf one never does.
        self._deadline.request_heard(now)
        interrupts = [number for number in requests if number in CTRL_C]
        action = self._shadow.decide(Trigger.INTERRUPT if interrupts else Trigger.SIGNAL, now)
        if action is Action.HURRY:
            self.hurried_at = now
            if self._main_is_deaf(before, now):
                self._deadline.hurry_heard(now)
        elif action is Action.FORCE and self._main_is_deaf(before, now):
            self._on_forced(interrupts[-1])

    def _main_is_deaf(self, before: float, now: float) -> bool:
        """
        Whether the main thread does not react to the request of `now`, and the last one was `before`.

        Either thread may be the first to read the clock for a request, and near the end of the debounce it may count in one and
        not in the other. A main thread that reacts has decided: it need not be what the shadow has.
        """
        time.sleep(_DEAF)
        return self._main_heard_at < (before + now) / 2

    def _forward(self, numbers: bytes) -> None:
        """
        To whatever had the wakeup fd before: handlers that a loop factory set on its loop go on working.

        On Windows that is the proactor loop, which has no handlers, and is woken by `on_signal`; and a socket is not a
        descriptor that `os.write` could take.
        """
        if sys.platform != "win32" and (numbers := numbers.replace(b"\0", b"")):
            for fd in self._previous_fds:
                with contextlib.suppress(OSError):
                    os.write(fd, numbers)
