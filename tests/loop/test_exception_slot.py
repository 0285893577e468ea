"""The slot for the loop's exception handler: taken, shared with the program's handlers in any order, and given back."""

from __future__ import annotations

import asyncio

import pytest
from support.failures import LIMIT, SHORT, Mine, fail, raise_mine, stopped_by_failure

from graceful import App

#: What the fixture `app` is made with, in seconds.
PATIENCE = SHORT


class Handler:
    """A handler of the program, which calls the one before it, if it was given one: as error trackers do."""

    def __init__(self, name, seen):
        self.name = name
        self.seen = seen
        self.before = None

    def __call__(self, loop, context):
        self.seen.append(self.name)
        if self.before is not None:
            self.before(loop, {**context, "changed": True})

    def chain(self, loop):
        self.before = loop.get_exception_handler()
        loop.set_exception_handler(self)


def test_what_asyncio_shows(new_loop):
    """While an app runs, `loop.get_exception_handler()` shows its handler; afterwards what was there before."""
    seen = []

    async def main():
        seen.append(asyncio.get_running_loop().get_exception_handler())

    loops = []

    def factory():
        loops.append(new_loop())
        return loops[-1]

    App().run(main, loop_factory=factory)
    assert "graceful" in repr(seen[0])
    assert "asyncio" in repr(seen[0])
    assert None is loops[0].get_exception_handler()


def test_given_back(new_loop):
    """A handler that was set before the run is called during it, and is in its slot afterwards, and so is a later one."""
    seen = []
    first, second = Handler("first", seen), Handler("second", seen)

    async def guest(replace):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(first)
        async with App():
            loop.call_exception_handler({"message": "a warning"})
            if replace:
                loop.set_exception_handler(second)
                loop.call_exception_handler({"message": "another"})
        return loop.get_exception_handler()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert first is runner.run(guest(False))
        assert second is runner.run(guest(True))
    assert ["first", "first", "second"] == seen


@pytest.mark.parametrize("way", ["callback", "held"])
def test_a_chain_of_handlers(app, new_loop, way):
    """Handlers that call the one before them are each called once, and so is the app, however long the chain is."""
    seen = []
    asked = []
    first, second, third = (Handler(name, seen) for name in ("first", "second", "third"))

    @app.on_exception
    def hook(failure):
        asked.append(failure.exception)
        return True

    def factory():
        loop = new_loop()
        loop.set_exception_handler(first)
        return loop

    async def main():
        loop = asyncio.get_running_loop()
        second.chain(loop)
        third.chain(loop)
        held = asyncio.create_task(fail()) if way == "held" else loop.call_soon(raise_mine)
        await asyncio.sleep(5 * SHORT)
        return held

    app.run(main, loop_factory=factory)
    assert ["third", "second", "first"] == seen
    assert [Mine] == [type(each) for each in asked]
    assert 1 == len(app.report.failures)


def test_a_handler_that_is_replaced_for_a_while(app, new_loop):
    """A library that saves the handler, sets its own and puts the saved one back leaves the program's in place."""
    seen = []
    first, second = Handler("first", seen), Handler("second", seen)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(first)
        saved = loop.get_exception_handler()
        loop.set_exception_handler(second)
        loop.call_exception_handler({"message": "during"})
        loop.set_exception_handler(saved)
        loop.call_exception_handler({"message": "after"})
        loop.set_exception_handler(None)
        loop.call_soon(raise_mine)
        await asyncio.sleep(LIMIT)

    stopped_by_failure(app, main, new_loop)
    assert ["second", "first"] == seen


def test_a_chain_without_a_handler_before_it(app, new_loop, caplog):
    """Where nothing was set before, the handler that a chain calls last is that of asyncio, which logs."""
    handler = Handler("mine", [])

    async def main():
        loop = asyncio.get_running_loop()
        handler.chain(loop)
        loop.call_exception_handler({"message": "a warning of the library"})
        return "went on"

    assert "went on" == app.run(main, loop_factory=new_loop)
    assert ["mine"] == handler.seen
    assert 1 == caplog.text.count("a warning of the library")


