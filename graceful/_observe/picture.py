"""The report as a picture: a row for each outcome, with a bar or a mark on the axis, and below it what went wrong."""

from __future__ import annotations

from graceful._core.types import Verdict
from graceful._observe.drawing import DETAIL, LEFT, MARGIN, RIGHT, ROW, WIDTH, Drawing, escape
from graceful._observe.timeline import CAUSES, FAILURES, Facts, Row, Timeline, duration

__all__ = ["as_svg"]

#: How many hooks that were over before the axis begins have a row each; more than these have one together.
_FOLDED = 4


def as_svg(facts: Facts) -> str:
    """The timeline as an SVG document."""
    timeline = Timeline(facts)
    drawing = _ReportDrawing(timeline.took)
    drawing.text(MARGIN, 24, timeline.title, "text", size=15, room=WIDTH - 2 * MARGIN, weight=600)
    drawing.text(MARGIN, 41, timeline.summary, "dim", size=11, room=WIDTH - 2 * MARGIN)
    for group, rows in timeline.groups:
        drawing.heading(group)
        past = [row for row in rows if row.end < 0 and row.verdict is Verdict.OK]
        if len(past) > _FOLDED:
            drawing.past(past)
        for row in rows:
            if len(past) <= _FOLDED or row not in past:
                drawing.row(row)
    drawing.axis([row.begin for row in timeline.groups[0][1]])
    return drawing.document(timeline.title, _spoken(timeline))


class _ReportDrawing(Drawing):
    """What a report draws."""

    def row(self, row: Row) -> None:
        """One row: the name, a bar or a mark on the axis, how it ended, and below it what went wrong."""
        self._parts.append(f"<g><title>{escape(_tooltip(row))}</title>")
        self._y += ROW
        if row.verdict is None:
            self._moment(row)
        else:
            name = row.name.rpartition(".<locals>.")[2]
            self.text(MARGIN + 8, self._y, name, "text", size=12, room=LEFT - MARGIN - 14)
            self._bar(row)
            self.text(WIDTH - MARGIN, self._y, _ending(row), "dim", size=11, room=WIDTH - MARGIN - RIGHT - 8, end=True)
        if told := _told(row):
            self._y += DETAIL
            room = WIDTH - 2 * MARGIN - 8
            self.text(MARGIN + 8, self._y, told, _kind(row), size=10, room=room, over_lines=True)
            self._y += 2
        self._parts.append("</g>")

    def past(self, rows: list[Row]) -> None:
        """One row for many that were over before the axis begins: there is no bar to be seen, and they went well."""
        took = duration(max(row.end for row in rows) - min(row.begin for row in rows))
        told = "\n".join(map(_tooltip, rows))
        self._parts.append(f"<g><title>{escape(told)}</title>")
        self._y += ROW
        self.text(MARGIN + 8, self._y, f"{len(rows)} hooks, ok before", "text", size=12, room=LEFT - MARGIN - 14)
        self._arrow("ok")
        self.text(WIDTH - MARGIN, self._y, took, "dim", size=11, room=WIDTH - MARGIN - RIGHT - 8, end=True)
        self._parts.append("</g>")

    def _bar(self, row: Row) -> None:
        kind, y = _kind(row), self._y - 10
        if row.end < 0:
            self._arrow(kind)
        elif row.verdict is Verdict.SKIPPED:
            x = self._x(row.begin)
            self._parts.append(f'<path class="hollow" d="M{x:g} {y + 1:g} v10 M{x:g} {y + 6:g} h8"/>')
        else:
            self._interval(kind, row.begin, row.end)

    def _moment(self, row: Row) -> None:
        """A mark, and beside it what happened: a cause or a failure needs more room for that than a hook for its name."""
        x = self._x(row.begin)
        if row.begin < 0:
            self._arrow(_kind(row))
        else:
            self._parts.append(f'<path class="{_kind(row)}" d="M{x:g} {self._y - 10:g} l6 6 l-6 6 l-6 -6 z"/>')
        seconds = f"{row.begin:+.3f} s"
        self.text(MARGIN + 8, self._y, seconds, "dim", size=11, room=LEFT - MARGIN - 20)
        if x <= (MARGIN + 70 + WIDTH) / 2:
            self.text(x + 11, self._y, row.name, "text", size=12, room=WIDTH - MARGIN - x - 11, over_lines=True)
        else:
            room = x - 11 - MARGIN - 80
            self.text(x - 11, self._y, row.name, "text", size=12, room=room, end=True, over_lines=True)


def _kind(row: Row) -> str:
    if row.verdict is None:
        return "raised" if row.group == FAILURES else "cause"
    return row.verdict.replace(" ", "-")


def _ending(row: Row) -> str:
    if row.verdict is Verdict.SKIPPED:
        return "skipped"
    took = duration(row.end - row.begin)
    said = "" if row.verdict is Verdict.OK else f"{row.verdict} "
    return f"{said}{took}"


def _told(row: Row) -> str:
    """The line below a row: where a hook was stuck, which is all that a timeout can say, or what it raised."""
    if row.stack and row.verdict is not Verdict.RAISED:
        return f"stuck at {' < '.join(row.stack)}"
    return f"{row.where}  {row.error}" if row.where and row.error else row.error


def _tooltip(row: Row) -> str:
    if row.verdict is None:
        lines = [f"{row.begin:+.3f} s  {row.name}"]
    else:
        lines = [f"{row.name} ({row.where}) {row.verdict}, from {row.begin:+.3f} s to {row.end:+.3f} s"]
    return "\n".join([*lines, *([row.error] if row.error else []), *(f"at {line}" for line in row.stack)])


def _spoken(timeline: Timeline) -> str:
    """What the picture shows, for those who do not see it: the numbers, and everything that did not end well."""
    lines = [timeline.summary]
    for group, rows in timeline.groups:
        told = [row for row in rows if row.verdict is not Verdict.OK]
        quiet = len(rows) - len(told)
        lines += [f"{quiet} ok in {group}"] if quiet else []
        lines += [f"{group}, {_tooltip(row)}" for row in told if group != CAUSES or row is not rows[0]]
    return ".\n".join(lines)
