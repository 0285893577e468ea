"""Child processes that the app has started do not outlive it, and end before what they use is closed."""

from __future__ import annotations

import os
import signal

import pytest
from support.programs import LOOPS
from support.remains import wait_gone

pytestmark = [
    pytest.mark.parametrize("loop", LOOPS),
    pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc"),
]

#: What the children run: `POLITE` says that it ends, `DEAF` ignores SIGTERM and has a child of its own that does, too.
CHILDREN = '''
POLITE = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.write(1, b"polite %d\\\\n" % os.getpid())
signal.sigwait({signal.SIGTERM})  # with a handler, one that comes right before `pause()` would be lost
os.write(1, b"polite ends\\\\n")
"""
DEAF = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
if os.fork():
    os.write(1, b"deaf %d\\\\n" % os.getpid())
else:
    os.write(1, b"grandchild %d\\\\n" % os.getpid())
while True: signal.pause()
"""
PYTHON = sys.executable
async def lines(count, *command, **options):
    read, write = os.pipe()
    child = await app.create_subprocess_exec(*command, stdout=write, **options)
    os.close(write)
    with open(read, "rb", 0, closefd=False) as stream:
        for _ in range(count):
            os.write(1, await asyncio.to_thread(stream.readline))
    def copy():
        while data := os.read(read, 1000):
            os.write(1, data)
    threading.Thread(target=copy, daemon=True).start()
    return child
'''


def pids(ended) -> list[int]:
    """What the children have said that their pids are."""
    words = [line.split() for line in ended.lines]
    return [int(line[1]) for line in words if len(line) == 2 and line[1].isdigit() and line[1] != "0"]


