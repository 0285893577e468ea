"""
A picture in one SVG file that needs nothing else: rows on an axis of seconds. For what draws a report or a plan.

It has to be readable where it ends up: in an issue, on a page in light or dark, beside a text at 600 pixels, and read aloud.
So colours are chosen by `prefers-color-scheme` and always said in words as well, and text is cut to its column by an
estimate of its width, because a file without scripts cannot measure it. Style rules name plain colours, not CSS variables,
which many renderers outside of browsers do not know.
"""

from __future__ import annotations

import math
import re
import unicodedata

__all__ = ["DETAIL", "LEFT", "MARGIN", "RIGHT", "ROW", "WIDTH", "Drawing", "escape"]

#: Pixels: the whole width, where the axis begins and ends, a margin, a row, and a line of detail below it.
WIDTH, LEFT, RIGHT, MARGIN, ROW, DETAIL = 600, 196, 474, 12, 18, 13

#: The element around it all.
_OPEN = (
    '<svg xmlns="http://www.w3.org/2000/svg" class="graceful" role="img" viewBox="0 0 {width} {height}" width="{width}" '
    'height="{height}" aria-labelledby="graceful-title graceful-desc">'
)

#: Colours of each class, in light and in dark.
_COLOURS = {
    "back": ("#ffffff", "#0d1117"),
    "text": ("#1f2328", "#e6edf3"),
    "dim": ("#59636e", "#9198a1"),
    "grid": ("#d1d9e0", "#30363d"),
    "grid-fill": ("#d1d9e0", "#30363d"),
    "ok": ("#1a7f37", "#3fb950"),
    "raised": ("#cf222e", "#f85149"),
    "timed-out": ("#bc4c00", "#f0883e"),
    "cancelled": ("#8250df", "#ab7df8"),
    "skipped": ("#818b98", "#656c76"),
    "cause": ("#0969da", "#4493f8"),
}


class Drawing:
    """
    Elements, drawn from the top down.

    Args:
        took: How long the axis is, in seconds.
    """

    def __init__(self, took: float) -> None:
        self._y: float = 60.0  # below the title and the axis
        self._took = took
        self._scale = (RIGHT - LEFT) / (took or 1.0)
        self._behind: list[str] = []
        self._parts: list[str] = []

    def document(self, title: str, description: str) -> str:
        """All of it, with what is read aloud, and the colours."""
        height = math.ceil(self._y + MARGIN)
        return "\n".join(
            [
                _OPEN.format(width=WIDTH, height=height),
                f'<title id="graceful-title">{escape(title)}</title>',
                f'<desc id="graceful-desc">{escape(description)}</desc>',
                f"<style>{_style()}</style>",
                f'<rect class="back" width="{WIDTH}" height="{height}"/>',
                *self._behind,
                *self._parts,
                "</svg>",
                "",
            ]
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        kind: str,
        *,
        size: int,
        room: float,
        end: bool = False,
        weight: int = 400,
        over_lines: bool = False,
    ) -> None:
        """Text that is cut to the pixels there are; it begins at `x`, or ends there. `over_lines`: and hides the grid."""
        anchor = ' text-anchor="end"' if end else ""
        bold = f' font-weight="{weight}"' if weight != 400 else ""
        shown = _cut(text, room / size / (1.1 if weight != 400 else 1))
        if over_lines:
            width = round(_breadth_of(shown) * size, 1)
            self._parts.append(
                f'<rect class="back" x="{x - width if end else x:g}" y="{y - size:g}" width="{width:g}" height="{size + 3}"/>'
            )
        self._parts.append(
            f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{size}"{anchor}{bold}>{escape(shown)}</text>'
        )

    def heading(self, group: str, explained: str = "") -> None:
        """The name of a group, with a line below it, and perhaps what it is about."""
        self._y += 22
        self.text(MARGIN, self._y, group, "dim", size=11, room=LEFT - MARGIN, weight=600)
        if explained:
            self.text(LEFT, self._y, explained, "dim", size=11, room=WIDTH - MARGIN - LEFT, over_lines=True)
        self._line(MARGIN, self._y + 5, WIDTH - MARGIN, self._y + 5, "grid")
        self._y += 5

    def _interval(self, kind: str, begin: float, end: float) -> None:
        """A bar from one second to another."""
        x = self._x(begin)
        width = max(self._x(end) - x, 2)  # or it is not seen
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{self._y - 10:g}" width="{width:g}" height="12" rx="{min(width / 2, 2):g}"/>'
        )

    def _arrow(self, kind: str) -> None:
        """It was over before the axis begins: an arrow that points there."""
        self._parts.append(f'<path class="{kind}" d="M{LEFT - 1} {self._y - 4:g} l6 -5 v10 z"/>')

    def axis(self, causes: list[float]) -> None:
        """The seconds above the rows, and lines down through them; those of the causes are dashed."""
        y, step = 60, _step(self._took)
        ticks = [number * step for number in range(int(self._took / step + 1e-9) + 1)] if self._took else [0.0]
        for tick in ticks:
            x = self._x(tick)
            label = f"{tick * 1000:g} ms" if 0 < self._took < 1 else f"{tick:g} s"
            self._line(x, y + 5, x, self._y + 6, "grid")
            self._parts.append(
                f'<text class="dim" x="{x:g}" y="{y:g}" font-size="11" text-anchor="middle">{label}</text>'
            )
        self._line(RIGHT, y + 5, RIGHT, self._y + 6, "end")
        for at in causes:
            self._line(self._x(at), y + 5, self._x(at), self._y + 6, "since")
        self._y += 6

    def _line(self, x: float, y: float, to_x: float, to_y: float, kind: str) -> None:
        self._behind.append(f'<path class="{kind}" d="M{x:g} {y:g} L{to_x:g} {to_y:g}"/>')

    def _x(self, seconds: float) -> float:
        """Where this is on the axis; what is before it or after it stands at its end."""
        return round(LEFT + min(max(seconds, 0.0), self._took) * self._scale, 2)


