"""The checks of what a caller passes: durations and signals are taken or refused, and the message names the argument."""

from __future__ import annotations

import math
import signal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceful import App, Hooks
from graceful._core.arguments import seconds, signal_from

# --- durations -------------------------------------------------------------------------------------------------------


DURATIONS = ["grace", "drain_delay", "debounce", "patience"]


@pytest.mark.parametrize("argument", DURATIONS)
@pytest.mark.parametrize("value", [3, 0.25, 1e-9], ids=repr)
def test_durations_are_kept(argument: str, value: float) -> None:
    """What was passed is what counts, as a float."""
    kept = getattr(App(**{"grace": 60, argument: value})._settings, argument)

    assert value == kept
    assert isinstance(kept, float)


@pytest.mark.parametrize("argument", ["drain_delay", "debounce", "patience"])
def test_zero_is_a_duration(argument: str) -> None:
    """Without delay, debounce or patience is a choice one can make."""
    assert 0.0 == getattr(App(**{argument: 0})._settings, argument)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("argument", DURATIONS)
@pytest.mark.parametrize("value", [-1, -1e-9, NAN, INF, -INF, 10**400], ids=lambda value: f"{value!r:.5}")
def test_impossible_durations(argument: str, value: float) -> None:
    """A duration that is negative, infinite or no number is a ValueError that names the argument and the value."""
    with pytest.raises(ValueError, match=rf"^{argument} must be a finite number of seconds, .* got ") as raised:
        App(**{argument: value})

    assert f"got {value!r}" in str(raised.value)


def test_grace_must_be_something() -> None:
    """A grace of 0 would kill every hook: it must be more."""
    with pytest.raises(ValueError, match=r"^grace must be .*, more than 0, got 0$"):
        App(grace=0)


@pytest.mark.parametrize("argument", DURATIONS)
@pytest.mark.parametrize("value", [True, False, "5", b"5", 5j, [5], object, Fraction(1, 2)], ids=repr)
def test_durations_of_a_wrong_type(argument: str, value: object) -> None:
    """What is no int and no float, and a bool, is a TypeError that names the argument, the value and its type."""
    with pytest.raises(TypeError, match=rf"^{argument} must be a number of seconds, got ") as raised:
        App(**{argument: value})

    assert f"got {value!r} ({type(value).__name__})" in str(raised.value)


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(), st.binary(), st.complex_numbers()))
def test_a_duration_is_taken_or_refused(value: object) -> None:
    """Whatever is passed for a duration comes out as a float of the same value, but no more than the timers take, or is
    a TypeError or ValueError.
    """
    try:
        taken = seconds("argument", value)
    except TypeError:
        assert isinstance(value, bool) or not isinstance(value, (int, float))
    except ValueError:
        assert not math.isfinite(value) or value < 0
    else:
        assert taken == min(float(value), 1e9)
        assert isinstance(taken, float)
        assert 0 <= taken < INF


@pytest.mark.parametrize("decorator", ["on_startup", "on_shutdown", "on_exception", "resource"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (NAN, ValueError), (INF, ValueError), (True, TypeError), ("5", TypeError)],
    ids=repr,
)
def test_timeouts_of_hooks(decorator: str, value: object, error: type[Exception]) -> None:
    """A hook's timeout is checked when it is decorated, and must be more than 0."""
    with pytest.raises(error, match=r"^timeout must be .* got ") as raised:
        getattr(Hooks(), decorator)(timeout=value)

    assert f"got {value!r}" in str(raised.value)


@pytest.mark.parametrize("decorator", ["on_startup", "on_shutdown", "on_exception"])
def test_timeouts_are_kept(decorator: str) -> None:
    """A hook has the timeout that it was given, and none if it was given none."""
    hooks = Hooks()
    getattr(hooks, decorator)(timeout=3)(lambda: None)
    getattr(hooks, decorator)(lambda: None)

    assert [3.0, None] == [hook.timeout for hook in hooks._hooks()]


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [signal.SIGTERM, 15, "SIGTERM", "sigterm", "TERM", "term"], ids=repr)
def test_ways_to_write_a_signal(written: object) -> None:
    """A signal is a member of `signal.Signals`, its number, or its name in any case with or without SIG."""
    assert (signal.SIGTERM,) == App(signals=[written])._settings.signals


