"""
The ways to run a program and to stop it, each in a fresh process.

The checks ask for these runs. A run that several checks look at is made once.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace

from graceful._core.clock import now
from graceful._doctor.ending import Ending
from graceful._doctor.family import wait_until
from graceful._doctor.load import Load
from graceful._doctor.notify import WATCHDOG, NotifySocket
from graceful._doctor.processes import Process, process
from graceful._doctor.readiness import connect
from graceful._doctor.request import Request
from graceful._doctor.subject import CannotStartError, NotReadyError, Subject, started

__all__ = ["LoadRun", "LoopRun", "NotPossibleError", "RestartRun", "Runs"]

#: Seconds between the SIGINT of a terminal and the one that a wrapper forwards.
ECHO = 0.05
#: Seconds to wait for a process to be stopped.
SUSPENDED = 1.0
#: Seconds for which a program goes on, so that it comes to write what it wrote in a run that was a little quicker.
LATER = 1.0
#: When a signal comes during the startup, as parts of the time that the startup takes.
EARLY = (0.0, 0.25, 0.5, 0.75)
#: A shell loop around the program. It opens the terminal that its stdout is: a session leader gets it as its controlling
#: terminal by that (tty_ioctl(4)), and only then Ctrl-C is a signal. It counts the runs in a file.
LOOP = """
exec 3>&1; terminal=$(tty <&3); exec <>"$terminal" 3>&-
for i in 1 2; do echo >> "$TMPDIR/runs"; "$@"; done
"""
CTRL_C = b"\x03"
#: The statuses of a shell whose command cannot be executed, or is not found (XCU, 2.8.2).
NOT_RUN = {126, 127}


class NotPossibleError(Exception):
    """The run is not possible on this machine or with this program. The message says why."""


@dataclass(frozen=True)
class LoopRun:
    """Ctrl-C in a shell loop: how often the program was started, whether the loop has ended, and after how many seconds."""

    runs: int
    ended: bool
    took: float


@dataclass(frozen=True)
class LoadRun:
    """
    An ending under load.

    Attributes:
        ending: How the program ended.
        status: The exit status of the load; `None`: it did not end.
        early: Whether the load had ended before the signal.
        last_line: What the load wrote last.
    """

    ending: Ending
    status: int | None
    early: bool
    last_line: str


@dataclass(frozen=True)
class RestartRun:
    """
    An ending while clients are connected, and the start after it.

    Attributes:
        ending: How the first process ended.
        ports: Where clients were connected.
        ready_after: The seconds that the second process took to be ready; `None`: it was not.
        reason: Why it was not.
    """

    ending: Ending
    ports: tuple[int, ...]
    ready_after: float | None
    reason: str


class Runs:
    """
    The runs of one program.

    Args:
        request: What was asked for.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        # Bound here because `functools.cache` on a method would keep every `Runs` for ever.
        self.stopped = functools.cache(self._stopped)
        self.ready_after = functools.cache(self._ready_after)
        self.restarted = functools.cache(self._restarted)

    def _ready_after(self) -> float:
        """Start it; returns the seconds until it was ready. It is asked to stop then, as by every run."""
        with started(self.request) as subject:
            return subject.wait_ready()

    def _stopped(self, number: signal.Signals, grace: float | None = None) -> Ending:
        """Send one signal when it is ready."""
        with started(self.request) as subject:
            subject.wait_ready()
            subject.send(number)
            return subject.ending(grace)

    def early(self, share: float) -> tuple[float, Ending]:
        """Send the signal after this part of its startup; returns the seconds after which it came, and the ending."""
        delay = share * self.ready_after()
        with started(self.request) as subject:
            wait_until(subject.has_ended, delay)
            subject.send(self.request.signal)
            return delay, subject.ending()

    def interrupted(self) -> Ending:
        """Send one Ctrl-C as a terminal does, to the process group."""
        with started(self.request) as subject:
            subject.wait_ready()
            subject.send_to_group(signal.SIGINT)
            return subject.ending()

    def doubled(self) -> Ending:
        """Send one Ctrl-C that arrives twice: from the terminal to the process group, and from a wrapper to the process."""
        with started(self.request) as subject:
            subject.wait_ready()
            subject.send_to_group(signal.SIGINT)
            time.sleep(ECHO)
            subject.send(signal.SIGINT)
            return subject.ending()

    def on_terminal(self) -> Ending:
        """Send the signal while stdout is a terminal."""
        with started(self.request, terminal=True) as subject:
            subject.wait_ready()
            subject.send(self.request.signal)
            return subject.ending()

    def unbuffered(self) -> Ending:
        """Send the signal while stdout is a pipe for which the runtimes of Python and C are told to keep no buffer."""
        stdbuf = shutil.which("stdbuf")  # it becomes the program
        wrapper = () if stdbuf is None else (stdbuf, "-oL")
        request = replace(self.request, command=(*wrapper, *self.request.command))
        with started(request, environment={"PYTHONUNBUFFERED": "1"}) as subject:
            subject.wait_ready()
            subject.send(self.request.signal)
            return subject.ending()

    def later(self) -> Ending:
        """Send the signal only `LATER` seconds after it was ready."""
        with started(self.request) as subject:
            subject.wait_ready()
            wait_until(subject.has_ended, LATER)
            subject.send(self.request.signal)
            return subject.ending()

    def looped(self) -> LoopRun:
        """Press Ctrl-C on a terminal on which a shell loop runs it."""
        wrapper = [_tool("bash"), "-c", LOOP, "bash"]
        with started(self.request, wrapper=wrapper, terminal=True) as subject:
            subject.wait_ready()
            subject.press(CTRL_C)
            since = now()
            wait_until(lambda: _runs(subject) > 1 or subject.has_ended(), self.request.grace)
            run = LoopRun(_runs(subject), subject.has_ended(), now() - since)
            if run.runs > 1:
                subject.stop(again=True)
            return run

    def as_pid_1(self) -> Ending:
        """Send the signal while it is PID 1 of a namespace, as in a container."""
        with started(self.request, wrapper=_unshare()) as subject:
            subject.wait_ready()
            subject.send(self.request.signal)
            return subject.ending()

    def with_child_stopped(self) -> tuple[Process, Ending]:
        """Send the signal while one of its children hangs; returns the child and the ending."""
        with started(self.request) as subject:
            subject.wait_ready()
            children = subject.children()
            if not children:
                raise NotPossibleError("it has no child processes")
            _suspend(children[0])
            subject.send(self.request.signal)
            return children[0], subject.ending()

    def with_stdout_closed(self) -> Ending:
        """Send the signal while stdout is a pipe without a reader."""
        with started(self.request) as subject:
            subject.wait_ready()
            subject.stdout.close_reader()
            subject.send(self.request.signal)
            return subject.ending()

    def with_stdout_full(self) -> Ending:
        """Send the signal while stdout is a pipe that is full and not read."""
        with started(self.request) as subject:
            subject.wait_ready()
            subject.stdout.fill()
            subject.send(self.request.signal)
            return subject.ending()

    def notified(self) -> list[str]:
        """Run it with a notify socket; returns what it sent until its end."""
        with tempfile.TemporaryDirectory() as folder, NotifySocket.bound_in(folder) as notify:
            with started(self.request, environment=notify.environment) as subject:
                subject.wait_ready()
                if notify.wait_for("READY=1", 0.1):
                    notify.wait_for("WATCHDOG=1", WATCHDOG)
                subject.send(self.request.signal)
                subject.ending()
            return notify.said()

    def under_load(self) -> LoadRun:
        """
        Send the signal while the load runs.

        Raises:
            CannotStartError: The load is no command that can be run.
        """
        if self.request.load is None:
            raise NotPossibleError("no --load COMMAND")
        with started(self.request) as subject:
            subject.wait_ready()
            with Load.running(self.request.load) as load:
                subject.leave_out(load.pid)
                early = load.wait(min(1.0, self.request.grace / 4)) is not None
                subject.send(self.request.signal)
                ending = subject.ending()
                status = load.wait(self.request.grace)
                if status in NOT_RUN:
                    raise CannotStartError(f"--load {self.request.load}: {load.last_line()}")
                return LoadRun(ending, status, early, load.last_line())

    def _restarted(self) -> RestartRun:
        """
        Send the signal while a client is connected, then start it again at once.

        Without the client the port would always be free. A connection that the server closes first stays in TIME_WAIT for
        a minute, and without SO_REUSEADDR nothing can bind to its port meanwhile.
        """
        with started(self.request) as subject:
            subject.wait_ready()
            with contextlib.ExitStack() as clients:
                connected = {port: connect(port) for port in sorted(subject.ports())}
                for client in filter(None, connected.values()):
                    clients.enter_context(client)
                subject.wait_accepted(port for port, client in connected.items() if client is not None)
                subject.send(self.request.signal)
                ending = subject.ending()
            ports = tuple(port for port, client in connected.items() if client is not None)
            try:
                return RestartRun(ending, ports, None if ending.status is None else self._ready_after(), "")
            except NotReadyError as error:
                return RestartRun(ending, ports, None, str(error))


