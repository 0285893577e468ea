"""
Small programs that each have one bug of a kind that is reported again and again, and the same programs without it.

Each is a function with a flag: `mended`. It makes a new program for each run, as `explore` wants it. `BUGS` has all of them.
"""

from testing.programs import hooks, locks, queues, tasks
from testing.programs.bug import Bug

__all__ = ["BUGS", "Bug"]

BUGS: list[Bug] = [*locks.BUGS, *queues.BUGS, *tasks.BUGS, *hooks.BUGS]
