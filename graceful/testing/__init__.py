"""
Tests for graceful shutdown: an app in virtual time, with simulated signals; and every fault at every step.

>>> from graceful.testing import explore, simulate
>>> result = simulate(app, main, at={1.5: signal.SIGTERM})
>>> result.assert_exit(-signal.SIGTERM)

- `simulate`: run an app, and look at what happened: a `Result`
- `explore`: run it once for each step of its loop, with a fault before that step: an `Exploration`
- `Fault`: what can go wrong at a step; `schedules`: the same as a strategy for hypothesis
- `NothingToWaitFor`: the program waits, and nothing will happen; `StillRunning`: it does not end

Neither pytest nor anything else is needed. Nothing of the process is touched: no signal is sent, no handler is set, and
each run has a thread of its own. So it works in any test, also beside a running loop and under pytest-xdist.
"""

from graceful.testing._explore import Exploration, explore
from graceful.testing._result import Result
from graceful.testing._schedule import Fault, Schedule, schedules
from graceful.testing._simulate import simulate
from graceful.testing._trial import Violation
from graceful.testing._virtual_loop import NothingToWaitFor, StillRunning

__all__ = [
    "Exploration",
    "Fault",
    "NothingToWaitFor",
    "Result",
    "Schedule",
    "StillRunning",
    "Violation",
    "explore",
    "schedules",
    "simulate",
]

for _public in [globals()[_name] for _name in __all__]:
    if isinstance(_public, type):
        _public.__module__ = __name__
