"""The search among all objects: what it finds, and that nobody else notices it."""

from __future__ import annotations

import gc
import sys
import threading
import time

import pytest
from support.programs import LOOPS

from graceful._core.instances import instances_of, with_subclasses


class Base:
    pass


class Derived(Base):
    pass


class Proxy:
    """Claims to be of another class, and runs code for that."""

    @property
    def __class__(self):
        raise AssertionError("asked for its class")


def test_what_is_found():
    """Objects of exactly these types, once each; a proxy is not asked."""
    base, derived, proxy = Base(), Derived(), Proxy()
    assert [base] == instances_of(frozenset({Base}))
    assert {base, derived} == {*instances_of(with_subclasses(Base))}
    assert [] == instances_of(frozenset())
    assert [id(proxy)] == [id(each) for each in instances_of(frozenset({Proxy}))]
    assert frozenset({Base, Derived, int, bool}) <= with_subclasses(Base, int)


def long_lists() -> set[int]:
    """The ids of lists as long as that of all objects; pytest has one of all tests."""
    return {id(each) for each in gc.get_objects() if type(each) is list and len(each) > 5000}


def test_nothing_is_left_of_it():
    """The list of all objects is gone when it returns, without the garbage collector: a tuple that is being made can grow."""

    def numbers():
        yield 0
        instances_of(frozenset({Base}))
        yield from range(1, 40)

    gc.disable()
    try:
        before = long_lists()
        assert tuple(range(40)) == tuple(numbers())
        assert before == long_lists()
    finally:
        gc.enable()


@pytest.fixture
def hasty():
    """Threads take turns whenever they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_thread_that_makes_tuples(hasty):
    """It never gets its turn while the list of all objects is there. (Before: about 25 errors a second.)"""
    failed, stop = [], threading.Event()

    def numbers():
        for number in range(40):
            time.sleep(0)
            yield number

    def work():
        while not stop.is_set():
            try:
                tuple(numbers())
            except SystemError as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        instances_of(frozenset({Base}))
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize("loop", LOOPS)
def test_children_of_others_are_found(program, loop):
    """Those that asyncio and uvloop have started, by the types of their transports."""
    source = """
    async def main():
        child = await asyncio.create_subprocess_exec("sleep", "60")
        from graceful._loop.children import _started_by_asyncio
        say(_started_by_asyncio() == {child.pid})
        child.kill()
        await child.wait()
    with asyncio.Runner(loop_factory=LOOP) as runner:
        runner.run(main())
    """
    assert ["True"] == program(source, loop=loop).end().lines
