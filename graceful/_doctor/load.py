"""The command that runs beside the program, such as a load generator."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Generator
from typing import IO

from graceful._doctor.output import plain

__all__ = ["Load", "missing_command"]

#: Seconds to wait after SIGTERM before it is killed.
TERMINATED = 1.0


def missing_command(command: str) -> str | None:
    """
    The first word of a shell command, if the shell finds no command of that name.

    `None`: it does, or that cannot be said before the command runs.
    """
    word = re.match(r"\s*([\w./+-]+)(?=[\s;&|]|$)", command)
    if word is None:
        return None
    found = subprocess.run(["/bin/sh", "-c", 'command -v -- "$1"', "sh", word[1]], check=False, capture_output=True)
    return word[1] if found.returncode else None


class Load:
    """A shell command in a session of its own. Its exit status says whether work was lost."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self._process = process
        self._output = output
        self.pid = process.pid

    @classmethod
    @contextlib.contextmanager
    def running(cls, command: str) -> Generator[Load]:
        """Run it for the duration of a block at most."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                yield cls(process, output)
            finally:
                _end(process)

    def wait(self, timeout: float) -> int | None:
        """Its status, or `None` if it has not ended by then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self._process.returncode

    def last_line(self) -> str:
        """The last line that it wrote."""
        self._output.seek(0)
        lines = plain(self._output.read().decode(errors="replace")).splitlines()
        return lines[-1].strip() if lines else "it wrote nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and its process group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TERMINATED)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
