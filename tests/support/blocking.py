"""Programs with a grace whose hooks, tasks or main can be made to hang or to block."""

from __future__ import annotations

import time

GRACE = 2.0


#: `first` and `last` run around the hook under test, which has `BODY` in it; so does main, or a task of it.
PROGRAM = """
app = App("stuck", grace={grace})

@app.on_shutdown
async def last():
    await asyncio.sleep(0.01)
    say("last")

{hook}

@app.on_shutdown
async def first():
    await asyncio.sleep(0.01)
    say("first")

{main}

app.run(main, loop_factory=LOOP)
"""


HOOK = """
@app.on_shutdown
async def stuck():
{body}
"""


MAIN = """
async def main():
    say("ready")
{body}
    await asyncio.sleep(60)
"""


QUIET_MAIN = MAIN.format(body="")


TASK = """
async def work():
    await asyncio.sleep(0)
{body}
async def main():
    asyncio.get_running_loop().call_soon(say, "ready")
    held = asyncio.create_task(work())
    await asyncio.sleep(60)
"""


DEAF = {
    "a query": """
    import sqlite3
    query = "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c"
    sqlite3.connect(":memory:").execute(query).fetchall()
""",
    "a key derivation": """
    import hashlib
    hashlib.pbkdf2_hmac("sha512", b"x", b"y", 2_000_000_000)
""",
    "a bare except": """
    while True:
        try: time.sleep(60)
        except: pass
""",
}


def source(hook: str = "", main: str = QUIET_MAIN, grace: float = GRACE) -> str:
    return PROGRAM.format(grace=grace, hook=hook, main=main)


def work() -> str:
    """A job of a pool. It stands here, so that the processes of a pool can import it, however they are started."""
    time.sleep(0.2)
    return "done"
