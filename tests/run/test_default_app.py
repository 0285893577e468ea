"""The default app beside an app of one's own, and when it reads the environment."""

from __future__ import annotations

import pytest

WARNING = "close (program0.py:"


@pytest.mark.parametrize(
    ("registers", "runs"),
    [
        ("before", "app.run(main)"),
        ("in main", "app.run(main)"),
        ("before", "app.run(main); app.run(main)"),
        ("before", "asyncio.run(block())"),
    ],
)
def test_hooks_of_the_default_app_beside_another_app(program, registers, runs):
    """Hooks of the default app do not run with an app of one's own: one warning says so, and how to register them."""
    ended = program(
        f"""
        app = App("orders")
        def register():
            @on_shutdown
            def close():
                say("closed")
        async def main():
            register() if {registers == "in main"} else None
        async def block():
            async with app:
                await main()
        register() if {registers == "before"} else None
        {runs}
        """
    ).end()

    assert (0, []) == (ended.status, ended.lines)
    assert 1 == ended.err.count("do not run with <graceful.App 'orders'>")
    assert 1 == len(ended.err.splitlines())
    assert WARNING in ended.err
    assert "include(graceful.app)" in ended.err


@pytest.mark.parametrize(
    "runs",
    [
        "graceful.app.run(main); App('orders').run(main)",
        "mine = App('orders'); mine.include(graceful.app); mine.run(main)",
        "graceful.app.run(nested)",
        "thread = threading.Thread(target=App('orders').run, args=(main,)); thread.start(); thread.join(); run(main)",
    ],
    ids=["ran before", "included", "around", "in a thread"],
)
def test_no_warning_where_they_run(program, runs):
    """Where the default app runs, or is part of the app that runs, there is nothing to warn of."""
    ended = program(
        f"""
        @on_shutdown
        def close():
            say("closed")
        async def main(): ...
        async def nested():
            async with App("orders"): ...
        {runs}
        """
    ).end()

    assert (0, ["closed"], "") == (ended.status, ended.lines, ended.err)


@pytest.mark.parametrize("variable", ["GRACEFUL_GRACE", "GRACEFUL_DRAIN_DELAY"])
def test_a_bad_variable_does_not_break_the_import(program, variable):
    """A bad environment variable is an error where an app is made, or where the default app is first run."""
    ended = program(
        """
        say(repr(graceful.app), graceful.app.stopping)
        on_shutdown(lambda: say("closed"))
        for make in (lambda: App(drain_delay=None), lambda: run(asyncio.sleep(0))):
            try:
                make()
            except ValueError as error:
                say(error)
        os.environ.clear()
        run(asyncio.sleep(0))
        """,
        env={variable: "8s"},
    ).end()

    message = f"{variable} must be a number of seconds, got '8s'"
    lines = ["<graceful.App 'program0.py'> False", message, message, "closed"]
    if variable == "GRACEFUL_DRAIN_DELAY":
        lines[2] = "closed"  # the default app has no delay, and does not look at it
    assert (0, lines, "") == (ended.status, ended.lines, ended.err)


def test_the_default_app_reads_the_environment_when_it_is_first_run(program):
    """What is set after the import, before the first run, counts."""
    ended = program(
        """
        os.environ["GRACEFUL_GRACE"] = "3"
        async def main():
            graceful.app.stop()
            say(2 < graceful.app.remaining() <= 3)
        run(main)
        """
    ).end()

    assert (0, ["True"], "") == (ended.status, ended.lines, ended.err)


def test_two_threads_run_one_app(program):
    """Of two threads that run one app at the same time, one is refused."""
    ended = program(
        """
        sys.setswitchinterval(1e-6)
        both = 0
        for i in range(30):
            app, barrier, results = App("once", grace=2), threading.Barrier(2), []
            async def main():
                for _ in range(500):
                    if results:  # the other one was refused
                        break
                    await asyncio.sleep(0.01)
                return "ran"
            def work():
                barrier.wait()
                try:
                    results.append(app.run(main))
                except StateError:
                    results.append("refused")
            threads = [threading.Thread(target=work) for _ in range(2)]
            [each.start() for each in threads], [each.join() for each in threads]
            both += sorted(results) != ["ran", "refused"]
        say(both)
        """
    ).end()

    assert (0, ["0"], "") == (ended.status, ended.lines, ended.err)
