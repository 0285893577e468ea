"""
The picture of a live view: lines of text with colours, from a record of how far the shutdown is.

```text
  close_pool               1.8 s ━━━━━━━╸────  db.py:42 in close → sleep
  publish                  0.3 s ━╸──────────  bus.py:17 in publish → Event.wait
✓ drain 1.2 s  ✓ cancel  ● cleanup 2 of 5 1.8 s  · finish
orders is shutting down (SIGINT) ━━━━━━━━━━━━━━━━━━╸────────────────────────── 4.9 s of 8 s left
press Ctrl-C again to hurry
```

Colour is used for two things only: how much of a time is used up, and what is late, which is red. The last
lines and the columns stay where they are from frame to frame.
"""

from __future__ import annotations

import io
import math

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from graceful._core.places import is_in_standard_library
from graceful._observe.live_state import Running, Snapshot, Step

__all__ = ["draw", "drawn"]

cell_len("✓…")  # now, because rich loads its table of widths at the first such character: in a thread, as this module

#: Columns of a name, where the terminal is not narrow, and of the bar of a row.
_NAME, _BAR = 24, 12

#: Seconds that a stage must have taken for that to be told.
_LEAST = 0.1

#: The part of a time from which on its bar warns.
_SOON = 0.75

_USED, _SOON_OVER, _LATE, _DIM, _BOLD = "cyan", "yellow", "bold red", "bright_black", "bold"

#: The glyphs, and what stands for them where the terminal's encoding has none.
_PLAIN = str.maketrans("━╸─●✓✗·→…└", "=>-*+x.>~`")


def drawn(state: Snapshot, width: int, *, rows: int, unicode: bool) -> list[str]:
    """The lines of the picture as a terminal takes them; `unicode`: whether it has more characters than those of ASCII."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, legacy_windows=False, width=width)
    lines = Text("\n").join(draw(state, width, rows=rows))  # printed at once, which takes less time
    console.print(lines, no_wrap=True, crop=False, overflow="ignore")
    text = file.getvalue()
    if not unicode:
        text = text.translate(_PLAIN).encode("ascii", "replace").decode()
    return text.splitlines()


def draw(state: Snapshot, width: int, *, rows: int = 0) -> list[Text]:
    """
    The lines of the picture: three, and one for each thing that runs.

    Args:
        state: What to show.
        width: Columns that a line may have.
        rows: For how many things that run there is a line, even if fewer do: those above the first are empty.
    """
    lines = [
        *[Text()] * (rows - len(state.running)),
        *(_row(row, state.now, width) for row in state.running),
        _steps(state),
        _head(state, width),
        _foot(state),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _head(state: Snapshot, width: int) -> Text:
    text = Text(_printable(state.title), _BOLD)
    if state.until == math.inf:
        return text.append(f"  {_seconds(state.now - state.began_at)} ago", _DIM)
    left = state.until - state.now
    after = f"{_seconds(max(left, 0.0))} of {state.until - state.began_at:.3g} s left"
    text.truncate(max(width - len(after) - 14, 8), overflow="ellipsis")
    room = width - text.cell_len - len(after) - 2
    text.append(" ").append_text(_bar(state.began_at, state.until, state.now, room))
    return text.append(f" {after}", _colour(state.began_at, state.until, state.now, calm=""))


def _steps(state: Snapshot) -> Text:
    text = Text()
    for step in state.steps:
        text.append("  " if text else "")
        text.append_text(_step(step, state.now))
    if state.failed:
        text.append(f"  ✗ {state.failed} failed", _LATE)
    return text


def _step(step: Step, now: float) -> Text:
    count = f" {step.done} of {step.of}" if step.of else ""
    if step.began_at is None:
        return Text(f"· {step.name}", _DIM)
    if step.ended_at is not None:
        took = step.ended_at - step.began_at
        return Text(f"✓ {step.name}{count}" + (f" {_seconds(took)}" if took >= _LEAST else ""), _DIM)
    return Text("● ", _USED).append(f"{step.name}{count}", _BOLD).append(f" {_seconds(now - step.began_at)}")


def _row(row: Running, now: float, width: int) -> Text:
    name = Text(_name(row))
    name.truncate(min(_NAME, width // 3), overflow="ellipsis", pad=True)
    text = Text("  ").append_text(name).append(f" {_seconds(now - row.since):>7} ")
    text.append_text(_bar(row.since, row.until, now, _BAR)).append("  ")
    if late := now > row.until:
        text.append("late ")
    text.append_text(_where(row.stack(), width - text.cell_len))
    if late:
        text.stylize(_LATE)
    return text


def _name(row: Running) -> str:
    return f"└ {_printable(row.name)}" if row.inner else _printable(row.name)


def _where(stack: tuple[str, ...], width: int) -> Text:
    """The innermost line of the program, and what it waits for there."""
    if not stack:
        return Text()
    own = next((line for line in reversed(stack) if not is_in_standard_library(line)), stack[-1])
    awaited = "" if own == stack[-1] else f" → {stack[-1].rpartition(' in ')[2]}"
    own = _printable(own)
    if cell_len(own) > width > 1:  # the end says more than the beginning of a path
        own = "…" + own[len(own) - width + 1 :]
    return Text(own).append(_printable(awaited), _DIM)


def _foot(state: Snapshot) -> Text:
    parts = [Text(f"and {state.more} more", _BOLD)] if state.more else []
    parts += [Text(f"the loop was blocked for {_seconds(state.blocked)}", _SOON_OVER)] if state.blocked else []
    parts += [Text(state.hint, _DIM)] if state.hint else []
    return Text(" · ", _DIM).join(parts)


def _bar(since: float, until: float, now: float, width: int) -> Text:
    """How much of a time is used up; nothing where it has no limit."""
    if until == math.inf:
        return Text(" " * width)
    used = 1.0 if until <= since else min(max((now - since) / (until - since), 0.0), 1.0)
    halves = round(used * width * 2)
    colour = _colour(since, until, now, calm=_USED)
    full, half = "━" * (halves // 2), "╸" if halves % 2 else ""
    return Text(full + half, colour).append("─" * (width - len(full + half)), _DIM)


def _colour(since: float, until: float, now: float, *, calm: str) -> str:
    if now >= until:
        return _LATE
    return _SOON_OVER if now - since > (until - since) * _SOON else calm


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
