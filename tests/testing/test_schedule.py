"""Schedules of faults: their tokens, and the same as a strategy for hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceful.testing import Fault, Schedule, schedules
from graceful.testing._schedule import STEP_FAULTS


@pytest.mark.parametrize("token", ["none", "SIGTERM@41", "SIGKILL@41", "SIGINT@41+SIGINT@44", "hook-hangs@2+SIGTERM@7"])
def test_token_names_a_schedule(token: str) -> None:
    """What is parsed is printed as it was."""
    schedule = Schedule.parse(token)
    assert (schedule.token, str(schedule)) == (token, token)


MISUSE = {
    "": "is not a token such as SIGTERM@41",
    "SIGTERM": "is not a token such as SIGTERM@41",
    "SIGTERM@x": "is not a token such as SIGTERM@41",
    "SIGQUIT@3": "the faults are SIGTERM, SIGINT, SIGKILL, stop",
    "SIGTERM@0": "counted from 1",
}


@pytest.mark.parametrize("token", MISUSE)
def test_what_is_no_token_is_told(token: str) -> None:
    with pytest.raises(ValueError) as caught:
        Schedule.parse(token)
    assert MISUSE[token] in str(caught.value)
    assert repr(token) in str(caught.value)


@settings(deadline=None)
@given(schedules())
def test_every_schedule_has_a_token(schedule: Schedule) -> None:
    """One to three faults, and the token gives it back."""
    assert 1 <= len(schedule.faults) <= 3
    assert Schedule.parse(schedule.token) == schedule


@settings(deadline=None)
@given(st.data())
def test_strategy_keeps_to_its_limits(data: st.DataObject) -> None:
    faults = (Fault.SIGINT, Fault.HOOK_HANGS)
    drawn = data.draw(schedules(steps=9, hooks=2, most_faults=2, faults=faults))
    assert len(drawn.faults) <= 2
    for fault, place in drawn.faults:
        assert fault in faults
        assert 1 <= place <= (9 if fault in STEP_FAULTS else 2)
