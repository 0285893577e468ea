"""
Make the pictures and screens of the documentation from real runs: `nox -s pictures`.

Each program in docs/pictures/ is run on a pseudo-terminal, Ctrl-C is pressed where a line says so, and what came of it is
written beside it: the report as a picture, once for a light and once for a dark page, and the terminal, as it looked at the
end or while the live view was on it. The results are committed. Times differ by some hundredths of a second from one run to
the next; nothing else should.
"""

from __future__ import annotations

import fcntl
import html
import itertools
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyte

PICTURES = Path(__file__).parent / "pictures"
ROWS, COLUMNS = 14, 88
LIMIT = 60  # seconds that a program may take


@dataclass(frozen=True)
class Screen:
    """
    A program on a terminal.

    Attributes:
        program: The file in docs/pictures/.
        presses: The texts after which Ctrl-C is pressed, in their order.
        pause: Seconds between the text and the key: a press within half a second of the one before is the same request.
    """

    program: str
    presses: tuple[str, ...]
    pause: float = 0.7


def run(screen: Screen, report: Path | None = None) -> tuple[str, int]:
    """
    Run the program, and press the keys.

    Returns:
        What the terminal showed, and the exit status.
    """
    process, master = start(screen.program, "dumb", **({"GRACEFUL_REPORT": str(report)} if report else {}))
    shown, presses = "", list(screen.presses)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            got = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        shown += got.decode()
        while presses and presses[0] in shown:
            presses.pop(0)
            time.sleep(screen.pause)
            os.write(master, b"\x03")
    status = process.wait(timeout=LIMIT)
    os.close(master)
    return shown.replace("\r\n", "\n"), status if status >= 0 else 128 - status


def start(program: str, terminal: str, **environment: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program in docs/pictures/ on a terminal of this type; returns it, and the other end of the terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, program],
        cwd=PICTURES,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TERM": terminal, **environment},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: (signal.signal(signal.SIGINT, signal.default_int_handler), take_terminal())[0],  # noqa: PLW1509
    )
    os.close(slave)
    return process, master


def take_terminal() -> None:
    """In the child: make its standard input the terminal that controls it, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


# --- the report ------------------------------------------------------------------------------------------------------


def draw_report(name: str, screen: Screen) -> None:
    """Write NAME-light.svg and NAME-dark.svg: the page chooses the one that suits it, whatever the system prefers."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.svg")
        run(screen, report)
        picture = report.read_text()
    light = re.sub(r"@media \(prefers-color-scheme:dark\)\{((?:[^{}]*\{[^{}]*\})*)\}", "", picture)
    dark = re.sub(r"@media \(prefers-color-scheme:dark\)\{((?:[^{}]*\{[^{}]*\})*)\}", r"\1", picture)
    (PICTURES / f"{name}-light.svg").write_text(light)
    (PICTURES / f"{name}-dark.svg").write_text(dark)


# --- the terminal ----------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, MARGIN = 7.8, 19, 16
STYLE = (
    "text{font:13px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre;fill:#e6edf3}"
    ".prompt{fill:#7ee787}.key{fill:#ffa657;font-weight:700}.told{fill:#9fb6d0}"
)


def draw_screen(name: str, screen: Screen) -> None:
    """Write NAME.svg: the commands, what they showed, and the exit status."""
    shown, status = run(screen)
    text = f"$ python {screen.program.replace('stubborn', 'orders')}\n{shown.rstrip()}\n$ echo $?\n{status}"
    (PICTURES / f"{name}.svg").write_text(terminal(wrapped(text)))
    print(f"--- {name}\n{text}")


def wrapped(text: str) -> list[tuple[str, str]]:
    """The lines with their kinds, broken as a narrow terminal would, but between words."""
    lines = []
    for line in text.replace("stubborn.py", "orders.py").splitlines():
        kind, rest = kind_of(line), line
        while len(rest) > COLUMNS:
            cut = rest.rfind(" ", 0, COLUMNS) + 1 or COLUMNS
            lines.append((kind, rest[:cut]))
            rest = rest[cut:]
        lines.append((kind, rest))
    return lines


