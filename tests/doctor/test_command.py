"""`python -m graceful doctor`, as its users run it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.subjects import DEAF, SOUND, is_alive, python

DOCTOR = [sys.executable, "-m", "graceful", "doctor"]


def doctor(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run it; its status, stdout and stderr."""
    return subprocess.run([*DOCTOR, *arguments], check=False, capture_output=True, text=True, timeout=50, **options)


def test_a_sound_program() -> None:
    """The status is 0, the table is on stdout without colours, and the progress on stderr."""
    ran = doctor("--ready", "ready", "--only", "stop,handler", "--", *python(SOUND))

    assert 0 == ran.returncode, ran.stderr
    lines = ran.stdout.splitlines()
    assert re.fullmatch(r"ready after \d+\.\d\d s \(a line with 'ready'\), grace 10 s", lines[-6])
    assert re.fullmatch(r"ok    SIGTERM             \d\.\d\d s, exit\(0\)", lines[-4])
    assert ["ok    handler of SIGTERM  the program or its runtime has one", "", "2 ok"] == lines[-3:]
    assert ["doctor: SIGTERM ...", "doctor: handler of SIGTERM ..."] == ran.stderr.splitlines()


def test_a_fail() -> None:
    """The status is 1, and the cure is told."""
    ran = doctor("--grace", "0.5", "--ready", "ready", "--only", "stop", "--", *python(DEAF))

    assert 1 == ran.returncode
    assert "FAIL  SIGTERM  still running after 0.5 s\n      cure: " in ran.stdout


def test_json() -> None:
    """Nothing but JSON on stdout."""
    ran = doctor("--json", "--signal", "sigint", "--ready", "ready", "--only", "stop,sigint", "--", *python(SOUND))
    told = json.loads(ran.stdout)

    assert 0 == ran.returncode
    assert ("graceful.doctor", 1, "SIGINT", 10.0) == (told["schema"], told["version"], told["signal"], told["grace"])
    assert [("stop", "ok"), ("sigint", "skip")] == [(each["check"], each["level"]) for each in told["verdicts"]]


def test_the_command_may_look_like_options() -> None:
    """What follows the first `--` is the program's, also another `--`."""
    program = python("assert ['--grace', '--', '-x'] == sys.argv[1:], sys.argv\n" + SOUND)
    ran = doctor("--ready", "ready", "--only", "stop", "--", *program, "--grace", "--", "-x")

    assert 0 == ran.returncode, ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["--grace", "soon", "--", "true"], "--grace: expected a number of seconds, got 'soon'"),
        (["--grace", "-1", "--", "true"], "--grace: it must be a finite number of seconds, more than 0, got -1.0"),
        (["--signal", "TERMINATE", "--", "true"], "--signal: there is no signal 'TERMINATE' on this"),
        (["--signal", "KILL", "--", "true"], "--signal: no handler can take SIGKILL"),
        (["--load", "no-such-load --users 5", "--", "true"], "--load: there is no command 'no-such-load'"),
        (["--ready", "65536", "--", "true"], "--ready: expected a port from 1 to 65535, got '65536'"),
        (["--only", "stop,cough", "--", "true"], "--only: no check is called 'cough'; there are stop, sigint"),
        (["--only", "stop", "--", "/nonexistent/program"], "/nonexistent/program: No such file or directory"),
        (
            ["--only", "stop", "--ready-timeout", "1", "--", "sh", "-c", "while sleep 0.1; do echo working; done"],
            "not ready after 1 s; its output never came to rest for 0.3 s: --ready TEXT says which line to wait for; it wrote last: working",
        ),
        (
            ["--only", "stop", "--", "true"],
            "it ended before it was ready: exit(0), and it has to stay in the foreground",
        ),
        (
            ["--only", "stop", "--ready", "x", "--ready-timeout", "0.3", "--", "sleep", "1000"],
            "it was not ready after 0.3 s; it wrote nothing: is its output buffered?",
        ),
    ],
)
def test_usage_errors(arguments: list[str], said: str) -> None:
    """The status is 2, the message tells what is wrong, and stdout stays empty."""
    ran = doctor(*arguments)

    assert (2, "") == (ran.returncode, ran.stdout)
    assert said in ran.stderr


