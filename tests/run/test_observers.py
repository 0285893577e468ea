"""App.add_observer: what happens in a run is told as it happens, and a broken observer costs no hook its turn."""

from __future__ import annotations

import asyncio
import logging
import signal

import pytest
from support.apps import ENTRANCES, nothing, stop_soon

from graceful import App, Event, EventKind, Verdict


def told(app):
    """What the app's observers are told."""
    events = []
    app.add_observer(events.append)
    return events


def kinds(events):
    return [event.kind for event in events]


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_run_is_told_in_order(app, entrance):
    """From the first startup hook to the end, each hook between its stage and the next."""
    events = told(app)

    @app.on_startup
    async def connect():
        pass

    @app.on_shutdown
    async def disconnect():
        pass

    ENTRANCES[entrance](app, nothing)

    assert [(event.kind.value, event.stage) for event in events] == [
        ("started", None),
        ("hook began", "startup"),
        ("hook ended", "startup"),
        ("ready", None),
        ("stopping", None),
        ("stage began", "on_exception"),
        ("stage began", "drain"),
        ("stage began", "cancel"),
        ("stage began", "cleanup"),
        ("hook began", "cleanup"),
        ("hook ended", "cleanup"),
        ("stage began", "finish"),
        ("over", None),
    ]


def test_an_event_says_what_it_is_about():
    """A hook by its name, with the end of its time; its end with its outcome; the rest with the cause."""
    app = App("orders", grace=4)
    events = told(app)

    @app.on_shutdown(timeout=1)
    async def disconnect():
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        app.run(nothing())
    by_kind = {event.kind: event for event in events}
    began, ended, stopping = (
        by_kind[kind] for kind in (EventKind.HOOK_BEGAN, EventKind.HOOK_ENDED, EventKind.STOPPING)
    )

    assert {event.app for event in events} == {"orders"}
    assert began.hook.endswith("disconnect")
    assert began.until == pytest.approx(began.at + 1, abs=0.05)
    assert ended.outcome is app.report.outcomes[0]
    assert ended.outcome.verdict is Verdict.RAISED
    assert stopping.cause is app.report.cause
    assert stopping.until == pytest.approx(stopping.at + 4)


def test_what_is_skipped_and_given_up_is_told(app):
    """A hook that has nothing to clean up, and a task that does not end."""
    events = told(app)

    @app.on_startup
    async def connect():
        raise OSError

    @app.on_shutdown
    async def disconnect():
        pass

    @app.on_startup
    async def never():
        pass

    with pytest.raises(OSError):
        app.run(nothing())
    skipped = [event.outcome for event in events if event.outcome and event.outcome.verdict is Verdict.SKIPPED]

    assert [outcome.hook.rpartition(".")[2] for outcome in skipped] == ["disconnect"]

    app = App("stubborn", grace=0.4)
    events = told(app)

    async def main():
        stop_soon(app)
        while True:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                pass

    app.run(main())

    assert [event.stage for event in events if event.kind is EventKind.GAVE_UP] == ["cancel"]


def test_a_signal_hook_is_told(app):
    """When it begins and when it has ended: a reload can be announced to a service manager."""
    events = told(app)

    @app.on_signal(signal.SIGHUP)
    async def reload():
        app.stop()

    async def main():
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(5)

    app.run(main())
    during = [event for event in events if event.stage == "signal"]

    assert kinds(during) == [EventKind.HOOK_BEGAN, EventKind.HOOK_ENDED]
    assert during[1].outcome.verdict is Verdict.OK


def raises(event):
    raise ValueError(event.kind)


def blocks(event):
    while True:
        pass


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("kind", [EventKind.STOPPING, EventKind.HOOK_BEGAN, EventKind.HOOK_ENDED])
@pytest.mark.parametrize("broken", [raises, blocks])
def test_a_broken_observer_costs_nobody_a_hook(entrance, kind, broken, caplog):
    """It is dropped, which is logged once, and reported; the other observer and all hooks go on."""
    app = App("observed", grace=2)
    calls, seen = [], []

    @app.add_observer
    def observer(event: Event):
        if event.kind is kind:
            calls.append(kind)
            broken(event)

    app.add_observer(seen.append)
    for name in ("first", "second"):
        app.on_shutdown(lambda name=name: seen.append(name))
    with caplog.at_level(logging.WARNING, "graceful"):
        ENTRANCES[entrance](app, nothing)

    assert calls == [kind]
    assert [name for name in seen if isinstance(name, str)] == ["second", "first"]
    assert kinds([event for event in seen if not isinstance(event, str)])[-1] is EventKind.OVER
    assert len([record for record in caplog.records if "observer" in record.getMessage()]) == 1
    assert app.report.exit_status == 0


def test_sys_exit_in_an_observer_ends_the_program(app):
    """As in any other code of the program, with the cleanup."""
    cleaned = []
    app.on_shutdown(lambda: cleaned.append(True))

    @app.add_observer
    def observer(event):
        if event.kind is EventKind.READY:
            raise SystemExit(7)

    with pytest.raises(SystemExit) as raised:
        app.run(asyncio.sleep(5))

    assert raised.value.code == 7
    assert cleaned == [True]


def test_added_while_the_app_runs(app):
    """It is told from then on."""
    events = []

    async def main():
        app.add_observer(events.append)

    app.run(main())

    assert kinds(events)[0] is EventKind.STOPPING


async def coroutine_function(event):
    pass


@pytest.mark.parametrize("observer", [None, 5, coroutine_function])
def test_what_cannot_observe_is_refused(app, observer):
    """With what is expected, and what was got."""
    with pytest.raises(TypeError, match="takes a plain function that is called with an Event, got "):
        app.add_observer(observer)


def test_a_signal_hook_says_for_which_signal(app):
    """Its beginning and its end name the signal that it runs for; those of other hooks name none."""
    events = told(app)
    app.on_startup(lambda: None)
    app.on_signal(signal.SIGUSR1, signal.SIGUSR2)(lambda: None)

    async def main():
        signal.raise_signal(signal.SIGUSR2)
        await asyncio.sleep(0.02)

    app.run(main)

    hooks = [event for event in events if event.kind in (EventKind.HOOK_BEGAN, EventKind.HOOK_ENDED)]
    assert [None, None, signal.SIGUSR2, signal.SIGUSR2] == [event.signal for event in hooks]
