"""The report of a shutdown, its text, and the way to its other formats."""

from dataclasses import dataclass

from graceful._core.types import Cause, Failure, Outcome, describe

__all__ = ["Report"]


@dataclass(frozen=True, eq=False)
class Report:
    """
    The last shutdown of an app.

    Attributes:
        cause: The first cause.
        causes: All of them, in the order they were noticed; echoes of the same request are not counted.
        outcomes: How each hook ended, and each task that did not end in time; in the order they ended. Of `on_exception`
            hooks the last 100.
        failures: The exceptions that nobody had handled, also those that a hook dealt with; the last 100.
        took: Seconds from the first cause to the end of `run()`.
        exit_status: What the parent sees if nobody catches what `run()` raises, as `subprocess` counts: negative for
            death by that signal.
        dropped: How many outcomes of `on_exception` hooks there were before those 100.
    """

    cause: Cause
    causes: tuple[Cause, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[Failure, ...] = ()
    took: float = 0.0
    exit_status: int = 0
    dropped: int = 0

    def text(self) -> str:
        """A timeline, one line an event, each with the seconds since the first cause."""
        zero = self.cause.at
        rows = [(cause.at - zero, f"{cause.kind}: {cause}") for cause in self.causes]
        rows += [(outcome.at - zero, _outcome_text(outcome)) for outcome in self.outcomes]
        told = {id(cause.exception) for cause in self.causes}
        rows += [
            (failure.at - zero, f"failure: {describe(failure.exception)}, {failure.message}")
            for failure in self.failures
            if id(failure.exception) not in told
        ]
        lines = [f"{at:+9.3f} s  {what}" for at, what in sorted(rows, key=lambda row: row[0])]
        if self.dropped:
            lines.insert(0, f"{'earlier':>11}  {self.dropped} outcomes of on_exception hooks, which were not kept")
        return "\n".join([*lines, f"{self.took:+9.3f} s  over, exit status {self.exit_status}"])

    # What follows is imported when it is called: few programs draw their report, and `json` alone takes 3 ms.

    def json(self) -> str:
        """
        The report for other programs.

        Returns:
            A JSON object with `"schema": "graceful.report"` and `"version": 1`, which `docs/report.schema.json` describes.
            All times are in seconds since the first cause, so that those before it are negative. A later version of
            graceful may add fields; where a field is removed or means something else the version is another one.
        """
        from graceful._observe.formats import as_json  # late, to save start-up time

        return as_json(self)

    def svg(self) -> str:
        """
        The timeline as a picture.

        Returns:
            An SVG document for a file or an `<img>`, without references to anything else: a row for each outcome, with a
            bar on an axis of seconds from the first cause to the end, grouped by stage and coloured by verdict, and a mark
            for each cause and each failure. It is 600 pixels wide and as tall as it has to be, follows
            `prefers-color-scheme`, and has a title and a description for screen readers.
        """
        from graceful._observe.picture import as_svg  # late, to save start-up time

        return as_svg(self)

    def mermaid(self) -> str:
        """
        The timeline as a gantt chart for Mermaid, which issues and wikis draw between ```` ```mermaid ```` and ```` ``` ````.

        Returns:
            The source of the chart. What was over before the first cause is drawn at its start.
        """
        from graceful._observe.formats import as_mermaid  # late, to save start-up time

        return as_mermaid(self)

    def trace(self) -> str:
        """
        The timeline for a trace viewer, such as https://ui.perfetto.dev.

        Returns:
            JSON in Chrome's Trace Event Format. Its timestamps are those of `time.monotonic`, in microseconds.
        """
        from graceful._observe.formats import as_trace  # late, to save start-up time

        return as_trace(self)


def _outcome_text(outcome: Outcome) -> str:
    error = f": {describe(outcome.error)}" if outcome.error is not None else ""
    stuck = [f"\n{'at':>17} {line}" for line in reversed(outcome.stack[-5:])]
    return "".join(
        [
            f"{outcome.stage} {outcome.hook} ({outcome.where}) {outcome.verdict} after {outcome.took:.3f} s{error}",
            *stuck,
        ]
    )
