"""
Ways to measure a program from outside, in a fresh process each time.

CPU time is what `wait4` reports for a process that has ended, including all its threads. On a machine that also does
other work it varies less than wall-clock time, and it is what a user pays for. Where a user waits, wall-clock time is
measured: from the signal until the parent process sees the end.
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
#: The value for each unit.
Sample = dict[str, float]
#: Measures each of several commands once, in the given order.
Measure = Callable[[Mapping[str, Command]], dict[str, Sample]]

#: Seconds of CPU time after which a program is killed, and counts as infinitely slow.
CPU_LIMIT = 100

#: Seconds to wait after a program is ready, so that it is idle.
_REST = 0.03


class _Program(subprocess.Popen[str]):
    """A program that is measured; a nonzero exit status is an error."""

    def __init__(self, command: Command) -> None:
        super().__init__(command, stdout=subprocess.PIPE, text=True)
        resource.prlimit(self.pid, resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT + 1))

    def line(self) -> str:
        assert self.stdout is not None
        return self.stdout.readline()

    def end(self) -> resource.struct_rusage | None:
        """Wait for its end and return its resource usage; `None` if it exceeded the CPU limit."""
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
    """CPU time of a whole process, in milliseconds."""
    with _Program(command) as program:
        usage = program.end()
    return {"ms": math.inf if usage is None else (usage.ru_utime + usage.ru_stime) * 1e3}


def told(unit: str) -> Measure:
    """The number that a program prints about itself."""

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
    """`kill`, per task, minus the time of an idle program. The last argument of a command is the number of tasks."""

    def each(command: Command) -> Sample:
        *program, tasks = command
        return {"µs": (_kill(command)["ms"] - _kill([*program, "0"])["ms"]) / int(tasks) * 1e3}

    return {name: each(command) for name, command in commands.items()}


def idle(commands: Mapping[str, Command]) -> dict[str, Sample]:
    """CPU time and wakeups of programs that do nothing, all at the same time, for ten seconds."""
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
    """CPU time and wakeups of all threads so far; see proc(5)."""
    used = {"ms": 0.0, "wakeups": 0.0}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            used["ms"] += int(file.read().split()[0]) / 1e6
        with open(f"/proc/{pid}/task/{thread}/status") as file:
            used["wakeups"] += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return used
