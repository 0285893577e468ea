"""
The service manager: tells systemd how a run is doing, by the protocol of sd_notify(3), and that its loop turns.

`READY=1` when the startup is over. `STOPPING=1` before the first hook of the shutdown, or when the owner of the process
is told to stop. `STATUS=` says what `systemctl status` shows. `RELOADING=1` when an `on_signal` hook for SIGHUP begins,
and `READY=1` when none of them runs any more. `WATCHDOG=1` at half of `WatchdogSec=`.

A shutdown that is longer than `TimeoutStopSec=` is not killed while it makes progress: the loop turns, and the app's own
deadline has not passed. Whether hooks and tasks end in time is the deadline's business, so it is not judged again here.
Each second, time is asked for until a little after the next such message, and never the whole grace at once: a longer
timeout cannot be taken back, systemd moves its watchdog by the same amount, and a blocked loop would have all of it.

All messages come from the loop. A thread would go on telling that all is well when the loop is blocked.

Nothing here waits, and nothing is raised: systemd may be busy, or its socket gone. What finds the socket full is sent
again.

After `STOPPING=1` systemd expects the process to end, and kills one that does not. So only a run in the main thread
tells, and of several that are inside each other the outermost.

What a server does is not seen here. uvicorn binds its sockets after the startup, and dies by SIGTERM if the app has
failed, which systemd takes for success, as any death by SIGTERM: `Restart=always` restarts it then, and `systemctl stop`
is final all the same.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque

from graceful._core import clock
from graceful._core.budget import FORCED
from graceful._core.deadline import Deadline
from graceful._core.settings import NotifyVariables
from graceful._core.types import Event, EventKind, Verdict

__all__ = ["ServiceManager"]

#: Seconds between two messages of a shutdown.
_EVERY = 1.0

#: Seconds by which such a message may be late, on a busy machine.
_LATE = 3.0

#: Seconds after which a failed reload has either stopped the program or was dealt with.
_DEALT_WITH = 0.5

#: Seconds after which what found the socket full is sent again.
_AGAIN = 0.1

#: Characters of a status at most. systemd ignores a message of more than 4096 bytes.
_LONGEST = 800


class ServiceManager:
    """
    Told of each event, it tells the service manager.

    Args:
        variables: Where it listens, and how often it wants to hear from the loop.
        deadline: When the shutdown must be over.
        loop: The running loop.
    """

    def __init__(self, variables: NotifyVariables, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self._address = variables.address
        self._watchdog = variables.watchdog
        self._deadline = deadline
        self._loop = loop
        self._socket: socket.socket | None = None
        self._unsent: deque[bytes] = deque(maxlen=16)
        self._stopping = False
        self._reloads: list[str] = []
        self._failed_reload = ""
        self._next_beat: asyncio.TimerHandle | None = None
        self._next_try: asyncio.TimerHandle | None = None
        self._beat()

    def __call__(self, event: Event) -> None:
        """An event has happened."""
        match event.kind:
            case EventKind.STARTED:
                self._send(_status("starting"))
            case EventKind.HOOK_BEGAN if event.stage == "startup":
                self._send(_status(f"starting: {event.hook}"))
            case EventKind.READY:
                self._send("READY=1", _status("running"))
            case EventKind.ANNOUNCED | EventKind.STOPPING:
                self._stop(event)
            case EventKind.HURRIED:
                self._beat()
            case EventKind.WAITING:
                names = "; ".join(event.running) or "nothing that can be named"
                left = self._deadline.remaining()
                self._send(_status(f"stopping ({event.cause}), {left:.0f} s left, waiting for {names}"))
            case EventKind.HOOK_BEGAN | EventKind.HOOK_ENDED if (
                event.signal is not None and event.signal.name == "SIGHUP"
            ):
                self._reload(event)
            case _:
                pass

    def close(self) -> None:
        """The run is over. What is left to the process is to end, and the deadline sees to that."""
        if self._stopping:
            self._send(*self._signs_of_life(self._deadline.remaining() + FORCED))
        for timer in (self._next_beat, self._next_try):
            if timer is not None:
                timer.cancel()
        if self._socket is not None:
            self._socket.close()

    # --- signs of life ---------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Tell that the loop turns, and again in time. Before the shutdown only if there is a watchdog."""
        if self._next_beat is not None:
            self._next_beat.cancel()
        every = min(self._watchdog / 2, _EVERY if self._stopping else math.inf)
        if every < math.inf:
            self._next_beat = self._loop.call_later(every, self._beat)
            self._send(*self._signs_of_life(min(every + _LATE, self._deadline.remaining() + FORCED)))

    def _signs_of_life(self, seconds: float) -> list[str]:
        """That the loop turns; and for how many seconds the shutdown may be silent, whatever `TimeoutStopSec=` says."""
        signs = ["WATCHDOG=1"] if self._watchdog < math.inf else []
        if self._deadline.stopping:
            signs.append(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")
        return signs

    # --- stopping and reloading ------------------------------------------------------------------------------------

    def _stop(self, event: Event) -> None:
        """The shutdown begins, perhaps after it was announced."""
        self._stopping = True
        self._send("STOPPING=1", _status(f"stopping ({event.cause})"))
        self._beat()

    def _reload(self, event: Event) -> None:
        """A hook for SIGHUP has begun or ended; several may run, and each of them once more for a signal in between."""
        if self._stopping:
            return
        if event.hook is not None:
            self._reloads.append(event.hook)
            self._failed_reload = ""
            now = f"MONOTONIC_USEC={clock.microseconds()}"
            self._send("RELOADING=1", now, _status(f"reloading: {', '.join(self._reloads)}"))
        elif event.outcome is not None and event.outcome.hook in self._reloads:
            self._reloads.remove(event.outcome.hook)
            if event.outcome.verdict is not Verdict.OK:
                self._failed_reload = event.outcome.hook
            # Not now: another hook for the same signal may be about to begin, or the failure about to stop the program.
            self._loop.call_later(_DEALT_WITH if self._failed_reload else 0.0, self._reloaded)

    def _reloaded(self) -> None:
        """Unless another hook has begun meanwhile, or the shutdown."""
        if not self._reloads and not self._deadline.stopping:
            failed = f"; {self._failed_reload} failed" if self._failed_reload else ""
            self._send("READY=1", _status(f"running{failed}"))

    # --- sending ---------------------------------------------------------------------------------------------------

    def _send(self, *assignments: str) -> None:
        if assignments:
            self._unsent.append("\n".join(assignments).encode(errors="replace"))
            self._send_all()

    def _send_all(self) -> None:
        """Without waiting: what finds the socket full stays, in order; what finds none is given up."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            while self._unsent:
                self._socket.sendto(self._unsent[0], self._address)
                self._unsent.popleft()
        except BlockingIOError:
            if self._next_try is None:
                self._next_try = self._loop.call_later(_AGAIN, self._try_again)
        except OSError:
            self._unsent.clear()

    def _try_again(self) -> None:
        self._next_try = None
        self._send_all()


def _status(text: str) -> str:
    """One line, and not too long."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return "STATUS=" + (line if len(line) <= _LONGEST else line[: _LONGEST - 4] + " ...")
