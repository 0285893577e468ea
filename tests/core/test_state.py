"""The shutdown state machine: every cell of its table, and what no sequence of events can bring about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceful._core.state import TABLE, Action, State, StateMachine, Trigger

#: Every cell, as the contract has it: state, sighting, state after it, action. What cannot come is here too, because the
#: table is total: it is ignored, or is treated like its neighbours, and never raises.
EXPECTED = """
NEW      SIGNAL     STOPPING STOP
NEW      ECHO       NEW      IGNORE
NEW      FAILURE    STOPPING STOP
NEW      UNHANDLED  STOPPING STOP
NEW      ENDED      NEW      IGNORE
NEW      STOP       STOPPING STOP

STARTING SIGNAL     STOPPING STOP
STARTING ECHO       STARTING IGNORE
STARTING FAILURE    STOPPING STOP
STARTING UNHANDLED  STOPPING STOP
STARTING ENDED      STARTING IGNORE
STARTING STOP       STOPPING STOP

RUNNING  SIGNAL     STOPPING STOP
RUNNING  ECHO       RUNNING  IGNORE
RUNNING  FAILURE    RUNNING  HANDLE
RUNNING  UNHANDLED  STOPPING STOP
RUNNING  ENDED      STOPPING STOP
RUNNING  STOP       STOPPING STOP

STOPPING SIGNAL     HURRY    HURRY
STOPPING ECHO       STOPPING IGNORE
STOPPING FAILURE    STOPPING RECORD
STOPPING UNHANDLED  STOPPING RECORD
STOPPING ENDED      STOPPING IGNORE
STOPPING STOP       STOPPING IGNORE

HURRY    SIGNAL     HURRY    FORCE
HURRY    ECHO       HURRY    IGNORE
HURRY    FAILURE    HURRY    RECORD
HURRY    UNHANDLED  HURRY    RECORD
HURRY    ENDED      HURRY    IGNORE
HURRY    STOP       HURRY    IGNORE

