"""
Ways to measure a program from outside, in a fresh process each time.

CPU time is what `wait4` says of a process that has ended, all its threads included. It varies less than the clock on a
machine that does something else, too, and it is what a user pays. Where he waits, it is the clock: from the signal to
the moment at which the parent sees the end.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

__all__ = ["Command", "Measure", "Sample", "cpu", "idle", "kill", "kill_per_task", "told"]

Command = list[str]
#: Each unit with its number.
Sample = dict[str, float]
#: Measures each of several commands once, in their order.
Measure = Callable[[Mapping[str, Command]], dict[str, Sample]]

#: Seconds of CPU after which a program is ended, and counts as infinitely slow.
CPU_LIMIT = 100

#: Seconds after it is ready in which a program comes to rest.
_REST = 0.03


class _Program(subprocess.Popen[str]):
    """A program that is measured; it must end well."""

    def __init__(self, command: Command) -> None:
        super().__init__(command, stdout=subprocess.PIPE, text=True)
        resource.prlimit(self.pid, resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT + 1))

    def line(self) -> str:
        assert self.stdout is not None
        return self.stdout.readline()

    def end(self) -> resource.struct_rusage | None:
        """What it used, once it has ended; `None`: it came to the limit."""
        _, status, usage = os.wait4(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        if self.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            return None
        if self.returncode:
            raise RuntimeError(f"status {self.returncode}: {' '.join(self.args)}")  # type: ignore[arg-type]
        return usage


def _in_turn(measure: Callable[[Command], Sample]) -> Measure:
    return lambda commands: {name: measure(command) for name, command in commands.items()}


@_in_turn
def cpu(command: Command) -> Sample:
    """CPU time of a whole process."""
    with _Program(command) as program:
        usage = program.end()
    return {"ms": math.inf if usage is None else (usage.ru_utime + usage.ru_stime) * 1e3}


def told(unit: str) -> Measure:
    """What a program says of itself."""

    @_in_turn
    def measure(command: Command) -> Sample:
        with _Program(command) as program:
            said = program.line()
            return {unit: math.inf if program.end() is None else float(said)}

    return measure


def _kill(command: Command) -> Sample:
    with _Program(command) as program:
        program.line()
        time.sleep(_REST)
        began = time.perf_counter()
        program.send_signal(signal.SIGTERM)
        in_time = program.end() is not None
        return {"ms": (time.perf_counter() - began) * 1e3 if in_time else math.inf}


kill = _in_turn(_kill)


def kill_per_task(commands: Mapping[str, Command]) -> dict[str, Sample]:
    """The same for a task, without what an idle program takes. The number of tasks is the last argument."""

    def each(command: Command) -> Sample:
        *program, tasks = command
        return {"µs": (_kill(command)["ms"] - _kill([*program, "0"])["ms"]) / int(tasks) * 1e3}

    return {name: each(command) for name, command in commands.items()}


def idle(commands: Mapping[str, Command]) -> dict[str, Sample]:
    """CPU time and wakeups of programs that do nothing, side by side for ten seconds."""
    programs = {name: _Program(command) for name, command in commands.items()}
    for program in programs.values():
        program.line()
    time.sleep(1)
    before = {name: _used(program.pid) for name, program in programs.items()}
    time.sleep(10)
    after = {name: _used(program.pid) for name, program in programs.items()}
    for program in programs.values():
        with program:
            program.send_signal(signal.SIGTERM)
            program.end()
    return {name: {unit: after[name][unit] - before[name][unit] for unit in after[name]} for name in programs}


def _used(pid: int) -> Sample:
    """What all threads have used so far; proc(5)."""
    used = {"ms": 0.0, "wakeups": 0.0}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            used["ms"] += int(file.read().split()[0]) / 1e6
        with open(f"/proc/{pid}/task/{thread}/status") as file:
            used["wakeups"] += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return used
