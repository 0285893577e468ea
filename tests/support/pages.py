"""Pages of documentation: the programs on them, the files that they become, and what a page says they print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest

#: A fenced block: its indentation, its language, and what is in it. MyST's `{code-block} python` counts as `python`.
FENCE = re.compile(r"^( *)(```+)(?:\{code-block\} )?([\w-]*)[^\n]*\n(.*?)^\1\2[ ]*$", re.MULTILINE | re.DOTALL)

#: Options of a `{code-block}`, such as `:emphasize-lines: 3`.
OPTIONS = re.compile(r"\A(?: *:[\w-]+:[^\n]*\n)+\n?")

NOT_RUN = re.compile(r"<!-- not run: \S[^>]*-->\s*\Z")

HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)

FILE_NAME = re.compile(r"\A# ([\w/.-]+\.\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """
    A ```python block.

    Attributes:
        line: Where it is on the page.
        output: The ```text block behind it: the next fence, in the same section; `None`: there is none.
        marked: Whether `<!-- not run: reason -->` stands right before it.
    """

    line: int
    source: str
    output: str | None
    marked: bool

    def __str__(self) -> str:
        return f"line {self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that it is, where its first line is a comment that says so: `# orders.py`."""
        named = FILE_NAME.match(self.source)
        return named[1] if named else None


@dataclass(frozen=True)
class Session:
    """
    What an output block shows. `$ python orders.py` is a command and names the script, `^C` is a key that is pressed,
    and the number behind `$ echo $?` is the exit status; all else is what the program prints.
    """

    script: str
    prints: str
    status: int | None


@dataclass(frozen=True)
class Console:
    """
    A ```console block: commands, each with what it prints.

    Attributes:
        line: Where it is on the page.
        steps: The commands behind `$ `, and the lines below each.
        marked: Whether `<!-- not run: reason -->` stands right before it.
    """

    line: int
    steps: tuple[tuple[str, str], ...]
    marked: bool

    def __str__(self) -> str:
        return f"line {self.line}"


def content_of(fence: re.Match[str]) -> str:
    """What is in a block, without its indentation in a list and without options."""
    return OPTIONS.sub("", re.sub(rf"^{fence[1]}", "", fence[4], flags=re.MULTILINE))


def blocks_of(page: str) -> list[Block]:
    fences = [*FENCE.finditer(page)]
    found = []
    for fence, behind in zip_longest(fences, fences[1:]):
        if fence[3] != "python":
            continue
        before = page[: fence.start()]
        output = None
        if behind is not None and behind[3] == "text" and not HEADING.search(page[fence.end() : behind.start()]):
            output = content_of(behind)
        source = content_of(fence)
        found.append(Block(before.count("\n") + 1, source, output, bool(NOT_RUN.search(before))))
    return found


def consoles_of(page: str) -> list[Console]:
    found = []
    for fence in FENCE.finditer(page):
        if fence[3] != "console":
            continue
        before = page[: fence.start()]
        parts = re.split(r"^\$ ", content_of(fence), flags=re.MULTILINE)[1:]
        steps = tuple((command, shown) for command, _, shown in (part.partition("\n") for part in parts))
        found.append(Console(before.count("\n") + 1, steps, bool(NOT_RUN.search(before))))
    return found


def files_above(page: str, line: int) -> dict[str, str]:
    """The files that a page has shown above a line: each ```python, ```yaml or other block that begins with `# NAME`."""
    shown = {}
    for fence in FENCE.finditer(page):
        source = content_of(fence)
        if page[: fence.start()].count("\n") + 1 < line and (named := FILE_NAME.match(source)):
            shown[named[1]] = source
    return shown


def session_of(output: str) -> Session:
    script, prints, status = "readme.py", [], None
    lines = iter(output.splitlines(keepends=True))
    for line in lines:
        if line.rstrip() == "$ echo $?":
            status = int(next(lines))
        elif command := re.match(r"\$ .*?([\w.-]+\.py)?$", line.rstrip()):
            script = command[1] or script
        else:
            prints.append(line)
    return Session(script, "".join(prints), status)


def as_shown(out: str, prints: str) -> str:
    """
    What a program has printed, with the line above `^C` once only.

    A program may print that line each second, and on a slow machine it has done so again before Ctrl-C reaches it.
    """
    for line in re.findall(r"^(.*\n)\^C\n", prints, re.MULTILINE):
        out = re.sub(rf"^({re.escape(line)})+", r"\1", out, flags=re.MULTILINE)
    return out


def shell_status(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode
