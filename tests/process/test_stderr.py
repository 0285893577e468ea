"""What is written to stderr and stdout at the end delays nothing, and goes nowhere else."""

from __future__ import annotations

import signal
import textwrap

import pytest
from support.blocking import DEAF, GRACE, MAIN, source
from support.programs import LOOPS

pytestmark = pytest.mark.parametrize("loop", LOOPS)


#: The descriptor `fd` is from here on a full pipe without a reader.
FULL = """
reading, writing = os.pipe()
os.set_blocking(writing, False)
try:
    while os.write(writing, b"x" * 4096): pass
except BlockingIOError: pass
os.set_blocking(writing, True)
os.dup2(writing, {fd})
"""


def test_a_full_pipe_on_stderr(program, loop):
    """A full pipe on stderr delays neither the end at the deadline nor the end by a third signal."""
    text = FULL.format(fd=2) + source(main=MAIN.format(body=DEAF["a query"]))
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert 70 == ended.status
    assert ended.took < GRACE + 1


def test_the_last_message_goes_to_stderr_only(program, loop, tmp_path):
    """If stderr was closed, a file that got its number is not written to."""
    text = """
if sys.stderr is not None:  # once more, without it
    os.close(2)
    os.execv(sys.executable, [sys.executable, *sys.argv])
data = open(sys.argv[1], "w")
assert data.fileno() == 2
print("mine", file=data, flush=True)
"""
    text += source(main=MAIN.format(body=DEAF["a bare except"]), grace=1)
    data = tmp_path / "data"
    ended = program(text, loop=loop, args=[str(data)]).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert (70, "mine\n") == (ended.status, data.read_text())
    assert ended.took < 1 + 1


def test_a_full_pipe_on_stdout(program, loop):
    """A full pipe on stdout does not delay the end, though there is still something in the buffer."""
    text = "app = App(grace=1)\n@app.on_shutdown\ndef close(): print('bye')\n"
    text += MAIN.format(body=textwrap.indent(FULL.format(fd=1), "    ")) + "app.run(main, loop_factory=LOOP)\n"
    ended = program(text, loop=loop).wait_for("ready").send(signal.SIGTERM).end(timeout=8)
    assert ended.status in (-15, 70), ended.err
    assert ended.took < 1 + 1


#: Descriptor 2 is a file from here on, and passes for the journal.
JOURNAL = """
os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 2)
os.environ["JOURNAL_STREAM"] = f"{os.fstat(2).st_dev}:{os.fstat(2).st_ino}"
"""


def test_priorities_in_the_journal(program, loop, tmp_path):
    """Where stderr is the journal, each line has its priority: a warning's, and that of the last words."""
    text = JOURNAL + "app = App('orders', grace=1)\napp.on_shutdown(timeout=5)(lambda: None)\n"
    text += MAIN.format(body=DEAF["a query"]) + "app.run(main, loop_factory=LOOP)\n"
    ended = program(text, loop=loop, args=[str(tmp_path / "journal")]).wait_for("ready").send(signal.SIGTERM).end(8)
    warning, *last_words = (tmp_path / "journal").read_text().splitlines()

    assert 70 == ended.status
    assert warning.startswith("<4>") and "orders" in warning
    assert last_words[0].startswith("<2>orders did not end within 1 s")
    assert {"<2>"} == {line[:3] for line in last_words}


def test_no_priorities_elsewhere(program, loop, tmp_path):
    """If the variable is inherited, and stderr leads elsewhere, no line has one; nor if logging is configured."""
    text = "app = App('orders', grace=1)\napp.on_shutdown(timeout=5)(lambda: None)\napp.run(asyncio.sleep(0))"
    journal = tmp_path / "journal"

    elsewhere = program(text, loop=loop, env={"JOURNAL_STREAM": "8:1"}).end()
    program(JOURNAL + "import logging; logging.basicConfig()\n" + text, loop=loop, args=[str(journal)]).end()

    assert elsewhere.err.startswith("the shutdown of orders")
    assert journal.read_text().startswith("WARNING:graceful:the shutdown of orders")