def test_a_handler_that_raises(app, new_loop, caplog):
    """If the program's handler raises, asyncio logs that, and the app has heard all the same."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: {}["missing"])
        loop.call_soon(raise_mine)
        await asyncio.sleep(LIMIT)

    stopped_by_failure(app, main, new_loop)
    assert "Unhandled error in exception handler" in caplog.text


def test_what_is_no_handler_is_refused(app, new_loop):
    """What asyncio refuses as a handler is refused while an app runs, too."""

    async def main():
        with pytest.raises(TypeError, match="callable"):
            asyncio.get_running_loop().set_exception_handler(5)

    app.run(main, loop_factory=new_loop)


def test_a_handler_kept_beyond_the_run(new_loop):
    """What `get_exception_handler()` returned during the run, and is set again after it, passes reports on."""
    seen = []
    first = Handler("first", seen)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(first)
        async with App():
            kept = loop.get_exception_handler()
        loop.set_exception_handler(kept)
        loop.call_exception_handler({"message": "late"})

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert ["first"] == seen


def test_two_apps_in_one_loop_that_end_in_any_order():
    """The slot is given back by the app that ends last, with what was in it."""
    seen = []
    mine = Handler("mine", seen)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(mine)
        outer, inner = App("outer"), App("inner")
        await outer.__aenter__()
        await asyncio.create_task(inner.__aenter__())
        await outer.__aexit__(None, None, None)
        assert mine is not loop.get_exception_handler()
        loop.call_exception_handler({"message": "one still runs", "exception": Mine(), "transport": None})
        await asyncio.create_task(inner.__aexit__(None, None, None))
        assert 1 == len(inner.report.failures)
        return loop.get_exception_handler() is mine

    assert asyncio.run(main())
    assert ["mine"] == seen


# --- what a library reports by hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["task", "future"])
def test_a_report_that_names_the_task_it_happened_in(app, new_loop, key, caplog):
    """A library that reports a failed request and names the running task has not said that the task failed."""

    async def main():
        context = {"message": "one request failed", "exception": Mine("bad request"), key: asyncio.current_task()}
        asyncio.get_running_loop().call_exception_handler(context)
        await asyncio.sleep(2 * SHORT)
        return "went on"

    assert "went on" == app.run(main, loop_factory=new_loop)
    assert ["bad request"] == [str(each.exception) for each in app.report.failures]
    assert "one request failed" in caplog.text


class OfSubprocess(asyncio.SubprocessProtocol):
    """Raises in one of its methods."""

    def __init__(self, where, raised):
        self.where = where
        self.raised = raised

    def meet(self, where):
        if where == self.where:
            self.raised.set()
            raise Mine

    def pipe_data_received(self, fd, data):
        self.meet("data")

    def pipe_connection_lost(self, fd, error):
        self.meet("pipe")

    def process_exited(self):
        self.meet("exit")

    def connection_lost(self, error):
        self.meet("lost")


@pytest.mark.parametrize("where", ["data", "pipe", "exit", "lost"])
def test_the_protocol_of_a_subprocess(app, new_loop, where):
    """A subprocess is one connection of many: what its protocol raises is reported, and does not stop the program."""

    async def main():
        raised = asyncio.Event()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.subprocess_exec(lambda: OfSubprocess(where, raised), "echo", "x")
        async with asyncio.timeout(LIMIT):
            await raised.wait()
        await asyncio.sleep(2 * SHORT)
        transport.close()
        return "went on"

    assert "went on" == app.run(main, loop_factory=new_loop)
    assert {Mine} == {type(each.exception) for each in app.report.failures}


def test_a_function_that_is_given_a_protocol(app, new_loop):
    """A callback of the program is one, whatever its first argument is."""

    def use(protocol):
        raise Mine

    async def main():
        asyncio.get_running_loop().call_soon(use, asyncio.Protocol())
        await asyncio.sleep(LIMIT)

    stopped_by_failure(app, main, new_loop)
