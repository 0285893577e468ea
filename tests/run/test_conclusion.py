"""What run() raises when it is over, and what the user reads on stderr."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import traceback

import pytest
from support.failures import LIMIT, SHORT, Mine, lines_aside, main_that, stopped_by_failure
from support.programs import LOOPS

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


# --- the traceback and its note --------------------------------------------------------------------------------------


IN_MAIN = """
async def main():
    {}
    await asyncio.sleep(5)
"""


FAIL = "async def fail(): raise ValueError('mine')\n"


TASK = "in task 'NAME' (fail at program0.py:N)"


TOLD = {
    "main": ("async def main(): raise ValueError('mine')", None),
    "supervised": (FAIL + IN_MAIN.format("app.create_task(fail())"), TASK + ", created at program0.py:N in main"),
    "plain": (
        FAIL + IN_MAIN.format("held = asyncio.create_task(fail())"),
        TASK + ": nobody retrieved its exception within 0.05 s",
    ),
    "background": ("@app.background\n" + FAIL + IN_MAIN, TASK + ", registered as a background hook at program0.py:N"),
    "on_signal": (
        "@app.on_signal('USR1')\n" + FAIL + IN_MAIN.format("signal.raise_signal(signal.SIGUSR1)"),
        "in task 'NAME', registered as an on_signal hook at program0.py:N",
    ),
    "startup": ("@app.on_startup\n" + FAIL + IN_MAIN, "in startup hook fail (program0.py:N)"),
    "cleanup": ("@app.on_shutdown\n" + FAIL + "async def main(): pass", "in cleanup hook fail (program0.py:N)"),
    "drain": (
        "@app.on_shutdown(stage='drain')\n" + FAIL + "async def main(): pass",
        "in drain hook fail (program0.py:N)",
    ),
    "callback": (
        FAIL.removeprefix("async ") + IN_MAIN.format("asyncio.get_running_loop().call_later(0.01, fail)"),
        "in callback fail() at program0.py:N",
    ),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", TOLD)
def test_a_failure_is_shown_once_without_frames_of_the_package(program, loop, way, request):
    """The traceback shows the call of run(), then the user's code, and one note about the origin; nothing else."""
    source, note = TOLD[way]
    source = f"app = App('t', grace=3, patience=0.05)\n{source.format('pass')}\napp.run(main, loop_factory=LOOP)\n"
    ended = program(source, loop=loop).end()
    frames = re.findall(r'^  File "(?:.*/)?([^/"]+)", line \d+, in (.+)$', ended.err, re.MULTILINE)
    failing = "main" if way == "main" else "fail"
    assert [("program0.py", "<module>"), ("_app.py", "run"), ("program0.py", failing)] == frames
    first, *_ = lines = ended.err.splitlines()
    assert ("Traceback (most recent call last):", 1, 1) == (first, ended.err.count("Traceback"), ended.status)
    if (loop, way) == ("uvloop", "callback"):
        note = lines[-1]  # uvloop's own words: an address in place of the file and the line
    last = re.sub(r"task '[^']+'", "task 'NAME'", lines_aside("\n".join(lines[-1 - (note is not None) :])))
    assert "\n".join(["ValueError: mine", *([note] if note else [])]) == last


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", ["supervised", "plain"])
@pytest.mark.parametrize("how", ["debug=True", "PYTHONASYNCIODEBUG"])
def test_debug_shows_where_a_task_was_created(program, loop, way, how):
    """In debug mode, however it is turned on, the note says where the task was created, innermost first."""
    create = {"supervised": "app.create_task(fail())", "plain": "return asyncio.create_task(fail())"}[way]
    source = f"""
app = App("t", grace=3, patience=0.05)
{FAIL}
def begin():
    {create}
async def main():
    held = begin()
    await asyncio.sleep(5)
app.run(main, loop_factory=LOOP{", debug=True" if how == "debug=True" else ""})
"""
    ended = program(source, loop=loop, env={} if how == "debug=True" else {"PYTHONASYNCIODEBUG": "1"}).end()
    assert (1, 1) == (ended.status, ended.err.count("Traceback"))
    (note,) = [line for line in ended.err.splitlines() if line.startswith("in task")]
    note = re.sub(r":\d+", ":N", note)
    assert "created at program0.py:N in begin < program0.py:N in main < program0.py:N in <module>" in note


def test_debug_does_not_hide_where_a_hook_was_registered(program):
    """In debug mode, too, a background hook's note says where it was registered."""
    source = f"app = App('t')\n@app.background\n{FAIL}app.run(debug=True)\n"
    assert "registered as a background hook at program0.py:" in program(source).end().err


# --- several errors --------------------------------------------------------------------------------------------------


