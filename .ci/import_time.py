#!/usr/bin/env python3
"""What `import graceful` costs on top of `import asyncio`: CPU seconds of whole processes, the medians compared."""

import os
import statistics
import sys

RUNS = 60
ALLOWED = 1.15


def cpu_seconds(code: str) -> float:
    """User and system time of a fresh interpreter that runs `code`."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-P", "-c", code], os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{code!r} failed, wait status {status}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Interleaved, so that what else the machine does meets both alike."""
    asyncio, graceful = [], []
    for _ in range(RUNS + 2):
        asyncio.append(cpu_seconds("import asyncio"))
        graceful.append(cpu_seconds("import graceful"))
    before, after = statistics.median(asyncio[2:]), statistics.median(graceful[2:])
    ratio = after / before
    sys.stdout.write(f"asyncio {before * 1e3:.1f} ms, graceful {after * 1e3:.1f} ms, ratio {ratio:.3f}\n")
    if ratio > ALLOWED:
        sys.exit(f"import graceful may cost at most {ALLOWED} times import asyncio")


if __name__ == "__main__":
    main()
