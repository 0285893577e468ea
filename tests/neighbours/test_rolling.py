"""A rolling restart behind nginx and haproxy, in short: benchmarks/rolling.py checks every answer, and says so by its status."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "rolling.py"

MISSING = [name for name in ("nginx", "haproxy", "wrk") if shutil.which(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize(
    "server, options",
    [
        ("aiohttp", ["--behind", "nginx", "--end", "SIGTERM"]),
        ("uvicorn", ["--behind", "haproxy", "--end", "failure"]),
        # Without a look at its readiness no proxy can save the calls that reach grpc.aio while it stops.
        ("grpc", ["--behind", "haproxy", "--end", "SIGTERM"]),
    ],
)
def test_no_request_is_lost(server, options):
    """Six restarts: no answer is lost or wrong, nothing is done twice, no stream is cut off."""
    pytest.importorskip(server)
    ended = subprocess.run(
        [sys.executable, PROGRAM, "--quick", "--only", server, *options],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    rows = [line for line in ended.stdout.splitlines() if line.startswith(f"| {server} ")]
    assert 1 == len(rows)


def test_what_is_missing_is_named(tmp_path):
    """Where the proxies are not installed, one line says what to install."""
    ended = subprocess.run(
        [sys.executable, PROGRAM, "--quick"], capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)}
    )

    assert (1, "") == (ended.returncode, ended.stdout)
    assert ended.stderr.startswith("not installed: nginx, haproxy, wrk. With Debian: apt-get install nginx haproxy wrk")
