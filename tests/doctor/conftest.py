"""The fixtures for the tests of the doctor."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
from support.subjects import children_of_this_process

from graceful._doctor.family import adopting

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python programs buffer what they write to a pipe, as they do by default."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """For tests that start programs in this process: at the end this process has no child that it did not have before."""
    before = children_of_this_process()
    with adopting():
        yield
    assert before == children_of_this_process()


@pytest.fixture
def port() -> int:
    """A TCP port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
