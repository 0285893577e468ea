"""What /proc says."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import tempfile

import pytest

from graceful._doctor.processes import (
    all_processes,
    catches,
    connected_ports,
    is_mounted,
    listening_ports,
    shared_memory,
)


def test_all_processes() -> None:
    """This one is among them, with its parent."""
    [this] = [process for process in all_processes() if process.pid == os.getpid()]

    assert os.getppid() == this.parent


@pytest.mark.parametrize(
    ("handler", "caught"), [(lambda *_: None, True), (signal.SIG_IGN, False), (signal.SIG_DFL, False)]
)
def test_catches(handler: object, caught: bool) -> None:
    """A signal with a handler, and not one that is ignored or has its default action."""
    before = signal.signal(signal.SIGUSR2, handler)
    try:
        assert caught == catches(os.getpid(), signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_listening_ports() -> None:
    """Those at which a process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in listening_ports([os.getpid()])

    assert port not in listening_ports([os.getpid()])
    assert frozenset() == listening_ports([])


def test_connected_ports() -> None:
    """A connection counts as soon as it was accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        port = server.getsockname()[1]
        assert port not in connected_ports([os.getpid()])

        accepted, _ = server.accept()
        with accepted:
            assert port in connected_ports([os.getpid()])


def test_shared_memory() -> None:
    """What is open or mapped in /dev/shm, as long as it has a name."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"x")
        file.flush()
        assert file.name in shared_memory([os.getpid()])

        with mmap.mmap(file.fileno(), 1, prot=mmap.PROT_READ):
            assert file.name in shared_memory([os.getpid()])
    assert file.name not in shared_memory([os.getpid()])


def test_a_process_that_is_gone() -> None:
    """Nothing is known of it, and that is no error."""
    gone = 2**22 + 1  # one more than Linux gives

    assert (None, frozenset(), frozenset()) == (
        catches(gone, signal.SIGTERM),
        listening_ports([gone]),
        shared_memory([gone]),
    )


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not mounted there is nothing, and that is no error."""
    assert is_mounted()

    def listdir(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert [] == all_processes()