@pytest.mark.parametrize("several", [list, tuple, set, iter], ids=lambda kind: kind.__name__)
def test_several_signals(several: type) -> None:
    """Any iterable of signals will do."""
    signals = App(signals=several([signal.SIGUSR1, "SIGUSR2"]))._settings.signals

    assert {signal.SIGUSR1, signal.SIGUSR2} == {*signals}


@pytest.mark.parametrize("unknown", ["SIGNONSENSE", "SIG_IGN", "", "15", 0, -1, 9999], ids=repr)
def test_unknown_signals(unknown: object) -> None:
    """A signal that this platform does not have is a ValueError that shows it."""
    with pytest.raises(ValueError, match=r"^signals: there is no signal .* on this platform$") as raised:
        App(signals=[signal.SIGTERM, unknown])

    assert f"no signal {unknown!r} on" in str(raised.value)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
@pytest.mark.parametrize("form", ["member", "number", "name"])
def test_signals_that_cannot_be_caught(name: str, form: str) -> None:
    """SIGKILL and SIGSTOP are refused however they are written, because no handler can take them."""
    member = signal.Signals[name]
    written = {"member": member, "number": int(member), "name": name}[form]

    with pytest.raises(ValueError, match=rf"^signals: no handler can take {name}: the kernel lets no process"):
        App(signals=[written])


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGFPE", "SIGILL", "SIGBUS"])
def test_signals_of_faults(name: str) -> None:
    """A faulting instruction cannot be dealt with by a Python handler: it would fault for ever."""
    with pytest.raises(ValueError, match=rf"^signals: no handler can take {name}: .*faulting instruction"):
        App(signals=[name])


@pytest.mark.parametrize("value", [True, None, 15.0, b"SIGTERM", [signal.SIGTERM]], ids=repr)
def test_signals_of_a_wrong_type(value: object) -> None:
    """What is no signal by its type is a TypeError that shows the value, its type, and what a signal looks like."""
    with pytest.raises(TypeError, match=r"^signals: expected a signal such as signal\.SIGTERM, got ") as raised:
        App(signals=[value])

    assert f"got {value!r} ({type(value).__name__})" in str(raised.value)


@pytest.mark.parametrize("value", [signal.SIGTERM, 15, "SIGTERM", True, 15.0, len], ids=repr)
def test_one_signal_instead_of_several(value: object) -> None:
    """A lone signal, or what is not even iterable, is a TypeError that shows the brackets."""
    with pytest.raises(
        TypeError, match=r"^signals must be several signals, such as \[signal\.SIGTERM\], got "
    ) as raised:
        App(signals=value)

    assert f"got {value!r}" in str(raised.value)


@pytest.mark.parametrize(("given_", "error"), [("SIGKILL", ValueError), ("SIGNONSENSE", ValueError), (1.5, TypeError)])
def test_on_signal_takes_the_same_signals(given_: object, error: type[Exception]) -> None:
    """What cannot stop a program cannot be reacted to either, and the message names on_signal."""
    with pytest.raises(error, match=r"^on_signal\(\): "):
        Hooks().on_signal(signal.SIGHUP, given_)


@given(st.one_of(st.integers(-5, 100), st.text(max_size=12), st.sampled_from(signal.Signals), st.booleans()))
def test_a_signal_is_taken_or_refused(value: object) -> None:
    """Whatever is passed for a signal comes out as one that `signal.signal` takes, or is a TypeError or ValueError."""
    try:
        taken = signal_from("argument", value)
    except (TypeError, ValueError) as error:
        assert str(error).startswith("argument: ")
    else:
        signal.signal(taken, signal.getsignal(taken))
