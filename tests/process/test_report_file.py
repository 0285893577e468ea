"""GRACEFUL_REPORT: the report of any run in a file, without a change to the program."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import stat
import sys
import xml.etree.ElementTree as ET

import pytest
from support.failures import Mine
from support.programs import LOOPS

from graceful import App

SERVICE = """
app = App("service", grace=3)

@app.on_shutdown
async def close():
    await asyncio.sleep(0.01)
    say("closed")

async def main():
    say("ready")
    await asyncio.sleep(60)

app.run(main, loop_factory=LOOP)
"""

ENDINGS = {
    ".svg": lambda text: ET.fromstring(text).tag.endswith("svg") and "close" in text,
    ".json": lambda text: json.loads(text)["outcomes"][0]["hook"] == "close",
    ".txt": lambda text: "signal: SIGTERM" in text.splitlines()[0] and "cleanup close" in text,
    ".mmd": lambda text: text.startswith("gantt\n") and "    close :done" in text,
    ".trace.json": lambda text: "close" in {each["name"] for each in json.loads(text)["traceEvents"]},
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_dies_by_the_signal(program, tmp_path, loop, ending):
    """The report is in the file, in the format of its ending, though the process died by the signal."""
    file = tmp_path / f"last{ending}"
    running = program(SERVICE, loop=loop, env={"GRACEFUL_REPORT": str(file)}).wait_for("ready")
    ended = running.send(signal.SIGTERM).end()

    assert (-signal.SIGTERM, ["ready", "closed"], "") == (ended.status, ended.lines, ended.err)
    assert ENDINGS[ending](file.read_text(encoding="utf-8"))
    assert [file.name] == [each.name for each in tmp_path.iterdir() if each.suffix != ".py"]


def test_a_file_that_cannot_be_written(program, tmp_path):
    """A file that cannot be written is a warning: each hook ran, and the exit status is the same."""
    file = tmp_path / "missing" / "last.svg"
    ended = program(SERVICE, env={"GRACEFUL_REPORT": str(file)}).wait_for("ready").send(signal.SIGTERM).end()

    assert (-signal.SIGTERM, ["ready", "closed"]) == (ended.status, ended.lines)
    assert [f"the report could not be written to {file}: FileNotFoundError"] == [
        line.partition(": [")[0] for line in ended.err.splitlines()
    ]


def test_a_file_system_that_hangs(program, tmp_path):
    """Writing that blocks is unblocked when the grace is over: a warning, and death by the signal as ever."""
    file = tmp_path / "last.svg"
    hangs = """
def replace(*_):
    say("replacing")
    while True:
        time.sleep(0.05)
os.replace = replace
"""
    source = hangs + SERVICE.replace("grace=3", "grace=1")
    ended = program(source, env={"GRACEFUL_REPORT": str(file)}).wait_for("ready").send(signal.SIGTERM).end()

    assert (-signal.SIGTERM, ["ready", "closed", "replacing"]) == (ended.status, ended.lines)
    assert f"the report could not be written to {file}: it blocked, and was unblocked" in ended.err
    assert ended.took < 3


@pytest.mark.parametrize("wait", ["await asyncio.sleep(60)", "time.sleep(60)"], ids=["awaits", "blocks"])
def test_a_hook_that_takes_all_the_time(program, tmp_path, wait):
    """There is time left for the file, though a hook hangs until it is cancelled or unblocked."""
    file = tmp_path / "last.svg"
    source = SERVICE.replace("await asyncio.sleep(0.01)", wait).replace("grace=3", "grace=1")
    ended = program(source, env={"GRACEFUL_REPORT": str(file)}).wait_for("ready").send(signal.SIGTERM).end()

    assert 1 == ended.status
    assert "timed out" in "".join(ET.fromstring(file.read_text(encoding="utf-8")).itertext())


def test_an_unknown_ending(program):
    """It is an error before anything runs, like a bad GRACEFUL_GRACE."""
    ended = program(SERVICE, env={"GRACEFUL_REPORT": "last.png"}).end()

    assert (1, []) == (ended.status, ended.lines)
    assert "ValueError: GRACEFUL_REPORT must be a file whose name ends in" in ended.err.splitlines()[-1]


# --- in this process -------------------------------------------------------------------------------------------------


@pytest.fixture
def written_to(monkeypatch, tmp_path):
    """The file that GRACEFUL_REPORT names."""
    file = tmp_path / "last.json"
    monkeypatch.setenv("GRACEFUL_REPORT", str(file))
    return file


async def nothing():
    pass


def test_each_run_writes_it(written_to, new_loop):
    """A later run replaces the report of the one before."""
    app = App("test", grace=3)

    async def fail():
        raise Mine

    app.run(nothing, loop_factory=new_loop)
    assert (0, "completed") == (status_in(written_to), json.loads(written_to.read_text())["cause"]["kind"])
    with pytest.raises(Mine):
        app.run(fail, loop_factory=new_loop)
    assert (1, "exception") == (status_in(written_to), json.loads(written_to.read_text())["cause"]["kind"])


def status_in(file):
    return json.loads(file.read_text())["exit_status"]


def test_a_block_writes_it(written_to):
    """So does a run in a loop that somebody else owns."""

    async def main():
        async with App("test", grace=3):
            assert not written_to.exists()

    asyncio.run(main())
    assert 0 == status_in(written_to)


def test_what_is_there_is_kept_until_it_is_replaced(written_to, caplog, monkeypatch):
    """If writing fails halfway, the older report is still there, nothing else is, and nothing is raised."""
    written_to.write_text("older")

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with caplog.at_level(logging.WARNING, logger="graceful"):
        App("test", grace=3).run(nothing)
    assert ("older", [written_to]) == (written_to.read_text(), [*written_to.parent.iterdir()])
    assert [(logging.WARNING, f"the report could not be written to {written_to}: OSError: no space left")] == [
        (each.levelno, each.getMessage()) for each in caplog.records
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes of POSIX")
def test_links_and_modes(written_to, tmp_path):
    """A link stays one, and the file can be read by those whom the umask allows it."""
    kept = tmp_path / "kept.json"
    written_to.symlink_to(kept)
    before = os.umask(0o022)
    try:
        App("test", grace=3).run(nothing)
    finally:
        os.umask(before)
    assert written_to.is_symlink()
    assert (0, 0o644) == (status_in(kept), stat.S_IMODE(kept.stat().st_mode))


def test_a_simulation_writes_nothing(written_to):
    """Simulated runs, of which there are thousands, leave the file alone."""
    from graceful.testing import simulate  # here: others look at what `import graceful` alone brings

    app = App("test", grace=3)

    assert 0 == simulate(app, nothing).exit_status
    assert not written_to.exists()
