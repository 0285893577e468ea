"""A signal handler of the program that raises (SIGUSR1 -> sys.exit(3)) while the package's own code runs."""

from __future__ import annotations

import signal

import pytest
from support.programs import LOOPS

STEPS = {
    "startup": "graceful._run.startup:Startup.run",
    "the wait for a startup hook": "graceful._hooks.supervisor:Supervisor.supervise",
    "serving": "graceful._run.serving:Serving.run",
    "exception hooks": "graceful._run.exception_hooks:ExceptionHooks.handle_all",
    "drain": "graceful._run.drain:Drain.run",
    "cancellation": "graceful._run.work:Work.cancel",
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("step", STEPS)
def test_what_was_started_is_cleaned_up(program, loop, step):
    """It raises once, at the end of a step: what has begun is cleaned up, every hook once, and the status is its own."""
    module, _, name = STEPS[step].partition(":")
    kind, _, method = name.partition(".")
    source = f"""
import functools
from {module} import {kind}
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
inner, due = {name}, [True]
@functools.wraps(inner)
async def interrupted(*args, **options):
    result = await inner(*args, **options)
    if due:
        due.pop()
        signal.raise_signal(signal.SIGUSR1)
    return result
{name} = interrupted
app = App("test", grace=3)
@app.resource
async def pool():
    yield
    await asyncio.sleep(0)
    say("pool closed")
@app.on_shutdown
async def flush():
    await asyncio.sleep(0)
    say("flushed")
async def main():
    await asyncio.sleep(0)
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).end()
    assert (3, ["flushed", "pool closed"]) == (ended.status, ended.lines), ended.err
    assert ended.took < 2


@pytest.mark.parametrize("loop", LOOPS)
def test_an_exit_while_the_program_works(program, loop):
    """While main waits, the exit is the cause: the hooks run, and the status is that of the exit."""
    source = """
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
app = App("test", grace=3)
app.on_shutdown(lambda: say("flushed"))
async def main():
    say("up")
    await asyncio.sleep(60)
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).wait_for("up").send(signal.SIGUSR1).end()
    assert (3, ["up", "flushed"]) == (ended.status, ended.lines), ended.err


WORST = {
    "in the scheduler": ("graceful._hooks.scheduler:Order", "next"),
    "in the wait for a hook": ("graceful._loop.waiting:Waiting", "starts"),
    "as a hook has ended": ("graceful._hooks.active:ActiveHooks", "end"),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("moment", WORST)
@pytest.mark.parametrize("handled", ["SIGUSR1", "SIGINT"])
def test_no_hook_is_lost_at_the_worst_moment(program, loop, moment, handled):
    """Raised between any two lines of the package's own code, it costs no hook, and the status is still its own."""
    place, method = WORST[moment]
    module, _, kind = place.partition(":")
    source = f"""
from {module} import {kind}
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
closing = []
inside = '''
def wrap(inner, closing):
    def method(*args, **options):
        if closing:
            closing.pop()
            signal.raise_signal(signal.{handled})
        return inner(*args, **options)
    return method
'''
exec(inside, own := {{"__name__": "graceful.own", "signal": signal}})  # so that its frames count as the package's own
{kind}.{method} = own["wrap"]({kind}.{method}, closing)
app = App("test", grace=3, signals=[signal.SIGTERM])
@app.resource
async def pool():
    yield
    await asyncio.sleep(0)
    say("pool closed")
@app.on_shutdown
async def flush():
    await asyncio.sleep(0)
    say("flushed")
@app.on_shutdown
async def first():
    closing.append(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    say("first")
async def main():
    await asyncio.sleep(0)
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).end()
    status = 3 if handled == "SIGUSR1" else 0  # main had returned, and a Ctrl-C during the cleanup is only recorded
    assert (status, ["first", "flushed", "pool closed"]) == (ended.status, ended.lines), ended.err
    assert ended.took < 2


@pytest.mark.parametrize("loop", LOOPS)
def test_user_code_still_has_what_its_handlers_raise(program, loop):
    """In a hook the exception is raised where it always was, and the handlers are afterwards as they were."""
    source = """
class Mine(Exception): pass
def raises(*_): raise Mine
signal.signal(signal.SIGUSR1, raises)
app = App("test", grace=3)
@app.on_shutdown
async def flush():
    try: signal.raise_signal(signal.SIGUSR1); await asyncio.sleep(1)
    except Mine: say("mine")
async def main(): pass
app.run(main, loop_factory=LOOP)
say(signal.getsignal(signal.SIGUSR1) is raises)
"""
    ended = program(source, loop=loop).end()
    assert (0, ["mine", "True"], "") == (ended.status, ended.lines, ended.err)
