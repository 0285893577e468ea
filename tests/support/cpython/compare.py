"""What is a difference: decided from results alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from support.cpython.differences import Entry

#: The result of a test that has written none: it was still running when the process ended, or came behind that one.
MISSING = "no result"

#: The results of one test in several rounds, first without graceful, then inside an app.
Rounds = list[tuple[str, str]]


@dataclass
class Verdicts:
    """What came out for all tests of one mode; each list holds names of tests."""

    new: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)
    not_again: list[str] = field(default_factory=list)
    rotten: list[Entry] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.new or self.rotten)


def differing(plain: dict[str, str], inside: dict[str, str]) -> list[str]:
    """The tests whose results differ."""
    return sorted(
        test for test in plain.keys() | inside.keys() if plain.get(test, MISSING) != inside.get(test, MISSING)
    )


def verdict(rounds: Rounds) -> str:
    """
    What to think of a test that differed in the first of several rounds.

    Returns:
        `new` if it differs, though not necessarily in each round; `flaky` if its results vary without graceful, too;
        `not_again` if it differed in the first round only.
    """
    if len({plain for plain, _ in rounds}) > 1:
        return "flaky"
    return "new" if any(plain != inside for plain, inside in rounds[1:]) else "not_again"


def judge(mode: str, entries: list[Entry], rounds: dict[str, Rounds], tests: Iterable[str] = ()) -> Verdicts:
    """
    Compare with the reviewed list.

    Args:
        mode: The mode.
        entries: The list.
        rounds: The results of each test that differed in the first round. Those that are listed have no more rounds.
        tests: All tests, if all were run: an entry that is about some of them, of which none differs, is out of date.
    """
    verdicts = Verdicts()
    for test, each in rounds.items():
        listed = any(entry.covers(mode, test) for entry in entries)
        getattr(verdicts, "listed" if listed else verdict(each)).append(test)
    due = [entry for entry in entries if not entry.rare and any(entry.covers(mode, test) for test in tests)]
    verdicts.rotten = [entry for entry in due if not any(entry.covers(mode, test) for test in rounds)]
    return verdicts
