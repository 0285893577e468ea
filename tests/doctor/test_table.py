"""The diagnosis as text."""

from __future__ import annotations

from graceful._doctor.table import rendered
from graceful._doctor.verdict import Diagnosis, Level, Verdict

DIAGNOSIS = Diagnosis(
    command=("python", "my app.py"),
    signal="SIGTERM",
    grace=3.0,
    ready="port 80 accepts",
    ready_after=0.254,
    verdicts=(
        Verdict("stop", "SIGTERM", Level.OK, "0.12 s, exit(0)"),
        Verdict("files", "temporary files left", Level.WARN, "left: draft", "unlink", "with TemporaryDirectory()"),
        Verdict("pid1", "SIGTERM as PID 1", Level.FAIL, "still running after 3.0 s", "set a handler", "app.run(main)"),
        Verdict("load", "under load", Level.SKIP, "no --load COMMAND"),
        Verdict("kept", "stdout is kept", Level.OK, "2 lines"),
    ),
)

TEXT = """\
python 'my app.py'
ready after 0.25 s (port 80 accepts), grace 3 s

ok    SIGTERM               0.12 s, exit(0)
warn  temporary files left  left: draft
      cure: unlink
      with graceful: with TemporaryDirectory()
FAIL  SIGTERM as PID 1      still running after 3.0 s
      cure: set a handler
      with graceful: app.run(main)
skip  under load            no --load COMMAND
ok    stdout is kept        2 lines

2 ok, 1 warn, 1 FAIL, 1 skip"""


def test_text() -> None:
    """A line a verdict, cures below, a summary last."""
    assert TEXT == rendered(DIAGNOSIS)


def test_colours() -> None:
    """They change nothing but the colour of the levels."""
    coloured = rendered(DIAGNOSIS, colour=True)

    assert "\x1b[31mFAIL\x1b[0m  SIGTERM as PID 1" in coloured
    for code in (2, 31, 32, 33):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert TEXT == coloured.replace("\x1b[0m", "")