def _step(took: float) -> float:
    """Between two seconds on the axis: 1, 2 or 5 times a power of ten, so that their labels do not meet."""
    rough = (took or 1.0) / (6 if took >= 1 else 5)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _style() -> str:
    light = "".join(f".graceful .{name}{{fill:{colour}}}" for name, (colour, _) in _COLOURS.items())
    dark = "".join(f".graceful .{name}{{fill:{colour}}}" for name, (_, colour) in _COLOURS.items())
    return (
        ".graceful text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
        f"{light}{_lines(0)}@media (prefers-color-scheme:dark){{{dark}{_lines(1)}}}"
    )


def _lines(scheme: int) -> str:
    """The classes that are drawn with a pen."""
    pens = [
        ("grid", "grid", ""),
        ("end", "dim", ""),
        ("since", "cause", ";stroke-dasharray:3 3"),
        ("hollow", "skipped", ""),
    ]
    return "".join(
        f".graceful .{name}{{fill:none;stroke:{_COLOURS[colour][scheme]};stroke-width:1{more}}}"
        for name, colour, more in pens
    )


def _cut(text: str, room: float) -> str:
    """As much of the text as there is room for, which is given in ems; what is missing is shown by an ellipsis."""
    text = re.sub(r"\s+", " ", text)
    if _breadth_of(text) <= room:
        return text
    taken: list[str] = []
    width = _breadth("…")
    for each in text:
        width += _breadth(each)
        if width > room:
            break
        taken.append(each)
    return "".join(taken).rstrip(" .") + "…"


def _breadth_of(text: str) -> float:
    return sum(map(_breadth, text))


def _breadth(character: str) -> float:
    """In ems, on the safe side: fonts differ."""
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in "iljt.,:;'|!()[] ":
        return 0.36
    return 0.9 if character in "mwMW@%" else 0.72 if character.isupper() else 0.6


def escape(text: str) -> str:
    """For XML, which cannot contain control characters and lone surrogates even if they are escaped."""
    text = re.sub("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
