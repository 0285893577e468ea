"""What came of a simulation, and assertions that show a timeline where they fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graceful._app import App
from graceful._core.types import Event, EventKind, Outcome, Verdict, describe
from graceful._observe.report import Report

__all__ = ["KILLED", "Result"]

#: The exit status after SIGKILL, which has no name in Windows' `signal`.
KILLED = -9

#: pytest leaves the lines of this file out of tracebacks.
__tracebackhide__ = True


@dataclass(frozen=True, eq=False)
class Result:
    """
    What happened in a simulation.

    Attributes:
        app: The app; `None` where main entered its own, or none.
        exit_status: What the parent of the process would see, as `subprocess` counts: negative for death by that signal.
        took: Virtual seconds from the beginning to the end.
        value: What main returned, if it did.
        raised: What would leave the program as an exception; `None`: nothing, or the process was ended before.
        events: What observers of the app are told, in order; their times are virtual, too.
        last_words: What the process would have written to stderr as it was ended from outside: at the deadline (exit status
            70) or by a third Ctrl-C; else empty.
        left: What is left behind, one line each: tasks, timers, threads, child processes.
        steps: How many steps the loop took.
        state: What `make` has returned as third, where the explorer made the app; else `None`.
        report: The report of the app; `None` where it has none, because the process was ended before.
    """

    app: App | None
    exit_status: int
    took: float
    value: Any = None
    raised: BaseException | None = None
    events: tuple[Event, ...] = field(default=(), repr=False)
    last_words: str = ""
    left: tuple[str, ...] = ()
    steps: int = 0
    state: Any = None
    report: Report | None = field(default=None, repr=False)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """How each hook ended, in that order, and what was given up."""
        return tuple(event.outcome for event in self.events if event.outcome is not None)

    def hooks(self, *stages: str) -> list[str]:
        """The names of the hooks that began, in that order, without `<locals>`; only those of these stages, if any are given."""
        began = [event for event in self.events if event.kind is EventKind.HOOK_BEGAN]
        return [_short(event.hook) for event in began if not stages or event.stage in stages]

    def timeline(self) -> str:
        """What happened, a line each, with the virtual time."""
        lines = [f"{event.at:10.3f} s  {_told(event)}" for event in sorted(self.events, key=lambda each: each.at)]
        raised = f", raised {describe(self.raised)}" if self.raised is not None else ""
        lines.append(f"{self.took:10.3f} s  ended with status {self.exit_status}{raised}")
        lines += [f"{'':12} left: {each}" for each in self.left]
        return "\n".join([*lines, *self.last_words.splitlines()])

    # --- assertions ------------------------------------------------------------------------------------------------

    def assert_exit(self, status: int) -> None:
        """
        Args:
            status: The exit status, negative for death by a signal: `-signal.SIGTERM`.
        """
        self._check(self.exit_status == status, f"expected exit status {status}, got {self.exit_status}")

    def assert_hooks(self, *names: str, stage: str = "cleanup") -> None:
        """
        The hooks of a stage ran, all of them and in this order.

        Args:
            names: The names of their functions.
            stage: `startup`, `signal`, `on_exception`, `drain`, `cleanup` or `flush`.
        """
        ran = self.hooks(stage)
        self._check(ran == [*names], f"expected the {stage} hooks {', '.join(names)}; got {', '.join(ran) or 'none'}")

    def assert_took(self, at_most: float) -> None:
        """
        Args:
            at_most: Virtual seconds.
        """
        self._check(self.took <= at_most, f"expected it to take at most {at_most:g} s, got {self.took:g} s")

    def assert_clean(self) -> None:
        """Every hook ended by itself without an error, nothing was raised but the signal's own, and nothing is left."""
        bad = [each for each in self.outcomes if each.verdict not in (Verdict.OK, Verdict.SKIPPED)]
        for outcome in bad:
            self._check(False, f"{outcome.stage} {_short(outcome.hook)} ended as {outcome.verdict}")
        ordered = self.raised is None or isinstance(self.raised, KeyboardInterrupt)
        self._check(ordered, "something was raised")
        self._check(not self.last_words, "the process was ended from outside")
        self._check(not self.left, f"{len(self.left)} things are left")

    def _check(self, holds: bool, message: str) -> None:
        if not holds:
            cause = (
                None if isinstance(self.raised, KeyboardInterrupt) else self.raised
            )  # which says where it was raised
            raise AssertionError(f"{message}\n{self.timeline()}") from cause


def _short(name: str | None) -> str:
    return (name or "?").rpartition("<locals>.")[2]


def _told(event: Event) -> str:
    if event.outcome is not None:
        error = f": {describe(event.outcome.error)}" if event.outcome.error is not None else ""
        return f"{event.stage} {_short(event.outcome.hook)} {event.outcome.verdict}{error}"
    if event.kind is EventKind.HOOK_BEGAN:
        return f"{event.stage} {_short(event.hook)} began"
    if event.kind is EventKind.STAGE_BEGAN:
        return f"stage {event.stage}"
    if event.kind is EventKind.WAITING:
        return f"waiting for {', '.join(event.running) or 'nothing that can be named'}"
    return f"{event.kind}" if event.cause is None else f"{event.kind} ({event.cause})"