def test_it_ends_by_sigterm_before_the_cleanup(program, loop):
    """A child is asked to end when tasks are cancelled, after main has ended, and waited for before what it uses is closed."""
    source = """
app = App("orders", grace=5)
@app.on_shutdown
async def close():
    say("closed", child.returncode)
async def main():
    global child
    child = await lines(1, PYTHON, "-c", POLITE)
    try:
        say("ready")
        await asyncio.sleep(50)
    finally:
        await asyncio.sleep(0.05)
        say("main", child.returncode)
app.run(main, loop_factory=LOOP)
"""
    ended = program(CHILDREN + source, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert -signal.SIGTERM == ended.status
    assert {"main None", "closed 0", "polite ends"} <= {*ended.lines}
    assert "" == ended.err


def test_a_deaf_child_is_killed_with_its_group(program, loop):
    """One that ignores SIGTERM, and has a child of its own, is killed when the share is over, named, and reported."""
    source = """
app = App("orders", grace=2, drain_share=0)
async def main():
    await lines(2, PYTHON, "-c", DEAF)
    say("ready")
    await asyncio.sleep(50)
try:
    app.run(main, loop_factory=LOOP)
finally:
    say(*[f"{each.verdict}, {each.stage}: {each.hook.split()[0]}" for each in app.report.outcomes])
"""
    ended = program(CHILDREN + source, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert -signal.SIGTERM == ended.status
    assert "timed out, cancel: child" in ended.lines
    assert f"child {os.path.realpath('/proc/self/exe')[:1]}" in ended.err
    assert "did not end by SIGTERM, and is killed" in ended.err
    assert 2 == len(pids(ended))
    assert all(wait_gone(pid) for pid in pids(ended))


SIDECAR = """
@app.resource
async def sidecar():
    await lines(2, PYTHON, "-c", DEAF)
    yield
"""

MAIN = """
async def main():
    say("ready")
    await asyncio.sleep(50)
app.run(main, loop_factory=LOOP)
"""


def killed(ended) -> bool:
    """Whether the two processes of `DEAF` are gone, and the child was named."""
    assert 2 == len(pids(ended))
    return "which is terminated" in ended.err and all(wait_gone(pid) for pid in pids(ended))


def test_when_the_grace_is_over(program, loop):
    """At the forced end with status 70 the group is killed, and the child is named."""
    source = """
app = App("orders", grace=1)
# then
@app.on_shutdown
def hang():
    while True:
        try: time.sleep(60)
        except BaseException: pass
"""
    ended = (
        program(CHILDREN + source.replace("# then", SIDECAR) + MAIN, loop=loop)
        .wait_for("ready")
        .send(signal.SIGTERM)
        .end(timeout=20)
    )
    assert 70 == ended.status
    assert killed(ended)


def test_at_the_third_ctrl_c(program, loop):
    """The same at the third Ctrl-C."""
    source = """
app = App("orders", grace=30, debounce=0)
# then
@app.on_shutdown
async def hang():
    say("hangs")
    while app.remaining() > 3: await asyncio.sleep(0.01)
    say("hurried")
    await asyncio.sleep(60)
"""
    started = (
        program(CHILDREN + source.replace("# then", SIDECAR) + MAIN, loop=loop)
        .wait_for("ready")
        .send(signal.SIGINT)
        .wait_for("hangs")
    )
    ended = started.send(signal.SIGINT).wait_for("hurried").send(signal.SIGINT).end(timeout=20)
    assert -signal.SIGINT == ended.status
    assert killed(ended)


def test_drain_waits_for_it(program, loop):
    """With `drain=True` the shutdown waits for the child before anything is cancelled."""
    source = """
app = App("orders", grace=8)
async def main():
    child = await app.create_subprocess_shell("read line; exit 3", stdin=asyncio.subprocess.PIPE, drain=True)
    say("ready")
    try:
        await app.wait_stopping()
        child.stdin.write(b"go\\n")
        say("status", await child.wait())
        await asyncio.sleep(50)
    finally:
        say("main ends")
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    assert ["ready", "status 3", "main ends"] == ended.lines


def test_what_a_resource_starts_lives_until_it_is_released(program, loop):
    """A child that a resource has started is not stopped with the work; what is left of it when that is released is."""
    source = """
app = App("orders", grace=5)
@app.resource
async def sidecar():
    global child
    child = await lines(1, PYTHON, "-c", POLITE)
    yield
    say("released", child.returncode)
@app.on_shutdown
async def use():
    say("used", child.returncode)
@app.on_shutdown(after=sidecar)
async def last():
    say("last", child.returncode)
async def main():
    say("ready")
    await asyncio.sleep(50)
app.run(main, loop_factory=LOOP)
"""
    ended = program(CHILDREN + source, loop=loop).wait_for("ready").send(signal.SIGTERM).end()
    lines = [line for line in ended.lines if not line.startswith("polite")]
    assert ["ready", "used None", "released None", "last 0"] == lines
    assert "" == ended.err


def test_a_guest_ends_its_children(program, loop):
    """The same inside `async with app:`, also where the block is left by itself."""
    source = """
app = App("orders", grace=2)
async def main():
    async with app:
        await lines(2, PYTHON, "-c", DEAF)
        child = await lines(1, PYTHON, "-c", POLITE)
        say(os.getpgid(child.pid) == child.pid != os.getpgrp())
    say("left", child.returncode)
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(main())
"""
    ended = program(CHILDREN + source, loop=loop).end()
    assert 0 == ended.status
    assert {"True", "left 0"} <= {*ended.lines}
    assert "did not end by SIGTERM, and is killed" in ended.err
    assert 3 == len(pids(ended))
    assert all(wait_gone(pid) for pid in pids(ended))


def test_what_its_end_leaves_behind(program, loop):
    """What a child leaves behind in its group when it ends is asked to end in the shutdown, and waited for."""
    source = """
app = App("orders", grace=5)
async def main():
    shell = await app.create_subprocess_shell("sleep 60 </dev/null >/dev/null 2>&1 & echo $!", stdout=asyncio.subprocess.PIPE)
    pid = int(await shell.stdout.readline())
    say("sleeper", pid)
    await shell.wait()
    say("alive", os.path.exists(f"/proc/{pid}"))
app.run(main, loop_factory=LOOP)
"""
    ended = program(source, loop=loop).end()
    assert (0, "") == (ended.status, ended.err)
    assert "alive True" == ended.lines[1]
    assert all(wait_gone(pid) for pid in pids(ended))


def test_a_stranger_is_named(program, loop):
    """A child that asyncio has started without the app is not killed by it, but named where it outlives the app."""
    source = """
app = App("orders")
async def main():
    child = await asyncio.create_subprocess_exec("sleep", "60", stdout=-3, stderr=-3)
    say("sleep", child.pid)
    return child
child = app.run(main, loop_factory=LOOP)
os._exit(0)
"""
    ended = program(source, loop=loop).end()
    (pid,) = pids(ended)
    if loop == "asyncio":
        os.kill(pid, signal.SIGKILL)
    assert f"pid {pid}" in ended.err
    assert "create_subprocess_exec" in ended.err


def test_one_that_a_cleanup_hook_leaves_behind(program, loop):
    """A child that is started during the cleanup, and that nobody waits for, is asked to end when all cleanup is over."""
    source = """
app = App("orders", grace=5)
@app.on_shutdown
async def start():
    global child
    child = await lines(1, PYTHON, "-c", POLITE)
    say("started", child.returncode)
async def main():
    pass
app.run(main, loop_factory=LOOP)
say("status", child.returncode)
"""
    ended = program(CHILDREN + source, loop=loop).end()
    assert (0, "") == (ended.status, ended.err)
    assert {"started None", "status 0", "polite ends"} <= {*ended.lines}
    assert all(wait_gone(pid) for pid in pids(ended))


def test_a_start_that_is_cancelled(program, loop):
    """Whichever step of its start the cancellation falls into, nothing is left behind."""
    source = """
app = App("orders", grace=5)
async def start():
    child = await app.create_subprocess_exec("sleep", "61.5", stdout=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.PIPE)
    await asyncio.sleep(50)
async def main():
    for steps in range(12):
        task = asyncio.create_task(start())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
app.run(main, loop_factory=LOOP)
left = []
for name in os.listdir("/proc"):
    if name.isdigit():
        try:
            words = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        if words[1] == str(os.getpid()) and words[0] != "Z":
            left.append(name)
say("left", *left)
"""
    ended = program(source, loop=loop).end()
    assert (0, ["left"], "") == (ended.status, ended.lines, ended.err)


def test_the_program_stops_the_loop(program, loop):
    """A child does not outlive a program that calls `loop.stop()`."""
    source = """
app = App("orders", grace=2)
async def main():
    await lines(2, PYTHON, "-c", DEAF)
    asyncio.get_running_loop().stop()
    await asyncio.sleep(50)
app.run(main, loop_factory=LOOP)
"""
    ended = program(CHILDREN + source, loop=loop).end()
    assert 2 == len(pids(ended))
    assert all(wait_gone(pid) for pid in pids(ended))


@pytest.mark.parametrize("command", ["exec yes", "setsid sleep 5 2>/dev/null & exec echo"])
def test_a_pipe_that_nobody_has_read_to_its_end(program, loop, command):
    """It is closed with the loop, and nothing is said about it; also if something that has left the group holds it open."""
    ended = program(
        f"""
        app = App("orders")
        async def main():
            child = await app.create_subprocess_shell({command!r}, stdout=asyncio.subprocess.PIPE)
            await child.stdout.readline()
            say("up")
            await asyncio.sleep(60)
        app.run(main, loop_factory=LOOP)
        """,
        loop=loop,
    )
    ended = ended.wait_for("up").send(signal.SIGTERM).end()
    assert (-signal.SIGTERM, "") == (ended.status, ended.err)
