"""The arguments of `create_subprocess_exec` and `create_subprocess_shell`, and what they return."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from graceful import StateError


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"stop": "SIGNONE"}, ValueError, "stop: there is no signal"),
        ({"stop": 1.5}, TypeError, "stop: expected a signal"),
        ({"drain": "yes"}, TypeError, "drain must be True or False"),
        ({"process_group": 1}, ValueError, "a process group of its own"),
    ],
)
def test_a_bad_argument(app, new_loop, options, error, text):
    """It is refused before anything is started."""

    async def main():
        with pytest.raises(error, match=text):
            await app.create_subprocess_exec("true", **options)
        with pytest.raises(error, match=text):
            await app.create_subprocess_shell("true", **options)

    app.run(main, loop_factory=new_loop)


def test_outside_of_a_run(app):
    """Without a running app it says what to do."""

    async def main():
        with pytest.raises(StateError, match=r"create_subprocess_exec\(\) needs a running app"):
            await app.create_subprocess_exec("true")

    asyncio.run(main())


def test_it_is_asyncios_process(app, new_loop):
    """Pipes, input, output and status are those of asyncio's function."""

    async def main():
        cat = await app.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        assert isinstance(cat, asyncio.subprocess.Process)
        assert (b"text", None) == await cat.communicate(b"text")
        shell = await app.create_subprocess_shell(
            "echo out; exit 3", asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
        )
        assert (b"out\n", None) == await shell.communicate()
        return cat.returncode, shell.returncode

    assert (0, 3) == app.run(main, loop_factory=new_loop)
    assert [] == app.report.outcomes or () == app.report.outcomes


def test_what_cannot_be_started(app, new_loop):
    """The error is asyncio's."""

    async def main():
        with pytest.raises(FileNotFoundError):
            await app.create_subprocess_exec("/no/such/program")

    app.run(main, loop_factory=new_loop)


def test_another_stop_signal(app, new_loop):
    """A child is asked to end by the signal that was chosen."""
    code = (
        "import signal, sys; signals = {signal.SIGUSR1}; signal.pthread_sigmask(signal.SIG_BLOCK, signals); "
        "print(flush=True); signal.sigwait(signals); sys.exit(5)"
    )

    async def main():
        child = await app.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stop=signal.SIGUSR1
        )
        await child.stdout.readline()
        return child

    assert 5 == app.run(main, loop_factory=new_loop).returncode


def test_a_critical_block_keeps_its_child(app, new_loop):
    """The shutdown does not stop a child that a task in a critical block has started."""
    statuses = []

    async def main():
        async with app.critical("backup"):
            child = await app.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
            app.stop()
            await asyncio.sleep(0.05)
            child.stdin.close()
            statuses.append(await child.wait())

    app.run(main, loop_factory=new_loop)
    assert [0] == statuses