def test_a_port_that_is_in_use() -> None:
    """The other program would be taken for this one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ran = doctor("--ready", str(server.getsockname()[1]), "--", *python(SOUND))

    assert 2 == ran.returncode
    assert "is in use already, by another program" in ran.stderr


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours(variables: dict[str, str], coloured: bool) -> None:
    """On a terminal, unless the user wants none."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    master, slave = pty.openpty()
    try:
        arguments = [*DOCTOR, "--ready", "ready", "--only", "handler", "--", *python(SOUND)]
        ran = subprocess.run(arguments, stdout=slave, stderr=subprocess.PIPE, env=environment, check=False, timeout=50)
        shown = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(slave)

    assert 0 == ran.returncode
    assert coloured == ("\x1b[32mok  \x1b[0m  handler" in shown)
    assert "handler of SIGTERM" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_is_stopped_itself(number: signal.Signals, tmp_path: Path) -> None:
    """It dies by the signal, after it has ended the program and the program's children, and removed the files."""
    fifo = tmp_path / "pids"
    os.mkfifo(fifo)
    source = (
        f"""
child = os.fork()
if child:
    with open({str(fifo)!r}, "w") as pids:
        pids.write(f"{{os.getpid()}} {{child}}")
else:
    os.setsid()
"""
        + DEAF
    )
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [*DOCTOR, "--ready", "nothing of the kind", "--", *python(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    )
    pids = [int(pid) for pid in fifo.read_text().split()]
    process.send_signal(number)
    _, err = process.communicate(timeout=50)

    assert -number == process.returncode
    assert "" == err
    assert [] == [pid for pid in pids if is_alive(pid)]
    assert [] == list((tmp_path / "tmp").iterdir())


def test_an_ignored_signal_is_not_inherited() -> None:
    """In a background job of a shell SIGINT is ignored; the program is examined without that."""
    ran = subprocess.run(
        [sys.executable, "-c", "import os, signal, sys; signal.signal(2, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])",
         *DOCTOR, "--ready", "ready", "--only", "sigint", "--", *python("forever()")],
        check=False, capture_output=True, text=True, timeout=50,
    )  # fmt: skip

    assert "died by SIGINT" in ran.stdout, ran.stderr


def alive_with(source: str) -> list[str]:
    """The processes that run this source."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if source.encode() in command:
                found.append(entry)
    return found


def test_nothing_is_left() -> None:
    """After a whole examination of a program that leaves everything behind."""
    source = """
with open("/proc/self/status") as status:
    print("left", os.getpid(), file=sys.stderr)
if os.fork() == 0:
    os.setsid()
    print("left", os.getpid(), file=sys.stderr)
""" + DEAF.replace("signal.SIGHUP", "")
    ran = doctor("--grace", "0.3", "--ready", "ready", "--", *python(source))

    assert 1 == ran.returncode
    assert [] == alive_with(source)


def test_a_load_that_cannot_be_run() -> None:
    """It is no fault of the program, also where the load fails only once it runs."""
    ran = doctor("--load", "cd / && no-such-load", "--ready", "ready", "--only", "load", "--", *python(SOUND))

    assert (2, "") == (ran.returncode, ran.stdout)
    assert "doctor: --load cd / && no-such-load: " in ran.stderr
    assert "not found" in ran.stderr


#: Refuses to start while its lock is there, which it removes when it is stopped.
LOCKED = """
import pathlib
lock = pathlib.Path(LOCK)
if lock.exists():
    sys.exit("another instance is running")
lock.touch()
def stop():
    lock.unlink()
    leave()
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    on(number, stop)
forever()
"""


def test_a_program_with_a_lock(tmp_path: Path) -> None:
    """Each run asks it to stop, so that it can remove its lock: the next one starts."""
    source = LOCKED.replace("LOCK)", f"{str(tmp_path / 'lock')!r})")
    only = "stop,sigint,sighup,double-ctrl-c,shell-loop,hung-child,stdout-kept,notify,restart"
    ran = doctor("--json", "--ready", "ready", "--only", only, "--", *python(source))

    assert ["shell-loop"] == [each["check"] for each in json.loads(ran.stdout)["verdicts"] if each["level"] == "fail"]
    assert not (tmp_path / "lock").exists()


def test_a_program_that_leaves_its_lock(tmp_path: Path) -> None:
    """It does not start again, which is what is said, with the cure for that."""
    source = LOCKED.replace("LOCK)", f"{str(tmp_path / 'lock')!r})").replace("lock.unlink()", "")
    ran = doctor("--ready", "ready", "--only", "stop", "--", *python(source))

    assert 1 == ran.returncode
    assert (
        "FAIL  SIGTERM  it did not start again: it ended before it was ready: exit(1); it wrote last: another instance is running\n"
        "      cure: remove locks, "
    ) in ran.stdout
