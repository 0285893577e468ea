"""The fixtures of the tests of examples/ingest.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.ingest import PROGRAM, Running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`start(log, "--once")` starts the example; `start("-c", source, log)` something around it."""
    started: list[Running] = []

    def start(*arguments: str | Path, **options) -> Running:
        command = list(arguments) if arguments[0] == "-c" else [PROGRAM, *arguments]
        started.append(Running(command, {"cwd": tmp_path, **options}))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()  # if it still runs
        each.process.wait()
        each.limit.cancel()
        for stream in (each.process.stdout, each.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.touch()
    return path