def _runs(subject: Subject) -> int:
    with open(os.path.join(subject.folder, "runs"), encoding="utf-8") as file:
        return len(file.readlines())


def _suspend(child: Process) -> None:
    """
    Make this process hang.

    SIGSTOP alone is not enough: of several pending signals the kernel delivers the lowest first (signal(7)), so that a SIGTERM
    from the program would still end a child that has not run since.
    """
    try:
        os.kill(child.pid, signal.SIGSTOP)
    except PermissionError:
        raise NotPossibleError(f"its child {child.name} runs as another user, and may not be signalled") from None
    except ProcessLookupError:
        raise NotPossibleError(f"its child {child.name} has ended by itself") from None
    wait_until(lambda: (found := process(child.pid)) is None or found.state == "T", SUSPENDED)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotPossibleError(f"{name} is not installed")
    return found


def _unshare() -> list[str]:
    """The wrapper that makes the program PID 1 of a namespace; without root, of one inside a user namespace."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    wrapper = [_tool("unshare"), *user, "--pid", "--fork", "--kill-child", "--mount-proc"]
    tried = subprocess.run([*wrapper, "true"], check=False, capture_output=True, text=True)
    if tried.returncode:
        raise NotPossibleError(tried.stderr.strip() or f"unshare exits with {tried.returncode}")
    return wrapper
