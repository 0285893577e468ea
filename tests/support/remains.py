"""What a program leaves behind."""

from __future__ import annotations

import time


def wait_gone(pid: int) -> bool:
    """Whether a process that is no child of this one ends, or is a zombie of whatever adopted it, within 5 s."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False
