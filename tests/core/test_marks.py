"""Marks: which functions of the package may be interrupted in place."""

from __future__ import annotations

import sys

import graceful._app
import graceful._run.embedded
import graceful._run.runner
from graceful._core import marks
from graceful._core.frames import may_interrupt
from graceful._hooks.hook import Hook, Stage

assert graceful._run.embedded  # imported, so that its marks are set


def names(mark: marks.Mark) -> set[str]:
    return {code.co_qualname for code in mark._codes}


def test_what_is_marked() -> None:
    """These functions call user code and are prepared for an exception in their own frame; a new one must be, too."""
    assert {
        "Hook.__call__",
        "HookRun.carry_out",
        "Observers._call",
        "ResourceTask._step",
        "Runner._drive",
        "SignalHooks._run",
        "_log",
        "_write",
    } == names(marks.calls_user_code)
    assert {"Hook.__call__", "Handle._run", "Runner._drive"} == names(marks.calls_without_frame)
    assert {"Runner._drive"} == names(marks.stack_starts_here)


def test_a_hook_is_interrupted_and_the_package_is_not() -> None:
    """Seen from a function that the package calls: user code may be interrupted, and the marked caller, but no other."""
    seen = []

    def look() -> None:
        frame = sys._getframe()
        seen.append(may_interrupt(frame))
        seen.append(may_interrupt(frame.f_back))

    Hook(look, Stage.CLEANUP)()
    assert [True, True] == seen

    def unmarked(value: object) -> None:
        raise LookupError

    try:
        graceful.App(grace="soon")  # type: ignore[arg-type]
    except TypeError as error:
        traceback = error.__traceback__
        while traceback.tb_next is not None:
            traceback = traceback.tb_next
        assert "seconds" == traceback.tb_frame.f_code.co_name
        assert marks.is_own(traceback.tb_frame)
        assert not may_interrupt(traceback.tb_frame)


def test_whose_code_it_is() -> None:
    """Code of the package is told from user code, and from asyncio's, by where it was defined."""
    assert marks.is_own_code(Hook.__call__.__code__)
    assert not marks.is_own_code(test_whose_code_it_is.__code__)
    assert not marks.is_own(sys._getframe())
    assert not marks.is_internal(sys._getframe())
