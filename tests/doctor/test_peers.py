"""
The doctor tells programs apart: verdicts on other frameworks, servers and languages.

Only what does not depend on a race or on a version is pinned. What is not installed is skipped.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import peers

#: Seconds of grace: enough for a busy machine, and each program that does not end takes all of it.
GRACE = 3.0


def needs(*modules: str) -> None:
    """Skip the test if one of these is not installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")


def tool(name: str) -> str:
    """Its path; skip the test if it is not installed."""
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def verdicts(
    expected: dict[str, str], ready: object, *command: str, cwd: Path, grace: float = GRACE, load: str = "true"
) -> dict[str, str]:
    """What the doctor finds where something is expected; a check that cannot be made here is left out."""
    options = ["--json", "--grace", str(grace), "--ready", str(ready), "--load", load, "--only", ",".join(expected)]
    ran = subprocess.run(
        [sys.executable, "-m", "graceful", "doctor", *options, "--", *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=55,
    )
    assert ran.returncode in (0, 1), ran.stderr
    found = {each["check"]: each for each in json.loads(ran.stdout)["verdicts"]}
    if "pid1" in expected and found["pid1"]["level"] == "skip":  # no namespaces here
        del expected["pid1"]
    return {name: each["level"] for name, each in found.items() if name in expected}


def script(tmp_path: Path, source: str, port: int = 0, name: str = "program.py") -> str:
    """The path of a file with this source."""
    path = tmp_path / name
    path.write_text(source.replace("PORT", str(port)).replace("FOLDER", str(tmp_path)))
    return str(path)


def test_graceful(tmp_path: Path, port: int) -> None:
    """A program with this package is sound."""
    checks = ["stop", "sigint", "sighup", "handler", "exit-status", "startup", "double-ctrl-c", "shell-loop", "pid1", "closed-stdout", "stdout-kept",
              "left-processes", "left-ports", "left-files", "idle-client", "restart"]  # fmt: skip
    expected = dict.fromkeys(checks, "ok")

    assert expected == verdicts(expected, "ready", sys.executable, script(tmp_path, peers.GRACEFUL, port), cwd=tmp_path)


def test_asyncio_run(tmp_path: Path) -> None:
    """SIGTERM kills it without cleanup, what is in its buffer is lost, and an echo of Ctrl-C cuts its cleanup short."""
    expected = {
        "stop": "ok",
        "sigint": "ok",
        "handler": "warn",
        "double-ctrl-c": "fail",
        "shell-loop": "ok",
        "pid1": "fail",
        "stdout-kept": "fail",
    }

    assert expected == verdicts(expected, "ready", sys.executable, script(tmp_path, peers.ASYNCIO), cwd=tmp_path)


def test_aiorun(tmp_path: Path) -> None:
    """It cleans up, and exits with 0 at Ctrl-C, so that a shell loop goes on."""
    needs("aiorun")
    expected = {
        "stop": "ok",
        "sigint": "ok",
        "handler": "ok",
        "double-ctrl-c": "ok",
        "shell-loop": "fail",
        "pid1": "ok",
        "stdout-kept": "ok",
    }

    assert expected == verdicts(expected, "ready", sys.executable, script(tmp_path, peers.AIORUN), cwd=tmp_path)


def test_anyio(tmp_path: Path) -> None:
    """The usual program with a signal receiver gives the signals back before its cleanup."""
    needs("anyio")
    expected = {
        "stop": "ok",
        "sigint": "ok",
        "handler": "ok",
        "double-ctrl-c": "fail",
        "shell-loop": "fail",
        "pid1": "ok",
    }

    assert expected == verdicts(expected, "ready", sys.executable, script(tmp_path, peers.ANYIO), cwd=tmp_path)


def test_uvicorn(tmp_path: Path, port: int) -> None:
    """An echo of Ctrl-C skips its lifespan, and a shell loop goes on."""
    needs("uvicorn")
    script(tmp_path, peers.ASGI, name="served.py")
    expected = {
        "stop": "ok",
        "handler": "ok",
        "double-ctrl-c": "fail",
        "shell-loop": "fail",
        "pid1": "ok",
        "idle-client": "ok",
        "restart": "ok",
    }

    assert expected == verdicts(
        expected, port, sys.executable, "-m", "uvicorn", "served:app", "--port", str(port), cwd=tmp_path
    )


def test_gunicorn(tmp_path: Path, port: int) -> None:
    """It waits longer than this grace for a worker that hangs, and does not tell systemd that it stops."""
    needs("gunicorn", "uvicorn_worker")
    script(tmp_path, peers.ASGI, name="served.py")
    expected = {
        "stop": "ok",
        "sighup": "warn",
        "hung-child": "fail",
        "shell-loop": "fail",
        "left-processes": "ok",
        "notify": "warn",
        "restart": "ok",
    }
    worker = ["-k", "uvicorn_worker.UvicornWorker", "-b", f"127.0.0.1:{port}"]

    assert expected == verdicts(expected, port, sys.executable, "-m", "gunicorn", "served:app", *worker, cwd=tmp_path)


def test_node(tmp_path: Path, port: int) -> None:
    """Without a handler of the program's own it dies, but not as the first process of a container."""
    expected = {"stop": "ok", "sigint": "ok", "shell-loop": "ok", "pid1": "fail", "idle-client": "ok", "restart": "ok"}

    assert expected == verdicts(
        expected, "ready", tool("node"), script(tmp_path, peers.NODE, port, "server.js"), cwd=tmp_path
    )


def test_nginx(tmp_path: Path, port: int) -> None:
    """SIGHUP reloads it, and a shell loop goes on after Ctrl-C."""
    expected = {
        "stop": "ok",
        "sighup": "warn",
        "handler": "ok",
        "shell-loop": "fail",
        "idle-client": "ok",
        "restart": "ok",
    }

    assert expected == verdicts(
        expected, port, tool("nginx"), "-c", script(tmp_path, peers.NGINX, port, "nginx.conf"), cwd=tmp_path
    )


def test_a_shell_script_that_forwards_nothing(tmp_path: Path) -> None:
    """It dies, and leaves its worker behind."""
    expected = {"stop": "ok", "handler": "warn", "left-processes": "fail", "restart": "ok"}

    assert expected == verdicts(expected, "ready", tool("sh"), script(tmp_path, peers.SHELL), cwd=tmp_path)


def test_a_shell_script_with_a_trap(tmp_path: Path) -> None:
    """The trap waits for the program in the foreground, which nobody has told to end."""
    expected = {"stop": "fail", "handler": "ok", "exit-status": "skip", "pid1": "skip", "restart": "skip"}

    assert expected == verdicts(expected, "ready", tool("sh"), script(tmp_path, peers.TRAPPED), cwd=tmp_path, grace=1)


@pytest.mark.parametrize(("server", "level"), [(peers.ECHO_GRACEFUL, "ok"), (peers.ECHO_ASYNCIO, "fail")])
def test_under_load(server: str, level: str, tmp_path: Path, port: int) -> None:
    """A program that drains loses no request, and one that dies loses the one that is being served."""
    load = shlex.join([sys.executable, "-S", "-E", script(tmp_path, peers.ECHO_CLIENT, port, "client.py")])
    expected = {"stop": "ok", "load": level}

    assert expected == verdicts(
        expected, "ready", sys.executable, script(tmp_path, server, port), cwd=tmp_path, grace=6, load=load
    )
