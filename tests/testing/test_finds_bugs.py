"""The explorer finds the bugs that are reported again and again, and has nothing against the same programs without them."""

from __future__ import annotations

import re

import pytest
from testing.programs import BUGS, Bug

from graceful.testing import Exploration, Violation, explore


def explored(bug: Bug, *, mended: bool, only: list[str] | None = None) -> Exploration:
    make = bug.make_mended if mended else bug.make_buggy
    return explore(make, faults=bug.faults, check=bug.check, pairs=bug.pairs, only=only)


def bare(violation: Violation) -> tuple[str, str, str]:
    """A violation without the numbers and addresses of tasks, which no run shares with another."""
    text = re.sub(r"Task-\d+|0x[0-9a-f]+", "", "\n".join(violation.messages))
    return violation.token, violation.story, text


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_bug_is_found_and_told(bug: Bug) -> None:
    """A violation names the bug and where the fault fell, and its token shows the same again."""
    violations = explored(bug, mended=False).violations
    told = [each for each in violations if bug.says in " ".join(each.messages) and bug.fell in each.story]
    assert told, "\n".join(each.text() for each in violations) or "no violation"

    again = explored(bug, mended=False, only=[told[0].token])
    assert [bare(told[0])] == [bare(each) for each in again.violations]


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_mended_program_is_ok(bug: Bug) -> None:
    """Its twin without the bug, under the same faults, has no violation."""
    explored(bug, mended=True).assert_ok()


def test_there_are_twenty() -> None:
    """The figure that the documentation gives."""
    assert len(BUGS) >= 20
