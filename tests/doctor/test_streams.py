"""Stdout and stderr of `python -m graceful` that go away, are full or closed, or cannot encode what is written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.subjects import SOUND, python

COMMANDS = {
    "doctor": ["doctor", "--ready", "ready", "--only", "stop", "--", *python("# ü" + SOUND)],
    "plan": ["plan", "orders:app"],
    "help": ["--help"],
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command by a line of a shell, in which `$@` is the command."""
    (tmp_path / "orders.py").write_text("from graceful import App\napp = App('für')\n", encoding="utf-8")

    def run(
        name: str, line: str = 'exec "$@"', *, variables: dict[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", line, "sh", sys.executable, "-m", "graceful", *COMMANDS[name]]
        environment = {**os.environ, **(variables or {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.run(command, cwd=tmp_path, env=environment, check=False, text=True, timeout=50, **options)

    return run


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_has_gone(run: Run, name: str, both: bool) -> None:
    """As after `| head`: no traceback, and the status of a shell for SIGPIPE. It is not 1, because no check has failed."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = run(name, stdout=writer, stderr=writer if both else subprocess.PIPE)
    finally:
        os.close(writer)

    assert 141 == ran.returncode
    assert (ran.stderr or "") in ("", "doctor: SIGTERM ...\n")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("line", "said"), [('exec "$@" >&-', "it is closed"), ('exec "$@" >/dev/full', "No space left on device")]
)
def test_stdout_that_takes_nothing(run: Run, name: str, line: str, said: str) -> None:
    """One line on stderr, and status 2."""
    ran = run(name, line)

    assert 2 == ran.returncode
    assert f"python -m graceful: cannot write to stdout: {said}" == ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("line", ['exec "$@" 2>&-', 'exec "$@" 2>/dev/full', 'exec "$@" <&-', 'exec "$@" <&- 2>&-'])
def test_other_streams(run: Run, name: str, line: str) -> None:
    """What cannot be said on stderr changes nothing."""
    ran = run(name, line)

    assert 0 == ran.returncode
    assert "" != ran.stdout


@pytest.mark.parametrize("line", ['exec "$@" >&- 2>&-', 'exec "$@" <&- >&- 2>&-', 'exec "$@" >/dev/full 2>/dev/full'])
def test_no_stream(run: Run, line: str) -> None:
    """The status says it."""
    assert 2 == run("plan", line).returncode


def test_stdin_that_is_closed(run: Run) -> None:
    """It is an empty file."""
    ran = run("plan", 'exec "$@" --fits - <&-')

    assert 2 == ran.returncode
    assert "-: expected a service unit" in ran.stderr


@pytest.mark.parametrize(("name", "shown"), [("doctor", "# \\xfc"), ("plan", "f\\xfcr: the shutdown after")])
def test_an_encoding_that_has_not_all_letters(run: Run, name: str, shown: str) -> None:
    """The others are escaped, as Python does on stderr."""
    ran = run(name, variables={"PYTHONIOENCODING": "ascii"})

    assert 0 == ran.returncode, ran.stderr
    assert shown in ran.stdout


def test_a_picture_that_cannot_be_written(run: Run) -> None:
    """It is the file that is named."""
    ran = run("plan", 'exec "$@" --svg /dev/full')

    assert (2, "python -m graceful plan: /dev/full: No space left on device\n") == (ran.returncode, ran.stderr)
