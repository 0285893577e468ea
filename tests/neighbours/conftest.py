"""The fixtures of the tests beside other libraries."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from support.load import LOAD


@pytest.fixture
def under_load(program):
    """Run such a program, which is to see each of these at least once, and say how it ended."""

    def run(source, loop, *expected):
        text = f"EXPECTED = {expected}\n{LOAD}{source}\napp.run(main, loop_factory=LOOP)\nended()\n"
        ended = program(text, loop=loop).end()
        return ended.lines, ended.err, ended.status

    return run


@pytest.fixture
def listener(program):
    """Start a program that reads from its stdin: `listener(source, loop=..., ...)`."""
    with contextlib.ExitStack() as stack:

        def start(source, **options):
            running = program(source, stdin=subprocess.PIPE, **options)
            stack.callback(running.process.stdin.close)
            return running

        yield start