def test_the_errors_of_hooks_are_one_group(app, new_loop):
    """Errors of several hooks are one group, in the order of time, each with a note of its hook and its place."""

    @app.resource
    async def lease():
        yield
        raise Mine(4)

    @app.on_shutdown
    def close():
        raise Mine(3)

    @app.on_shutdown(stage="drain")
    async def refuse():
        raise Mine(1)

    async def release():
        raise Mine(2)

    async def main():
        app.push_async_callback(release)

    with pytest.raises(ExceptionGroup, match="4 errors after main returned") as caught:
        app.run(main, loop_factory=new_loop)
    assert [1, 2, 3, 4] == [error.args[0] for error in caught.value.exceptions]
    notes = [re.sub(r"\(.*:\d+\)", "(place)", note) for error in caught.value.exceptions for note in error.__notes__]
    assert [
        "in drain hook refuse (place)",
        "in cleanup hook release (place)",
        "in cleanup hook close (place)",
        "in cleanup hook lease (place)",
    ] == notes


def test_mains_failure_comes_before_the_group(app):
    """Main's failure is raised, and the errors of several hooks are one group in its context."""
    for number in (2, 1):

        @app.on_shutdown
        def close(number=number):
            raise KeyError(number)

    raised = stopped_by_failure(app, main_that(app, "main"))
    assert isinstance(raised.__context__, ExceptionGroup)
    assert [1, 2] == [error.args[0] for error in raised.__context__.exceptions]
    assert 1 == "".join(traceback.format_exception(raised)).count("failures.Mine\n")


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    value: int = 1


class Incomparable(Exception):
    def __eq__(self, other):
        raise ValueError

    __hash__ = None


@pytest.mark.parametrize("kind", [Frozen, Incomparable])
def test_equal_exceptions_are_two(app, kind):
    """Main's exception and a hook's are both reported, also if they are equal, or cannot even be compared."""
    seconds = [kind()]

    @app.on_shutdown
    def close():
        raise seconds[0]

    async def main():
        raise kind

    first = stopped_by_failure(app, main, error=kind)
    assert first.__context__ is seconds[0]


# --- exceptions that are hard to handle ------------------------------------------------------------------------------


@dataclasses.dataclass
class Unhashable(Exception):
    value: int = 1


class Slotted(Exception):
    __slots__ = ("__notes__",)


class Mute(Exception):
    def __str__(self):
        raise ValueError

    __repr__ = __str__


class Noteless(Exception):
    __notes__ = None


class Petrified(Exception):
    def __setattr__(self, name, value):
        raise AttributeError(name)

    def add_note(self, note):
        raise ValueError


ODD = [Frozen, Unhashable, Slotted, Mute, Incomparable, Petrified, Noteless]


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("way", ["main", "supervised", "plain", "callback", "hook", "startup"])
def test_exceptions_that_cannot_be_noted_shown_or_compared(app, kind, way):
    """An exception that cannot be noted, shown, compared or hashed is raised and reported like any other."""
    closed = []
    app.on_shutdown(lambda: closed.append(True))

    def refuse():
        raise kind

    async def refuse_later():
        raise kind

    if way == "startup":
        app.on_startup(refuse)
    if way == "hook":
        app.on_shutdown(refuse)
        app.on_shutdown(refuse)

    async def main():
        if way == "main":
            raise kind
        held = {
            "supervised": lambda: app.create_task(refuse_later()),
            "plain": lambda: asyncio.create_task(refuse_later()),
            "callback": lambda: asyncio.get_running_loop().call_soon(refuse),
        }.get(way, lambda: app.stop())()
        await asyncio.sleep(LIMIT)
        return held

    with pytest.raises(ExceptionGroup if way == "hook" else kind) as caught:
        app.run(main)
    assert ([True], 1) == (closed, app.report.exit_status)
    assert kind.__name__ in app.report.text()
    assert kind.__name__ in "".join(traceback.format_exception(caught.value))


class Unshowable(Exception):
    """As a frozen dataclass that is an exception: it refuses to be changed, and to be shown."""

    def __setattr__(self, name, value):
        raise AttributeError(name)

    def __str__(self):
        raise AttributeError


def test_exceptions_that_cannot_be_changed_or_shown(app):
    """An exception that can be neither noted nor shown does not keep a hook from running."""
    seen = []
    app.on_shutdown(lambda: seen.append("last"))

    @app.on_shutdown
    def fails():
        raise Unshowable

    @app.on_shutdown
    def fails_too():
        raise KeyError

    async def main():
        raise Unshowable

    with pytest.raises(Unshowable):
        app.run(main)
    assert ["last"] == seen
    assert app.report.text()


def test_an_exception_that_is_its_own_cause(app):
    """`raise e from e`, beside a hook that fails, is raised, without an endless loop along its causes."""

    @app.on_shutdown
    def fails():
        raise KeyError

    @app.on_shutdown
    def raises_the_same(cause):
        raise cause.exception

    async def main():
        try:
            raise ValueError
        except ValueError as error:
            raise error from error

    with pytest.raises(ValueError):
        app.run(main)


class Falsy(Exception):  # noqa: N818 - as some libraries name theirs
    """Several errors in one, as libraries have it: without any, it is false."""

    def __len__(self):
        return 0


def test_an_exception_that_is_false(app):
    """It counts like any other: raised, and in the report."""

    async def main():
        raise Falsy("none")

    with pytest.raises(Falsy):
        app.run(main)
    assert 1 == app.report.exit_status
