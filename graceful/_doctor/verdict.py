"""What the doctor found: one verdict for each check, and the diagnosis as a whole, also as JSON."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass

__all__ = ["SCHEMA", "VERSION", "Diagnosis", "Finding", "Level", "Verdict"]

SCHEMA = "graceful.doctor"
#: Grows when a field is removed or changes its meaning. A new field or a new check does not change it.
VERSION = 1


class Level(enum.StrEnum):
    """
    How bad it is.

    `FAIL` is harm that was seen: the program did not end, or something was lost or left behind. `WARN` is a risk, which
    the author may have accepted. `SKIP` is what could not be tried, or does not apply.
    """

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Finding:
    """What one check saw: a level, and the figure in a few words."""

    level: Level
    figure: str


@dataclass(frozen=True)
class Verdict:
    """
    A finding with its name and its cure.

    Attributes:
        check: The name of the check, which stays the same from version to version.
        title: What was tried, for people.
        level: How bad it is.
        figure: What was seen.
        cure: What to do about it in any language, one line; empty where nothing has to be done.
        python: How to do that with this package.
    """

    check: str
    title: str
    level: Level
    figure: str
    cure: str = ""
    python: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """
    The verdicts on one program, in the order of the checks.

    Attributes:
        command: The program and its arguments.
        signal: The name of the signal that asks it to stop.
        grace: The seconds that it was given to end.
        ready: How it was known to be ready.
        ready_after: The seconds it took to be ready.
        verdicts: One for each check.
    """

    command: tuple[str, ...]
    signal: str
    grace: float
    ready: str
    ready_after: float
    verdicts: tuple[Verdict, ...]

    @property
    def exit_status(self) -> int:
        """1 if a check failed, else 0."""
        return int(self.count(Level.FAIL) > 0)

    def count(self, level: Level) -> int:
        """How many verdicts there are of this level."""
        return sum(verdict.level is level for verdict in self.verdicts)

    def as_json(self) -> str:
        """All of it as JSON: the fields of this class, with `schema`, `version`, `counts` and `exit_status`."""
        facts = {
            "schema": SCHEMA,
            "version": VERSION,
            **asdict(self),
            "counts": {level: self.count(level) for level in Level},
            "exit_status": self.exit_status,
        }
        return json.dumps(facts, indent=2)
