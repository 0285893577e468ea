"""The shutdown state machine: every cell of its table, and what no sequence of triggers can bring about."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceful._core.state import TABLE, Action, State, StateMachine, Trigger

#: A row for each state: the state before, and for each trigger the state after it and the action. Cells that cannot come are
#: here too, because the table is total: such a trigger is ignored, or treated like its neighbours, and never raises.
EXPECTED = """
            SIGNAL           INTERRUPT           ECHO                FAILURE            UNHANDLED          ENDED              STOP               ANNOUNCE
NEW         STOPPING:STOP    INTERRUPTED:STOP    NEW:IGNORE          STOPPING:STOP      STOPPING:STOP      NEW:IGNORE         STOPPING:STOP      NEW:ANNOUNCE
STARTING    STOPPING:STOP    INTERRUPTED:STOP    STARTING:IGNORE     STOPPING:STOP      STOPPING:STOP      STARTING:IGNORE    STOPPING:STOP      STARTING:ANNOUNCE
RUNNING     STOPPING:STOP    INTERRUPTED:STOP    RUNNING:IGNORE      RUNNING:HANDLE     STOPPING:STOP      STOPPING:STOP      STOPPING:STOP      RUNNING:ANNOUNCE
STOPPING    STOPPING:RECORD  INTERRUPTED:ANSWER  STOPPING:IGNORE     STOPPING:RECORD    STOPPING:RECORD    STOPPING:IGNORE    STOPPING:IGNORE    STOPPING:IGNORE
INTERRUPTED INTERRUPTED:RECORD HURRY:HURRY       INTERRUPTED:IGNORE  INTERRUPTED:RECORD INTERRUPTED:RECORD INTERRUPTED:IGNORE INTERRUPTED:IGNORE INTERRUPTED:IGNORE
HURRY       HURRY:RECORD     HURRY:FORCE         HURRY:IGNORE        HURRY:RECORD       HURRY:RECORD       HURRY:IGNORE       HURRY:IGNORE       HURRY:IGNORE
OVER        OVER:LATE        OVER:LATE           OVER:LATE           OVER:RECORD        OVER:RECORD        OVER:IGNORE        OVER:IGNORE        OVER:IGNORE
"""
HEAD, *ROWS = [line.split() for line in EXPECTED.splitlines() if line]
CELLS = [
    (before, trigger, *cell.split(":")) for before, *cells in ROWS for trigger, cell in zip(HEAD, cells, strict=True)
]

#: In these tests times are whole milliseconds, so that "exactly the debounce" means what it says.
DEBOUNCE = 500
ORDER = [*State]

triggers = st.sampled_from(Trigger)
instants = st.integers(0, 10 * DEBOUNCE)
gaps_below = st.integers(0, DEBOUNCE - 1)
gaps_above = st.integers(DEBOUNCE, 10 * DEBOUNCE)


def machine_in(state: State) -> StateMachine:
    """A machine that came to this state on the way a run goes, with the last request an hour ago."""
    machine = StateMachine(DEBOUNCE)
    if state in (State.STARTING, State.RUNNING, State.OVER):
        machine.enter(state)
    elif state is State.STOPPING:
        machine.decide(Trigger.STOP, -3_600_000)
    elif state is not State.NEW:
        machine.decide(Trigger.INTERRUPT, -3_600_000)
        if state is State.HURRY:
            machine.decide(Trigger.INTERRUPT, -1_800_000)
    assert state is machine.state
    return machine


@pytest.mark.parametrize(("before", "trigger", "after", "action"), CELLS, ids=[" ".join(cell[:2]) for cell in CELLS])
def test_every_cell(before: str, trigger: str, after: str, action: str) -> None:
    """In each state, each trigger leads to the state and the action that the table says."""
    machine = machine_in(State[before])

    assert Action[action] is machine.decide(Trigger[trigger], 0)
    assert State[after] is machine.state


def test_cells_are_all_there() -> None:
    """The table above and the one in the code have a cell for every state and every trigger, and no other."""
    everything = {(state, trigger) for state in State for trigger in Trigger}

    assert everything == {(State[before], Trigger[trigger]) for before, trigger, _, _ in CELLS}
    assert everything == TABLE.keys()


@pytest.mark.parametrize(
    ("gap", "expected"),
    [(0, Action.IGNORE), (DEBOUNCE - 1, Action.IGNORE), (DEBOUNCE, Action.HURRY), (100 * DEBOUNCE, Action.HURRY)],
)
def test_ctrl_c_after_ctrl_c(gap: int, expected: Action) -> None:
    """After a Ctrl-C, another one within the debounce is the same request, and a later one means hurry."""
    machine = machine_in(State.RUNNING)
    assert Action.STOP is machine.decide(Trigger.INTERRUPT, 1000)

    assert expected is machine.decide(Trigger.INTERRUPT, 1000 + gap)


@pytest.mark.parametrize("first", [Trigger.SIGNAL, Trigger.STOP, Trigger.UNHANDLED, Trigger.ENDED])
def test_the_first_ctrl_c_of_a_shutdown_that_something_else_began(first: Trigger) -> None:
    """It is answered, and changes nothing; only the next one hurries."""
    machine = machine_in(State.RUNNING)
    assert Action.STOP is machine.decide(first, 1000)

    assert Action.ANSWER is machine.decide(Trigger.INTERRUPT, 1000 + DEBOUNCE)
    assert Action.HURRY is machine.decide(Trigger.INTERRUPT, 1000 + 2 * DEBOUNCE)


@pytest.mark.parametrize(("gap", "expected"), [(DEBOUNCE - 1, Action.IGNORE), (DEBOUNCE, Action.FORCE)])
def test_ctrl_c_after_the_second_one(gap: int, expected: Action) -> None:
    """The one that means force must come the debounce after the one that meant hurry, too."""
    machine = machine_in(State.INTERRUPTED)
    assert Action.HURRY is machine.decide(Trigger.INTERRUPT, 1000)

    assert expected is machine.decide(Trigger.INTERRUPT, 1000 + gap)


def test_whoever_keeps_pressing_is_heard() -> None:
    """25 presses 0.2 s apart: an echo does not start the wait anew, so the shutdown hurries and is then ended."""
    machine = machine_in(State.RUNNING)
    actions = [machine.decide(Trigger.INTERRUPT, 200 * press) for press in range(25)]

    assert [Action.STOP, Action.HURRY, Action.FORCE] == [each for each in actions if each is not Action.IGNORE][:3]
    assert Action.HURRY is actions[3]


@given(st.lists(gaps_above, min_size=1))
def test_other_signals_never_escalate(gaps: list[int]) -> None:
    """SIGTERM and SIGHUP may come as often as they like: a supervisor repeats them, and a wrapper forwards them."""
    machine = machine_in(State.RUNNING)
    at = 0
    actions = [machine.decide(Trigger.SIGNAL, at := at + gap) for gap in gaps]

    assert [Action.STOP, *[Action.RECORD] * (len(gaps) - 1)] == actions


@pytest.mark.parametrize("between", [Trigger.FAILURE, Trigger.UNHANDLED, Trigger.ENDED, Trigger.STOP, Trigger.ANNOUNCE])
def test_only_signals_count_for_the_debounce(between: Trigger) -> None:
    """What is recorded or ignored during the shutdown does not make the next Ctrl-C an echo."""
    machine = machine_in(State.RUNNING)
    machine.decide(Trigger.INTERRUPT, 0)
    machine.decide(between, DEBOUNCE - 1)

    assert Action.HURRY is machine.decide(Trigger.INTERRUPT, DEBOUNCE)


def test_without_debounce_no_signal_is_an_echo() -> None:
    """A debounce of 0 makes three presses at the same instant three requests."""
    machine = StateMachine(0)

    assert [Action.STOP, Action.HURRY, Action.FORCE] == [machine.decide(Trigger.INTERRUPT, 7) for _ in range(3)]


@settings(deadline=None)
@given(st.lists(st.tuples(triggers, instants)))
def test_state_never_goes_backwards(posted: list[tuple[Trigger, int]]) -> None:
    """No sequence of triggers, at whatever times, leads back to an earlier state, and none is refused."""
    machine = StateMachine(DEBOUNCE)
    passed = [machine.state]
    for trigger, at in posted:
        machine.decide(trigger, at)
        passed.append(machine.state)

    assert sorted(passed, key=ORDER.index) == passed


@settings(deadline=None)
@given(st.tuples(*[st.lists(st.tuples(triggers, instants))] * 3))
def test_own_steps_never_go_backwards(posted: tuple[list[tuple[Trigger, int]], ...]) -> None:
    """
    A run that comes to its next phase does not undo a request that was decided a moment before.

    A signal handler may run between the runner's look at the state and its `enter`.
    """
    machine = StateMachine(DEBOUNCE)
    passed = [machine.state]
    for phase, noticed in zip([None, State.STARTING, State.RUNNING], posted, strict=True):
        if phase is not None:
            machine.enter(phase)
            passed.append(machine.state)
        for trigger, at in noticed:
            machine.decide(trigger, at)
            passed.append(machine.state)

    assert sorted(passed, key=ORDER.index) == passed


@settings(deadline=None)
@given(st.lists(st.tuples(triggers, instants)))
def test_steps_are_never_left_out(posted: list[tuple[Trigger, int]]) -> None:
    """There is at most one STOP and one HURRY, FORCE comes only after HURRY, and HURRY only after STOP."""
    machine = StateMachine(DEBOUNCE)
    machine.enter(State.RUNNING)
    actions = [machine.decide(trigger, at) for trigger, at in posted]
    escalation = [action for action in actions if action in (Action.STOP, Action.HURRY, Action.FORCE)]
    forced = max(0, len(escalation) - 2)

    assert [Action.STOP, Action.HURRY, *[Action.FORCE] * forced][: len(escalation)] == escalation


@given(st.lists(gaps_above, min_size=3))
def test_each_press_escalates(gaps: list[int]) -> None:
    """Presses that are the debounce apart or more are requests of their own: stop, hurry, and from then on force."""
    machine = machine_in(State.RUNNING)
    at = 0
    actions = [machine.decide(Trigger.INTERRUPT, at := at + gap) for gap in gaps]

    assert [Action.STOP, Action.HURRY, *[Action.FORCE] * (len(gaps) - 2)] == actions
