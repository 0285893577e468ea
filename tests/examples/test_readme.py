"""The README: every program on the page runs, and prints what the page says it prints."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)


NOT_RUN = re.compile(r"<!-- not run: \S[^>]*-->\s*\Z")


HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)


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


@dataclass(frozen=True)
class Session:
    """
    What an output block shows. `$ python orders.py` is a command and names the script, `^C` is a key that is pressed,
    and the number behind `$ echo $?` is the exit status; all else is what the program prints.
    """

    script: str
    prints: str
    status: int | None


def blocks_of(page: str) -> list[Block]:
    fences = [*FENCE.finditer(page)]
    found = []
    for fence, behind in zip_longest(fences, fences[1:]):
        if fence[2] != "python":
            continue
        before = page[: fence.start()]
        output = None
        if behind is not None and behind[2] == "text" and not HEADING.search(page[fence.end() : behind.start()]):
            output = textwrap.dedent(behind[3])
        source = textwrap.dedent(fence[3])
        found.append(Block(before.count("\n") + 1, source, output, bool(NOT_RUN.search(before))))
    return found


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


def shell_status(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


BLOCKS = blocks_of(README.read_text())


def test_the_page_has_programs() -> None:
    """The README shows at least one program together with what it prints."""
    assert [block for block in BLOCKS if block.output is not None]


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.marked], ids=str)
def test_a_program_prints_what_the_page_says(block: Block, play: Callable, tmp_path: Path) -> None:
    """A program of the README prints what the block behind it shows, and ends as shown; without output it just runs."""
    session = session_of(block.output or "")
    script = tmp_path / session.script
    script.write_text(block.source)
    ended = play(script, session.prints)
    if block.output is None:
        assert (0, "") == (ended.status, ended.err)
        return
    assert session.prints.replace("^C\n", "") == ended.out
    if session.status is None:
        assert "Traceback" not in ended.err, ended.err
    else:
        assert session.status == shell_status(ended.status), ended.err


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.marked], ids=str)
def test_a_block_that_is_not_run_is_python(block: Block) -> None:
    """A fragment of the README that is marked as not run is Python all the same; it may await at the top."""
    compile(block.source, f"README.md:{block.line}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)


# --- the reading of a page -------------------------------------------------------------------------------------------


PAGE = """\
# A page

```python
print("hello")
```

It prints

```text
$ python hello.py
hello
^C
$ echo $?
130
```

<!-- not run: needs a server -->

```python
await serve()
```

## The next section

```python
import graceful
```

## Unrelated

```text
hello
```

1. In a list

   ```python
   if True:
       print()
   ```

   ```sh
   make
   ```

   ```text
   hello
   ```
"""


def test_output_and_marks_belong_to_the_right_block() -> None:
    """Output belongs to the program right before it in the same section, and a mark to the block right behind it."""
    assert [
        Block(3, 'print("hello")\n', "$ python hello.py\nhello\n^C\n$ echo $?\n130\n", False),
        Block(19, "await serve()\n", None, True),
        Block(25, "import graceful\n", None, False),
        Block(37, "if True:\n    print()\n", None, False),
    ] == blocks_of(PAGE)


def test_shell_prompts_are_not_output_of_the_program() -> None:
    """Prompts and the exit status belong to the shell, the rest is what the program prints."""
    assert Session("hello.py", "hello\n^C\n", 130) == session_of("$ python hello.py\nhello\n^C\n$ echo $?\n130\n")
    assert Session("readme.py", "one\n\n  two $ three\n", None) == session_of("one\n\n  two $ three\n")


def test_a_mark_needs_a_reason() -> None:
    """A block that is not run says why not."""
    assert [False] == [block.marked for block in blocks_of("<!-- not run: -->\n```python\nx\n```\n")]