OVER     SIGNAL     OVER     LATE
OVER     ECHO       OVER     LATE
OVER     FAILURE    OVER     RECORD
OVER     UNHANDLED  OVER     RECORD
OVER     ENDED      OVER     IGNORE
OVER     STOP       OVER     IGNORE
"""


CELLS = [line.split() for line in EXPECTED.splitlines() if line]


#: In these tests times are whole milliseconds, so that "exactly the debounce" means what it says.
DEBOUNCE = 500


ORDER = [State.NEW, State.STARTING, State.RUNNING, State.STOPPING, State.HURRY, State.OVER]


sightings = st.sampled_from(Trigger)


instants = st.integers(0, 10 * DEBOUNCE)


gaps_below = st.integers(0, DEBOUNCE - 1)


gaps_above = st.integers(DEBOUNCE, 10 * DEBOUNCE)


def machine_in(state: State) -> StateMachine:
    """A machine that came to this state on the way a run goes, with the last request an hour ago."""
    machine = StateMachine(DEBOUNCE)
    if state in (State.STARTING, State.RUNNING, State.OVER):
        machine.enter(state)
    elif state is not State.NEW:
        machine.decide(Trigger.STOP, -3_600_000)
        if state is State.HURRY:
            machine.decide(Trigger.SIGNAL, -1_800_000)
    assert state is machine.state
    return machine


@pytest.mark.parametrize(("before", "sighting", "after", "action"), CELLS, ids=[" ".join(cell[:2]) for cell in CELLS])
def test_every_cell(before: str, sighting: str, after: str, action: str) -> None:
    """In each state, each event leads to the state and the action that the table says."""
    machine = machine_in(State[before])

    assert Action[action] is machine.decide(Trigger[sighting], 0)
    assert State[after] is machine.state


def test_cells_are_all_there() -> None:
    """The table above and the one in the code have a cell for every state and every event, and no other."""
    everything = {(state, sighting) for state in State for sighting in Trigger}

    assert everything == {(State[before], Trigger[sighting]) for before, sighting, _, _ in CELLS}
    assert everything == TABLE.keys()


@pytest.mark.parametrize("first", [Trigger.SIGNAL, Trigger.STOP, Trigger.UNHANDLED, Trigger.ENDED])
@pytest.mark.parametrize(
    ("gap", "expected"),
    [(0, Action.IGNORE), (DEBOUNCE - 1, Action.IGNORE), (DEBOUNCE, Action.HURRY), (100 * DEBOUNCE, Action.HURRY)],
)
def test_signal_after_the_first_request(first: Trigger, gap: int, expected: Action) -> None:
    """Whatever began the shutdown, a signal within the debounce is the same request, and a later one means hurry."""
    machine = machine_in(State.RUNNING)
    assert Action.STOP is machine.decide(first, 1000)

    assert expected is machine.decide(Trigger.SIGNAL, 1000 + gap)


@pytest.mark.parametrize(("gap", "expected"), [(DEBOUNCE - 1, Action.IGNORE), (DEBOUNCE, Action.FORCE)])
def test_signal_after_the_second_request(gap: int, expected: Action) -> None:
    """The signal that means force must stand off from the one that meant hurry by the debounce, too."""
    machine = machine_in(State.STOPPING)
    assert Action.HURRY is machine.decide(Trigger.SIGNAL, 1000)

    assert expected is machine.decide(Trigger.SIGNAL, 1000 + gap)


@pytest.mark.parametrize("between", [Trigger.FAILURE, Trigger.UNHANDLED, Trigger.ENDED, Trigger.STOP])
def test_only_signals_prolong_the_debounce(between: Trigger) -> None:
    """What is recorded or ignored during the shutdown does not make the next Ctrl-C an echo."""
    machine = machine_in(State.RUNNING)
    machine.decide(Trigger.SIGNAL, 0)
    machine.decide(between, DEBOUNCE - 1)

    assert Action.HURRY is machine.decide(Trigger.SIGNAL, DEBOUNCE)


def test_without_debounce_no_signal_is_an_echo() -> None:
    """A debounce of 0 makes three signals at the same instant three requests."""
    machine = StateMachine(0)

    assert [Action.STOP, Action.HURRY, Action.FORCE] == [machine.decide(Trigger.SIGNAL, 7) for _ in range(3)]


@given(st.lists(st.tuples(sightings, instants)))
def test_state_never_goes_backwards(posted: list[tuple[Trigger, int]]) -> None:
    """No sequence of events, at whatever times, leads back to an earlier state, and none is refused."""
    machine = StateMachine(DEBOUNCE)
    passed = [machine.state]
    for sighting, at in posted:
        machine.decide(sighting, at)
        passed.append(machine.state)

    assert sorted(passed, key=ORDER.index) == passed


@given(st.tuples(*[st.lists(st.tuples(sightings, instants))] * 3))
def test_own_steps_never_go_backwards(posted: tuple[list[tuple[Trigger, int]], ...]) -> None:
    """
    A run that comes to its next phase does not undo a request that was decided a moment before.

    A signal handler may run between the runner's look at the state and its `enter`.
    """
    machine = StateMachine(DEBOUNCE)
    passed = [machine.state]
    for phase, sighted in zip([None, State.STARTING, State.RUNNING], posted, strict=True):
        if phase is not None:
            machine.enter(phase)
            passed.append(machine.state)
        for sighting, at in sighted:
            machine.decide(sighting, at)
            passed.append(machine.state)

    assert sorted(passed, key=ORDER.index) == passed


@given(st.lists(st.tuples(sightings, instants)))
def test_steps_are_never_left_out(posted: list[tuple[Trigger, int]]) -> None:
    """There is one STOP and one HURRY at the most, FORCE comes after HURRY only, and HURRY after STOP only."""
    machine = StateMachine(DEBOUNCE)
    machine.enter(State.RUNNING)
    actions = [machine.decide(sighting, at) for sighting, at in posted]
    escalation = [action for action in actions if action in (Action.STOP, Action.HURRY, Action.FORCE)]
    forced = max(0, len(escalation) - 2)

    assert [Action.STOP, Action.HURRY, *[Action.FORCE] * forced][: len(escalation)] == escalation


@given(
    first=st.sampled_from([Trigger.SIGNAL, Trigger.STOP, Trigger.UNHANDLED, Trigger.ENDED]),
    storm=st.lists(st.tuples(gaps_below, st.lists(st.sampled_from([Trigger.FAILURE, Trigger.STOP, Trigger.ENDED])))),
    quiet=gaps_above,
)
def test_many_signals_in_a_row_are_one_request(
    first: Trigger, storm: list[tuple[int, list[Trigger]]], quiet: int
) -> None:
    """Signals closer together than the debounce never escalate, however many; after a pause the next one does."""
    machine = machine_in(State.RUNNING)
    machine.decide(first, at := 0)
    for gap, others in storm:
        at += gap
        for other in others:
            machine.decide(other, at)
        assert Action.IGNORE is machine.decide(Trigger.SIGNAL, at)
        assert State.STOPPING is machine.state

    assert Action.HURRY is machine.decide(Trigger.SIGNAL, at + quiet)


@given(st.lists(gaps_above, min_size=3))
def test_each_request_escalates(gaps: list[int]) -> None:
    """Signals that stand off by the debounce or more are requests of their own: stop, hurry, and from then on force."""
    machine = machine_in(State.RUNNING)
    at = 0
    actions = [machine.decide(Trigger.SIGNAL, at := at + gap) for gap in gaps]

    assert [Action.STOP, Action.HURRY, *[Action.FORCE] * (len(gaps) - 2)] == actions
