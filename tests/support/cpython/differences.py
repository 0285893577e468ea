"""
The reviewed list: where a test of CPython's ends in another way inside an app, and why that is right.

A difference that is not listed is an error, and so is an entry that no longer differs.
"""

from __future__ import annotations

import fnmatch
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """
    Tests that differ for one reason.

    Args:
        modes: In which modes.
        tests: Patterns for their ids, without `test.test_asyncio.`; `*` stands for anything.
        reason: Why.
        rare: Whether they differ only now and then, for a reason that lies in the timing. Then it is no error if they do
            not.
        since: From which Python on.
    """

    modes: tuple[str, ...]
    tests: tuple[str, ...]
    reason: str
    rare: bool = False
    since: tuple[int, int] = (3, 11)

    def covers(self, mode: str, test: str) -> bool:
        if mode not in self.modes or sys.version_info < self.since:
            return False
        return any(fnmatch.fnmatchcase(test, pattern) for pattern in self.tests)


OWNER, GUEST = ("owner",), ("guest",)

DIFFERENCES = [
    Entry(
        OWNER + GUEST,
        (
            "test_futures2.*.test_handle_exc_handler_correct_context",
            "test_futures2.*.test_task_exc_handler_correct_context",
            "test_unix_events.*.test_pidfd_closed_when_waitpid_raises",
        ),
        "A callback raises, or a task whose exception nobody retrieves. The test's exception handler is called, and the app "
        "raises the exception besides: by design, see the README's differences to asyncio.run.",
    ),
    Entry(
        OWNER,
        (
            "test_runners.RunTests.test_asyncio_run_from_running_loop",
            "test_runners.RunTests.test_asyncio_run_only_coro",
        ),
        "A wrong call is refused with a message of graceful's own, and a function is not a wrong main: it is called.",
    ),
    Entry(
        OWNER,
        ("test_runners.RunTests.test_asyncio_run_without_uncancel",),
        "Ctrl-C: `graceful.run` raises `Interrupted`, whatever main does with its cancellation. By design, see the README.",
    ),
    Entry(
        OWNER,
        ("test_runners.RunTests.test_asyncio_run_reports_hanging_tasks_errors",),
        "The test expects the words of asyncio's report on a task that fails as it is cancelled at the end. graceful's report "
        "has other words.",
    ),
    Entry(
        GUEST,
        ("test_runners.RunTests.test_asyncio_run_reports_hanging_tasks_errors",),
        "The test replaces `loop.call_exception_handler` inside the block. As the block ends, the app takes back its own "
        "patch of that method, and with it the replacement. A known weakness.",
    ),
    Entry(
        GUEST,
        (
            "test_eager_task_factory.*.test_awaitables_chain",
            "test_eager_task_factory.*.test_recursive_*",
            "test_events.*.test_timeout_rounding",
        ),
        "The test counts all tasks or all iterations of the loop, and a block has one task of its own.",
    ),
    Entry(
        GUEST,
        (
            "test_events.*.test_create_ssl_connection",
            "test_events.*.test_create_ssl_unix_connection",
            "test_events.*.test_ssl_connect_accepted_socket",
            "test_events.*.test_connect_accepted_socket",
            "test_events.*.test_datagram_send_to_non_listening_address",
            "test_sslproto.*.test_connection_lost_when_busy",
        ),
        "The test runs a loop again and again, each time until a coroutine is done, and expects that nothing arrives from a "
        "socket in between. Inside a block the loop runs a few iterations more, while the app begins and ends.",
        rare=True,
    ),
    Entry(
        OWNER + GUEST,
        ("test_graph.*", "test_taskgroups.*.test_exception_refcycles_*"),
        "From 3.14 on these tests look at the coroutines between themselves and their task. There is one more: the one by "
        "which `inside.py` runs the test in an app.",
        since=(3, 14),
    ),
    Entry(
        GUEST,
        (
            "test_base_events.RunningLoopTests.test_running_loop_within_a_loop",
            "test_events.TestPyGetEventLoop.test_get_*",
        ),
        "The coroutine leaves asyncio without a running loop: CPython forgets it when a second loop is refused, and the test "
        "replaces the functions that know it. Without one, no block can end.",
    ),
]
