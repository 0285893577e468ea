"""Services under a real systemd, in a container: what its systemctl, its journal and its watchdog make of them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import graceful

ROOT = Path(__file__).parents[2]
WITH_SYSTEMD = Path(os.environ.get("WITH_SYSTEMD") or ROOT.parent / "shared/tools/with-systemd")

SERVICES = {
    "ready": """
        app = App("ready")
        @app.on_startup
        async def connect():
            print("connecting")
            while not os.path.exists("go"):
                await asyncio.sleep(0.02)
            print("connected")
        app.on_shutdown(lambda: print("disconnected"))
        app.run()
    """,
    "failing": """
        app = App("failing")
        @app.on_startup
        async def connect():
            raise ConnectionError("refused")
        app.run()
    """,
    "background": """
        app = App("background")
        @app.background
        async def consume():
            raise RuntimeError("the exchange hung up")
        app.on_shutdown(lambda: print("cleaned up"))
        app.run()
    """,
    "drain": """
        app = App("drain", grace=30)
        @app.on_shutdown
        async def drain():
            await asyncio.sleep(3)
            print("drained")
        app.run()
    """,
    "stuck": """
        app = App("stuck", grace=60)
        @app.on_shutdown
        def block():
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
        app.run()
    """,
    "blocked": """
        async def main():
            time.sleep(60)
        App("blocked").run(main)
    """,
    "reload": """
        app = App("reload")
        @app.on_signal(signal.SIGHUP)
        async def reload():
            while not os.path.exists("reloaded"):
                await asyncio.sleep(0.02)
        app.run()
    """,
    "orders": """
        App("orders").run()
    """,
    "site": """
        import uvicorn
        app = App("site")
        @app.background
        async def consume():
            raise RuntimeError("the exchange hung up")
        app.on_shutdown(lambda: print("cleaned up"))
        async def site(scope, receive, send):
            await receive()
            async with app.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        uvicorn.run(site, port=0, loop="asyncio", http="h11")
    """,
}

SEEN = {
    "ready": [
        ["activating", "starting: connect"],
        ["running", "running"],
        ["connected", "disconnected", "Deactivated successfully"],
    ],
    "failed_startup": ["failed", "exit-code", "1"],
    "restarted": ["cleaned up", "RuntimeError: the exchange hung up", "Scheduled restart job"],
    "long_drain": [True, ["drained", "Deactivated successfully"]],
    "priorities": ["4", "6"],
    "stuck_drain": [True, ["timeout"]],
    "blocked_loop": ["Watchdog timeout", "Scheduled restart job"],
    "blocked_shutdown": [True, ["watchdog"]],
    "watched": ["drained", "Deactivated successfully"],
    "reloading": [["reloading: reload"], ["running"]],
    "unit_file": ["", "", ["active"], ["success"]],
    "under_uvicorn": [["cleaned up"], ["cleaned up"]],
}


def missing() -> str:
    """Why there is no systemd here; empty: there is."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "with-systemd needs Linux and root"
    if not WITH_SYSTEMD.exists():
        return f"there is no {WITH_SYSTEMD}"
    return ""


def fill(folder: Path) -> None:
    """Everything that the services need, as files: the container has a bare Python 3.11."""
    for name, source in SERVICES.items():
        start = "import asyncio, os, signal, time\nfrom graceful import App\n"
        (folder / f"{name}.py").write_text(start + textwrap.dedent(source))
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(graceful.__file__).parent, folder / "graceful", ignore=without)
    for package in ("typing_extensions", "uvicorn", "click", "h11"):
        found = importlib.util.find_spec(package)
        if found.submodule_search_locations:
            shutil.copytree(Path(found.origin).parent, folder / package, ignore=without)
        else:
            shutil.copy(found.origin, folder)
    shutil.copy(ROOT / "examples/deploy/orders.service", folder)
    shutil.copy(ROOT / "tests/support/systemd.py", folder / "inside.py")


@pytest.mark.skipif(missing() != "", reason=missing())
def test_services(tmp_path):
    """
    Ready only after the startup, a stop is a success, a failure fails or restarts the unit, a long drain survives, a
    blocked loop does not; and the unit of examples/deploy works.
    """
    assert SEEN == seen_inside(tmp_path)


@pytest.mark.skipif(missing() != "", reason=missing())
def test_notify_reload(tmp_path):
    """With Type=notify-reload `systemctl reload` sends SIGHUP, and waits until the hook for it has ended."""
    seen = seen_inside(tmp_path, "notify_reload")["notify_reload"]
    if isinstance(seen, str):
        pytest.skip(f"notify-reload came with systemd 253; the container has {seen}")
    assert [[["reloading"], None], 0, ["active", "running"]] == seen


def seen_inside(folder: Path, *steps: str) -> dict[str, object]:
    """What is seen in a container, where these steps of `support.systemd` are made; without a name all."""
    fill(folder)
    command = [WITH_SYSTEMD, "python3", "inside.py", *steps]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if ended.returncode == 125:
        pytest.skip(f"no container can be booted here: {ended.stderr.strip()[-300:]}")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
