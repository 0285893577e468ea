"""CPython's own tests of asyncio, run inside an app: the results are those without graceful, but for a reviewed list."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.cpython.__main__ import AGAIN, NOT_INSTALLED
from support.cpython.compare import MISSING, differing, judge, verdict
from support.cpython.differences import DIFFERENCES, Entry

SAME, OTHER = ("ok", "ok"), ("ok", "fail")
ENTRY = Entry(("owner",), ("test_a.*",), "because")
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("mode", ["owner", "guest"])
def test_a_part_of_cpythons_tests(mode):
    """Inside an app they end as they do without one, and where they do not, the reason is on the list."""
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    ended = subprocess.run(
        [sys.executable, "-m", "support.cpython", "--short", "--jobs", "3", "--mode", mode],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == NOT_INSTALLED:
        pytest.skip(ended.stdout.strip())
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    tests, inside = map(int, re.search(r"(\d+) tests, (\d+) of them inside an app", ended.stdout).groups())
    assert 100 < inside < tests
    if seen_once := [line for line in ended.stdout.splitlines() if ": not_again: " in line]:
        pytest.xfail(f"differed once, and not in {AGAIN} further rounds: {seen_once}")


# --- what counts as a difference -------------------------------------------------------------------------------------


def test_a_test_without_a_result_differs():
    """A process that ends in the middle of its tests is no way to hide them; one in which more are found, neither."""
    assert ["a", "b"] == differing({"a": "ok", "c": "ok"}, {"b": "ok", "c": "ok"})
    assert MISSING not in ("ok", "skip")


@pytest.mark.parametrize(
    ("expected", "rounds"),
    [
        ("new", [OTHER, OTHER, OTHER]),
        ("new", [OTHER, SAME, OTHER]),
        ("not_again", [OTHER, SAME, SAME]),
        ("flaky", [OTHER, ("fail", "fail"), SAME]),
        ("flaky", [("fail", "ok"), SAME, SAME]),
    ],
)
def test_a_verdict(expected, rounds):
    """Only what varies without graceful, too, is called flaky; one further round that differs is enough to be new."""
    assert expected == verdict(rounds)


def test_a_new_difference_fails():
    """A difference that no entry of this mode covers."""
    judged = judge("owner", [ENTRY], {"test_a.T.test_x": [OTHER], "test_b.T.test_x": [OTHER, OTHER]})
    assert (["test_b.T.test_x"], ["test_a.T.test_x"], True) == (judged.new, judged.listed, judged.failed)
    assert judge("guest", [ENTRY], {"test_a.T.test_x": [OTHER, OTHER]}).failed


@pytest.mark.parametrize(
    ("mode", "tests", "failed"),
    [("owner", ["test_a.T.test_x"], True), ("owner", ["test_b"], False), ("guest", ["test_a.T.test_x"], False)],
)
def test_an_entry_that_no_longer_differs_fails(mode, tests, failed):
    """In a mode that it is about, on a Python that has the tests that it is about, where all tests were run."""
    assert failed == judge(mode, [ENTRY], {}, tests).failed


def test_the_list():
    """It is short, and every entry says why."""
    assert len(DIFFERENCES) <= 10
    assert all(len(entry.reason) > 40 and {*entry.modes} <= {"owner", "guest"} for entry in DIFFERENCES)
