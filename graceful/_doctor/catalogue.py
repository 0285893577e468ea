"""All checks, in the order in which they are made, with their names and cures."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from graceful._doctor import conditions, remains, signals
from graceful._doctor.processes import is_mounted
from graceful._doctor.runs import NotPossibleError, Runs
from graceful._doctor.subject import NotReadyError
from graceful._doctor.verdict import Finding, Level, Verdict

__all__ = ["CHECKS", "Check"]

#: The cure where a program that could be started before cannot be started, in any language and with this package.
START_AGAIN = (
    "remove locks, pid files and sockets in the cleanup, and let a start take over what a crash has left",
    "make them before the yield of an @app.resource, and remove them after it",
)


@dataclass(frozen=True)
class Check:
    """
    One question to a program.

    Attributes:
        name: What `--only` and the JSON call it.
        title: What the table calls it; `{signal}` is the signal that asks the program to stop.
        examine: Makes the check.
        cure: What to do about a bad finding, in any language.
        python: How to do that with this package.
        needs_proc: Whether it asks /proc.
        needs_stop: Whether it is pointless for a program that the signal does not end at all.
        about: The signal that it sends, if that is always the same one.
    """

    name: str
    title: str
    examine: Callable[[Runs], Finding]
    cure: str
    python: str
    needs_proc: bool = False
    needs_stop: bool = True
    about: signal.Signals | None = None

    def titled(self, stop: signal.Signals) -> str:
        """Its title where that signal asks the program to stop."""
        return self.title.format(signal=stop.name)

    def verdict(self, runs: Runs) -> Verdict:
        """Examine the program, which could be started before."""
        title = self.titled(runs.request.signal)
        try:
            found = self._found(runs)
        except NotReadyError as error:
            return Verdict(self.name, title, Level.FAIL, f"it did not start again: {error}", *START_AGAIN)
        if found.level in {Level.OK, Level.SKIP}:
            return Verdict(self.name, title, found.level, found.figure)
        return Verdict(self.name, title, found.level, found.figure, self.cure, self.python)

    def _found(self, runs: Runs) -> Finding:
        stop = runs.request.signal
        if self.about is stop:
            return Finding(Level.SKIP, "the same as the first check")
        if self.needs_proc and not is_mounted():
            return Finding(Level.SKIP, "/proc is not mounted")
        if self.needs_stop and runs.stopped(stop).status is None:
            return Finding(Level.SKIP, f"{stop.name} does not end it")
        try:
            return self.examine(runs)
        except NotPossibleError as reason:
            return Finding(Level.SKIP, str(reason))


# The last three leave connections in TIME_WAIT, after which a program without SO_REUSEADDR cannot be started for a minute.
# So they have to be the last three.
CHECKS = [
    Check(
        "stop",
        "{signal}",
        signals.stop,
        "limit each step of the cleanup, so that all of it fits into the grace; end what still hangs by force",
        "App(grace=...) below the supervisor's time: hooks that hang are abandoned, blocked code is unblocked",
        needs_stop=False,
    ),
    Check(
        "sigint",
        "SIGINT",
        signals.sigint,
        "handle SIGINT as SIGTERM",
        "app.run(main) takes SIGINT, SIGTERM and SIGHUP",
        needs_stop=False,
        about=signal.SIGINT,
    ),
    Check(
        "sighup",
        "SIGHUP",
        signals.sighup,
        "handle SIGHUP as SIGTERM, unless it reloads the configuration",
        "app.run(main) ends at SIGHUP; @app.on_signal(signal.SIGHUP) reloads instead",
        needs_stop=False,
        about=signal.SIGHUP,
    ),
    Check(
        "handler",
        "handler of {signal}",
        signals.handler,
        "set a handler before the first resource is acquired, and do the cleanup after it",
        "app.run(main) instead of asyncio.run(main()), and the cleanup in @app.on_shutdown",
        needs_proc=True,
        needs_stop=False,
    ),
    Check(
        "exit-status",
        "exit status",
        signals.exit_status,
        "exit with 0 or die by the signal; or tell systemd SuccessExitStatus=143 if it always exits with that",
        "app.run(main) dies by the signal, or exits with 0 if main ended by itself",
    ),
    Check(
        "startup",
        "{signal} during the start",
        signals.startup,
        "install the handler first of all, and let the signal end the startup",
        "app.run(main) cancels the startup and cleans up what was started",
    ),
    Check(
        "double-ctrl-c",
        "Ctrl-C arrives twice",
        signals.double_ctrl_c,
        "ignore a second SIGINT within half a second of the first",
        "App(debounce=0.5), the default",
        needs_stop=False,
    ),
    Check(
        "shell-loop",
        "Ctrl-C in a shell loop",
        signals.shell_loop,
        "after the cleanup restore the default action of SIGINT and send it to yourself",
        "app.run(main) dies by SIGINT; do not catch its KeyboardInterrupt",
        needs_stop=False,
    ),
    Check(
        "pid1",
        "{signal} as PID 1",
        conditions.pid_1,
        "install a handler, or run it under an init (docker run --init)",
        "app.run(main) handles the signal and exits with 128+n",
        needs_proc=True,
    ),
    Check(
        "hung-child",
        "a child hangs",
        conditions.hung_child,
        "wait for children with a limit, then send them SIGKILL",
        "start it with app.create_subprocess_exec(), which does that",
        needs_proc=True,
    ),
    Check(
        "closed-stdout",
        "stdout has no reader",
        conditions.closed_stdout,
        "ignore EPIPE in what the cleanup prints",
        "print in a hook of its own: if it fails with BrokenPipeError, the other hooks still run",
        needs_proc=True,
    ),
    Check(
        "full-stdout",
        "stdout is full",
        conditions.full_stdout,
        "do not print during the cleanup, or print in a thread that nothing waits for",
        "App(grace=...): a print that blocks is interrupted in time for the other hooks",
        needs_proc=True,
    ),
    Check(
        "stdout-kept",
        "stdout is kept",
        remains.stdout_kept,
        "flush stdout before the end, or handle the signal so that the runtime does",
        "app.run(main) flushes before it dies by the signal",
    ),
    Check(
        "left-processes",
        "processes left",
        remains.processes,
        "send your children the signal and wait for them; a shell script: exec the program, or trap and kill",
        "start it with app.create_subprocess_exec(), which ends it with the program",
        needs_proc=True,
    ),
    Check(
        "left-ports",
        "ports left",
        remains.ports,
        "close listening sockets first, and do not let children inherit them",
        "server.close() in @app.on_shutdown(stage='drain')",
        needs_proc=True,
    ),
    Check(
        "left-memory",
        "shared memory left",
        remains.memory,
        "shm_unlink in the cleanup, or at once after it was opened",
        "SharedMemory.unlink() after the yield of an @app.resource",
        needs_proc=True,
    ),
    Check(
        "left-files",
        "temporary files left",
        remains.files,
        "unlink temporary files in the cleanup, or at once after they were opened",
        "with tempfile.TemporaryDirectory() around the yield of an @app.resource",
    ),
    Check(
        "notify",
        "service manager",
        remains.notify,
        "send STOPPING=1 when the shutdown begins",
        "app.run(main) sends it",
    ),
    Check(
        "load",
        "{signal} under load",
        conditions.load,
        "stop accepting, finish what was accepted, and only then close what it needs",
        "@app.on_shutdown(stage='drain') stops accepting, create_task(..., drain=True) is waited for",
    ),
    Check(
        "idle-client",
        "a client stays",
        conditions.idle_client,
        "close idle connections when the shutdown begins, and the others after a limit",
        "tasks that wait with app.sleep() or app.wait_stopping() are told; the rest is cancelled in time",
        needs_proc=True,
    ),
    Check(
        "restart",
        "restart at once",
        conditions.restart,
        "set SO_REUSEADDR before bind, and leave no child that holds the port",
        "asyncio's create_server sets it; see 'processes left' for the children",
        needs_proc=True,
    ),
]