def kind_of(line: str) -> str:
    """The colour of a line: a command, what graceful says, what the program prints."""
    if line.startswith("$ "):
        return "prompt"
    return "told" if line.removeprefix("^C").startswith(("orders ", "cleanup hook ", "  hook ")) else "plain"


def coloured(line: str) -> str:
    """The text of a line as SVG, with the key that was pressed."""
    key, text = ("^C", line[2:]) if line.startswith("^C") else ("", line)
    return (f'<tspan class="key">{key}</tspan>' if key else "") + html.escape(text)


def terminal(lines: Sequence[tuple[str, str]]) -> str:
    """The lines in a dark window, which looks the same on a light page and on a dark one."""
    return window([f'<tspan class="{kind}">{coloured(line)}</tspan>' for kind, line in lines])


def window(lines: Sequence[str]) -> str:
    """The same, of lines that are SVG."""
    width, height = round(COLUMNS * WIDTH + 2 * MARGIN), len(lines) * HEIGHT + 2 * MARGIN + 18
    rows = [
        f'<text x="{MARGIN}" y="{MARGIN + 30 + number * HEIGHT}">{line}</text>' for number, line in enumerate(lines)
    ]
    lights = [
        f'<circle cx="{MARGIN + 6 + 18 * n}" cy="16" r="5" fill="{c}"/>'
        for n, c in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
            f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
            *lights,
            *rows,
            "</svg>",
            "",
        ]
    )


# --- the live view ---------------------------------------------------------------------------------------------------

#: The colours of the live view, by their names in pyte.
COLOURS = {"cyan": "#56d4dd", "brown": "#e3b341", "red": "#ff7b72", "brightblack": "#8b949e", "default": "#e6edf3"}


def draw_live(name: str, program: str, seen: str, seconds: float) -> None:
    """Write NAME.svg: the terminal so many seconds after it shows a text, which comes after Ctrl-C."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    process, master = start(program, "xterm-256color")
    deadline, until, pressed = time.monotonic() + LIMIT, float("inf"), False
    while time.monotonic() < min(deadline, until):
        if select.select([master], [], [], 0.02)[0]:
            stream.feed(os.read(master, 65536))
        text = "\n".join(screen.display)
        if "ready" in text and not pressed:
            pressed = True
            time.sleep(0.7)
            os.write(master, b"\x03")
        if seen in text:
            until = min(until, time.monotonic() + seconds)
    process.kill()
    process.wait()
    os.close(master)
    last = max(number for number, line in enumerate(screen.display) if line.strip())
    (PICTURES / f"{name}.svg").write_text(window([painted(screen, number) for number in range(last + 1)]))
    print(f"--- {name}\n" + "\n".join(screen.display))


def painted(screen: pyte.Screen, number: int) -> str:
    """A line of a screen as SVG."""
    row = [screen.buffer[number][column] for column in range(screen.columns)]
    parts = itertools.groupby(row, key=lambda each: (each.fg, each.bold))
    spans = []
    for (colour, bold), cells in parts:
        text = html.escape("".join(cell.data for cell in cells))
        weight = ' font-weight="700"' if bold else ""
        spans.append(f'<tspan style="fill:{COLOURS.get(colour, COLOURS["default"])}"{weight}>{text}</tspan>')
    return "".join(spans)


def main() -> None:
    draw_live("live", "watched.py", "● cleanup", 2.6)
    draw_report("shutdown", Screen("orders.py", ("ready",)))
    draw_screen("ctrl-c-once", Screen("stubborn.py", ("ready",)))
    draw_screen("ctrl-c-twice", Screen("stubborn.py", ("ready", "consume: one order left")))
    draw_screen("ctrl-c-thrice", Screen("stubborn.py", ("ready", "consume: one order left", "broker: flushing")))


if __name__ == "__main__":
    main()
