"""As PID 1 the app reaps orphans that nobody else reaps, and takes no exit status from whoever waits for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from support.programs import LOOPS, PRELUDE

pytestmark = [
    pytest.mark.parametrize("loop", LOOPS),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare for a PID namespace"
    ),
]

#: What a stray descends from: a shell that ends before it.
SOURCE = """
import subprocess
app = App("init", grace=5)
def zombies():
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
            except OSError:
                continue
            if state[0] == "Z":
                found.append(int(name))
    return found
async def until(condition):
    while not condition():
        await asyncio.sleep(0.02)
async def main():
    assert os.getpid() == 1
    mine = subprocess.Popen(["sh", "-c", "exit 7"])
    leader = subprocess.Popen(["sh", "-c", "exit 8"], process_group=0)
    forked = os.fork()
    if not forked:
        os._exit(9)
    theirs = await asyncio.create_subprocess_exec("sh", "-c", "sleep 1.2; exit 10")
    await until(lambda: {mine.pid, leader.pid, forked} <= {*zombies()})
    shell = await app.create_subprocess_shell("(exec sleep 0.3) & (exec sleep 0.3) & (exec sleep 90) & exit 4")
    say("shell", await shell.wait())
    await until(lambda: len(zombies()) == 5)
    say("strays")
    await until(lambda: len(zombies()) == 3)
    say("reaped")
    say(mine.wait(), leader.wait(), os.waitpid(forked, 0)[1] >> 8, await theirs.wait())
app.run(main, loop_factory=LOOP)
say("left", zombies())
"""


def test_strays_are_reaped(tmp_path, loop):
    """What a shell of the app leaves behind is reaped; children that the program waits for later keep their status."""
    script = tmp_path / "init.py"
    script.write_text(PRELUDE + SOURCE)
    command = ["unshare", "-pf", "--mount-proc", sys.executable, str(script)]
    if subprocess.run([*command[:-2], "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespaces here")
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "TEST_LOOP": loop, "PYTHONWARNINGS": "ignore"},
    )
    assert (0, "") == (ended.returncode, ended.stderr)
    assert ["shell 4", "strays", "reaped", "7 8 9 10", "left []"] == ended.stdout.splitlines()
