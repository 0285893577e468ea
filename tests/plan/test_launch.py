"""What a command says about the process that it starts."""

from __future__ import annotations

import math
import shlex

import pytest

from graceful._plan.launch import becomes_its_last_command, runs_python, server_of, shell_without_exec


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'python -m orders'",
        "/bin/bash -lc 'cd /app; python -m orders'",
        "bash -e -c 'exec python -m orders | tee log'",
        "sh -c 'exec python -m orders &'",
        "tini -- sh -c 'python -m orders'",
        "env A=1 sh -c 'python -m orders'",
        "sh -c 'exec 2>&1; python -m orders'",
        "sh -c 'migrate\npython -m orders # exec'",
        """sh -c 'python -c "exec(a); exec b"'""",
    ],
)
def test_a_shell_in_between(command: str) -> None:
    """It gets the signal in place of the app."""
    assert shell_without_exec(shlex.split(command)) is not None


@pytest.mark.parametrize(
    "command",
    [
        "python -m orders",
        "sh -c 'exec python -m orders'",
        "sh -c 'migrate && exec python -m orders'",
        "bash -c 'set -e\nmigrate\nexec python -m orders\n'",
        "sh -c 'A=1 exec python -m orders || exit 1'",
        """sh -c 'exec python -m orders --sep ";" # in place of the shell; see the manual'""",
        """sh -c 'exec env A="a|b" python -m orders'""",
        "sh -c 'if test x; then exec python -m orders; else exec python -m orders --x; fi'",
        "sh -c 'trap 'kill\\ $child' TERM; python -m orders & child=$!; wait'",
        "sh -c '. ./start.sh'",
        "sh entrypoint.sh",
        "bash -c",
        "",
    ],
)
def test_no_shell_in_between(command: str) -> None:
    """Or one that becomes the app, or a script that cannot be seen."""
    assert shell_without_exec(shlex.split(command)) is None


@pytest.mark.parametrize(
    ("command", "server"),
    [
        ("uvicorn orders:asgi", ("uvicorn", math.inf)),
        ("/venv/bin/uvicorn --timeout-graceful-shutdown 7 orders:asgi", ("uvicorn", 7)),
        ("python -m uvicorn orders:asgi --timeout-graceful-shutdown=7", ("uvicorn", 7)),
        ("sh -c 'exec uvicorn orders:asgi'", ("uvicorn", math.inf)),
        ("hypercorn orders:asgi", ("hypercorn", 3)),
        ("gunicorn --graceful-timeout 40 orders:asgi", ("gunicorn", 40)),
        ("uv run uvicorn orders:asgi", ("uvicorn", math.inf)),
        ("fastapi run orders.py", ("uvicorn", math.inf)),
        ("uv run fastapi run --workers 2", ("uvicorn", math.inf)),
        ("sh -c 'exec fastapi dev'", ("uvicorn", math.inf)),
    ],
)
def test_a_server(command: str, server: tuple[str, float]) -> None:
    """With the time that it waits for its connections."""
    found = server_of(shlex.split(command))

    assert found is not None
    assert server == found[:2]


@pytest.mark.parametrize(
    "command", ["python -m orders", "python serve.py uvicorn", "pip install uvicorn", "fastapi login", ""]
)
def test_no_server(command: str) -> None:
    """Where one is only mentioned."""
    assert server_of(shlex.split(command)) is None


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("python -m orders", True),
        ("/usr/bin/python3.13 main.py", True),
        ("orders serve", True),
        ("uvicorn shop:asgi", True),
        ("fastapi run", True),
        ("envoy -c /etc/envoy.yaml", False),
        ("sh -c 'nginx'", False),
        ("", False),
    ],
)
def test_the_app(command: str, ours: bool) -> None:
    """By the module, Python or a server."""
    assert ours == runs_python(shlex.split(command), "orders.main")


@pytest.mark.parametrize(
    ("command", "becomes"),
    [
        ("bash -c 'a && python -m orders'", True),
        ("bash -c 'python -m orders | tee log'", False),
        ("bash -c 'python -m orders &'", False),
        ("sh -c 'python -m orders'", False),
        ("", False),
    ],
)
def test_bash_becomes_its_last_command(command: str, becomes: bool) -> None:
    """Others stay there as the parent."""
    assert becomes == becomes_its_last_command(shlex.split(command))
