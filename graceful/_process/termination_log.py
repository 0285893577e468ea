"""
The termination log: the file in which Kubernetes looks for the last words of a container, `/dev/termination-log` by default.

For each start of a container the kubelet mounts an empty file there. What is in it at the end, the last 4096 bytes, is shown as the
message of the container's last state (`kubectl describe pod`). The file is never made: without it, as everywhere outside of
Kubernetes, nothing happens, and a file that cannot be written is no reason to end in another way.

It is written while something is stuck, perhaps in the watchdog's thread. So there is no lock, and it is opened in a way that
never waits: for the reader of a pipe, for example.
"""

from __future__ import annotations

import contextlib
import os
import sys

from graceful._core.settings import IMPORTED_BY

__all__ = ["LIMIT", "TerminationLog"]

#: Bytes of the file that Kubernetes shows.
LIMIT = 4096

#: Of a text that is too long: how many bytes of its beginning are kept, and what stands for those that are not.
_HEAD = 1024
_CUT = b"\n...\n"

#: How long each file was before this process wrote to it: the program may have left words of its own.
_lengths: dict[str, int] = {}


class TerminationLog:
    """
    The last words of one run.

    A child of the process writes none, neither a forked one nor a worker of `multiprocessing`: the container goes on.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._text = ""

    def write(self, text: str) -> None:
        """
        Write this in the place of what this run, or one before it, has written. Empty: only take that back.

        Safe in any thread, and in a signal handler. Nothing is raised.
        """
        self._text = text.rstrip("\n") + "\n" if text else ""
        if (text or self._path in _lengths) and not _is_child():
            with contextlib.suppress(OSError):
                _replace(self._path, _shortened(self._text.encode(errors="backslashreplace")))

    def add(self, text: str) -> None:
        """The same, below what this run has written."""
        self.write(self._text + text)


def _is_child() -> bool:
    multiprocessing = sys.modules.get("multiprocessing")
    return os.getpid() != IMPORTED_BY or (multiprocessing is not None and multiprocessing.parent_process() is not None)


def _replace(path: str, data: bytes) -> None:
    """Only where the file can be cut, which a pipe, a terminal or a device cannot."""
    never_wait = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | never_wait)
    try:
        length = os.fstat(descriptor).st_size
        begin = min(length, _lengths.get(path, length))
        os.ftruncate(descriptor, begin)
        os.lseek(descriptor, begin, os.SEEK_SET)
        _lengths[path] = begin
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _shortened(data: bytes) -> bytes:
    """What is shown of it, without half characters."""
    if len(data) <= LIMIT:
        return data
    head, tail = data[:_HEAD], data[_HEAD + len(_CUT) - LIMIT :]
    return _CUT.join(each.decode(errors="ignore").encode() for each in (head, tail))
