"""One process of the program under examination: its start, its readiness and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graceful._core.clock import now
from graceful._doctor.ending import Ending, told
from graceful._doctor.family import Family, wait_until
from graceful._doctor.output import Output
from graceful._doctor.processes import Process, catches, connected_ports, listening_ports, shared_memory
from graceful._doctor.request import Request

__all__ = ["CannotStartError", "NotPermittedError", "NotReadyError", "Subject", "started"]

#: Seconds that children may still need to end after the program; never more than a quarter of the grace.
AFTERMATH = 1.0
#: Seconds in which the last output of a program that has ended arrives, unless a child has the pipe open.
LAST_WORDS = 1.0
#: Seconds to wait for a connection to be accepted.
ACCEPTED = 1.0


class CannotStartError(Exception):
    """The command does not name a program that can be run."""


class NotReadyError(Exception):
    """The program ended, or the time was over, before it was ready."""


class NotPermittedError(Exception):
    """The program runs as another user, and may not be signalled."""


@dataclass(frozen=True)
class Streams:
    """What the program writes to."""

    stdout: Output
    stderr: Output
    since: float

    def begin(self) -> None:
        """Begin to read."""
        self.stdout.begin()
        self.stderr.begin()

    def close(self) -> None:
        """Give the descriptors back, once all that wrote to them is gone."""
        self.stdout.close()
        self.stderr.close()

    def wait(self, timeout: float) -> None:
        """Wait until all that could write is gone."""
        deadline = now() + timeout
        for output in (self.stdout, self.stderr):
            output.wait(max(0.0, deadline - now()))

    def errors(self) -> str:
        """What was written to stderr."""
        return self.stderr.text()

    def text(self) -> str:
        """What was written to both."""
        return self.stdout.text() + self.stderr.text()

    def quiet_for(self) -> float:
        """The seconds since something was written to either of them, or since the start."""
        return now() - max(self.since, self.stdout.wrote_at(), self.stderr.wrote_at())


@dataclass(frozen=True)
class Used:
    """What the program and its children had in use when it was ready."""

    ports: frozenset[int] = frozenset()
    memory: frozenset[str] = frozenset()


@contextlib.contextmanager
def started(
    request: Request,
    *,
    wrapper: Sequence[str] = (),
    terminal: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Generator[Subject]:
    """
    A fresh process of the program, in a session of its own and with a TMPDIR of its own, for the duration of a block.

    At the end of the block it is asked to stop, if it was not yet, because one that is killed may leave a lock or a socket, and
    not start again. What has not ended then is killed, with everything it has started.

    Args:
        wrapper: A command that is started instead, and is given the program and its arguments.
        terminal: Whether stdout is a pseudo-terminal.
        environment: Further variables.

    Raises:
        CannotStartError: There is no such program, or it must not be run.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="doctor-", ignore_cleanup_errors=True))
        watch = request.ready.watch()
        family = Family()
        streams = Streams(Output(terminal=terminal), Output(), now())
        stack.callback(streams.close)
        process = _spawn([*wrapper, *request.command], streams, {"TMPDIR": folder, **(environment or {})})
        stack.callback(family.kill, process)
        streams.begin()
        subject = Subject(request, process, family, streams, lambda: watch(streams), folder, wrapped=bool(wrapper))
        try:
            yield subject
        except Exception:
            subject.stop()
            raise
        subject.stop()


