"""The README: every program on the page runs, and prints what the page says it prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.pages import Block, Session, as_shown, blocks_of, session_of, shell_status

README = Path(__file__).parents[2] / "README.md"


BLOCKS = blocks_of(README.read_text())


def test_the_page_has_programs() -> None:
    """The README shows at least one program together with what it prints."""
    assert [block for block in BLOCKS if block.output is not None]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_program_prints_what_the_page_says(block: Block, play: Callable, tmp_path: Path) -> None:
    """A program of the README prints what the block behind it shows, and ends as shown; without output it just runs."""
    session = session_of(block.output or "")
    script = tmp_path / session.script
    script.write_text(block.source)
    ended = play(script, session.prints)
    if block.output is None:
        assert (0, "") == (ended.status, ended.err)
        return
    shown = session.prints.replace("^C\n", "")
    assert as_shown(shown, session.prints) == as_shown(ended.out, session.prints)
    if session.status is None:
        assert "Traceback" not in ended.err, ended.err
    else:
        assert session.status == shell_status(ended.status), ended.err


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


def test_a_line_that_comes_again_before_ctrl_c() -> None:
    """On a slow machine a program has printed its line once more."""
    prints = "begin\nworking\n^C\nflushed\n"
    assert "begin\nworking\nflushed\n" == as_shown("begin\nworking\nworking\nflushed\n", prints)
    assert "begin\nworking\nlost\n" == as_shown("begin\nworking\nlost\n", prints)
    assert "begin\nbegin\nflushed\n" == as_shown("begin\nbegin\nflushed\n", prints)