def _spawn(command: Sequence[str], streams: Streams, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=streams.stdout.write_end,
            stderr=streams.stderr.write_end,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise CannotStartError(f"{command[0]}: {error.strerror}") from error


class Subject:
    """
    A process of the program, made by `started`.

    Attributes:
        folder: Its TMPDIR.
        stdout: The stream that its stdout is.
    """

    def __init__(
        self,
        request: Request,
        process: subprocess.Popen[bytes],
        family: Family,
        streams: Streams,
        is_ready: Callable[[], bool],
        folder: str,
        *,
        wrapped: bool,
    ) -> None:
        self.folder = folder
        self.stdout = streams.stdout
        self._request = request
        self._process = process
        self._family = family
        self._streams = streams
        self._is_ready = is_ready
        self._wrapped = wrapped
        self._used = Used()
        self._asked_at = now()
        self._is_asked = False
        self._caught: bool | None = None

    def wait_ready(self) -> float:
        """
        Wait until it is ready; returns the seconds since its start.

        Raises:
            NotReadyError: It ended first, or the time is over.
            NotPermittedError: It may not be signalled.
        """
        ready, timeout = self._request.ready, self._request.ready_timeout
        wait_until(lambda: self.has_ended() or self._is_ready(), timeout)
        if self.has_ended():
            self._streams.wait(LAST_WORDS)
            status = self._process.returncode
            hint = "" if status else ", and it has to stay in the foreground"
            raise NotReadyError(f"it ended before it was ready: {told(status)}{hint}{self._last_words()}")
        if not self._is_ready():
            missed = ready.missed() if self._streams.text() else ""
            raise NotReadyError(f"it was not ready after {timeout:g} s{missed}{self._last_words()}")
        self._signal(os.kill, self._target(), 0)  # 0 is sent to nobody, but it is checked whether it might be (kill(2))
        pids = [member.pid for member in self._family.members()]
        self._used = Used(listening_ports(pids), shared_memory(pids))
        return now() - self._streams.since

    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def ports(self) -> frozenset[int]:
        """The TCP ports at which it accepted connections when it was ready."""
        return self._used.ports

    def wait_accepted(self, ports: Iterable[int]) -> None:
        """Wait until it has accepted a connection at each of these ports, but not long: it may be too busy to."""
        wanted = {*ports}
        wait_until(lambda: wanted <= connected_ports(member.pid for member in self._family.members()), ACCEPTED)

    def children(self) -> list[Process]:
        """Its descendants, parents before their children."""
        return [member for member in self._family.members() if member.pid != self._process.pid]

    def leave_out(self, pid: int) -> None:
        """Do not count this child of the doctor and what it starts."""
        self._family.leave_out(pid)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal. The grace begins with the first one."""
        self._asked(number)
        self._signal(os.kill, self._target(), number)

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to its process group, as a terminal does. The grace begins with the first one."""
        self._asked(number)
        self._signal(os.killpg, self._process.pid, number)

    def press(self, keys: bytes) -> None:
        """Type these on its terminal. The grace begins."""
        self._asked_at = now()
        self._is_asked = True
        self.stdout.press(keys)

    def stop(self, *, again: bool = False) -> None:
        """
        Ask it to stop, and wait for the grace at most.

        Args:
            again: Also if it has been asked before, as where a loop has started it once more.
        """
        if self.has_ended() or (self._is_asked and not again):
            return
        with contextlib.suppress(NotPermittedError):
            self.send(self._request.signal)
            wait_until(self.has_ended, self._request.grace)

    def ending(self, grace: float | None = None) -> Ending:
        """
        Wait until it has ended, and look at what it has left.

        Args:
            grace: The seconds from the signal for which to wait; `None`: those that were asked for.
        """
        allowed = self._request.grace if grace is None else grace
        ended = wait_until(self.has_ended, self._asked_at + allowed - now())
        took = now() - self._asked_at
        if not ended:
            return self._described(None, took, [])
        wait_until(lambda: not self._family.members(), min(AFTERMATH, allowed / 4))
        left = self._family.members()
        self._streams.wait(0.1 if left else LAST_WORDS)
        return self._described(self._process.returncode, took, left)

    def _described(self, status: int | None, took: float, left: list[Process]) -> Ending:
        ended = status is not None
        return Ending(
            status=status,
            took=took,
            caught=self._caught,
            stdout=self.stdout.text(),
            stderr=self._streams.errors(),
            left=tuple(f"{member.name} ({member.pid})" for member in left),
            ports=tuple(sorted(self._used.ports & listening_ports(member.pid for member in left))),
            memory=tuple(sorted(filter(os.path.exists, self._used.memory))) if ended else (),
            files=tuple(sorted(os.listdir(self.folder))) if ended else (),
        )

    def _asked(self, number: signal.Signals) -> None:
        if not self._is_asked:
            self._caught = catches(self._target(), number)
            self._asked_at = now()
            self._is_asked = True

    def _signal(self, send: Callable[[int, int], None], pid: int, number: int) -> None:
        try:
            send(pid, number)
        except ProcessLookupError:
            pass  # it has ended by itself
        except PermissionError:
            raise NotPermittedError(
                f"process {self._process.pid} runs as another user, so it may not be signalled, and goes on: end it yourself, "
                "and run the doctor as that user or as root"
            ) from None

    def _target(self) -> int:
        """The process that the signals are for: what the wrapper has started, if there is one."""
        if not self._wrapped:
            return self._process.pid
        started_by_it = [child.pid for child in self.children() if child.parent == self._process.pid]
        return started_by_it[0] if started_by_it else self._process.pid

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._streams.text().splitlines() if line.strip()]
        return f"; it wrote last: {lines[-1]}" if lines else "; it wrote nothing: is its output buffered?"
