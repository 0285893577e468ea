"""
What happens to services under a real systemd: run by its Python, inside, with a folder of services; prints JSON.

Arguments are the names of steps: only these are taken. Each `NAME.py` in the folder is a service. It tells what it does by
lines in the journal. A step below starts one, waits for what is to be seen, and returns what was seen.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

SERVICES = Path().resolve()


def call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip()


def show(name: str, *properties: str) -> list[str]:
    got = dict(line.split("=", 1) for line in call("systemctl", "show", name).splitlines() if "=" in line)
    return [got[each] for each in properties]


def story(name: str) -> str:
    call("journalctl", "--sync")
    return call("journalctl", "-o", "cat", "-u", name)


def until(condition, what: str, limit: float = 10):
    """Look again and again, for this is another process's state: `condition`'s first true value."""
    end = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > end:
            raise SystemExit(f"{what} was not seen: {call('journalctl', '-n', '60', '--no-pager')}")
        time.sleep(0.05)
    return found


def start(name: str, script: str, *properties: str, wait: bool = True) -> str:
    """Start a service. Returns what systemd-run says if the start fails."""
    command = ["systemd-run", f"--unit={name}", "-q", "-p", "Type=notify", f"--property=WorkingDirectory={SERVICES}"]
    command += [f"--property={each}" for each in properties] + ([] if wait else ["--no-block"])
    command += [f"--setenv=PYTHONPATH={SERVICES}", "--setenv=PYTHONUNBUFFERED=1", "/usr/bin/python3", f"{script}.py"]
    return call(*command)


def ready():
    """Not active before the startup is over; its status; a stop is a success."""
    start("ready", "ready", wait=False)
    until(lambda: "connecting" in story("ready"), "connecting")
    before = show("ready", "ActiveState", "StatusText")
    (SERVICES / "go").touch()
    until(lambda: show("ready", "ActiveState") == ["active"], "active")
    after = show("ready", "SubState", "StatusText")
    call("systemctl", "stop", "ready")
    return before, after, story_has("ready", "connected", "disconnected", "Deactivated successfully")


def story_has(name: str, *parts: str) -> list[str]:
    text = until(lambda: all(part in story(name) for part in parts) and story(name), f"{parts} in {story(name)}")
    return sorted(parts, key=text.index)


def failed_startup():
    start("failing", "failing")
    return show("failing", "ActiveState", "Result", "ExecMainStatus")


def restarted():
    """A background task that fails, in `run()`: restarted on failure."""
    start("background", "background", "Restart=on-failure", "RestartSec=0")
    until(lambda: int(show("background", "NRestarts")[0]) >= 1, "a restart")
    call("systemctl", "stop", "background")
    return story_has("background", "cleaned up", "RuntimeError: the exchange hung up", "Scheduled restart job")


def long_drain():
    """TimeoutStopSec is 1 s, the drain takes 3."""
    start("drain", "drain", "TimeoutStopSec=1")
    began = time.monotonic()
    call("systemctl", "stop", "drain")
    return time.monotonic() - began > 2.5, story_has("drain", "drained", "Deactivated successfully")


def priorities():
    """Without logging being configured: what a long drain waits for is a warning, and what the program prints is not."""
    start("priorities", "drain")
    call("systemctl", "stop", "priorities")
    story_has("priorities", "still shutting down", "drained")
    lines = call("journalctl", "-o", "json", "-u", "priorities").splitlines()
    told = {entry["MESSAGE"].split(" (")[0]: entry["PRIORITY"] for entry in map(json.loads, lines)}
    return [told["drain is still shutting down"], told["drained"]]


def stuck_drain():
    """The loop is blocked in a way that cannot be unblocked: killed, long before the app's own deadline."""
    start("stuck", "stuck", "TimeoutStopSec=1")
    began = time.monotonic()
    call("systemctl", "stop", "stuck")
    return time.monotonic() - began < 10, show("stuck", "Result")


def blocked_loop():
    start("blocked", "blocked", "WatchdogSec=1", "Restart=on-failure", "RestartSec=0")
    until(lambda: int(show("blocked", "NRestarts")[0]) >= 1, "a restart")
    call("systemctl", "kill", "-s", "KILL", "blocked")
    call("systemctl", "stop", "blocked")
    return story_has("blocked", "Watchdog timeout", "Scheduled restart job")


def blocked_shutdown():
    """The same in the shutdown, long before TimeoutStopSec and the app's own deadline."""
    start("blocked-shutdown", "stuck", "WatchdogSec=1", "TimeoutStopSec=60")
    began = time.monotonic()
    call("systemctl", "stop", "blocked-shutdown")
    return time.monotonic() - began < 10, show("blocked-shutdown", "Result")


def watched():
    """One whose loop turns is left alone, also in a shutdown that is longer than the watchdog's time."""
    start("watched", "drain", "WatchdogSec=1", "TimeoutStopSec=20")
    call("systemctl", "stop", "watched")
    return story_has("watched", "drained", "Deactivated successfully")


def reloading():
    start("reload", "reload")
    call("systemctl", "kill", "-s", "HUP", "reload")
    until(lambda: show("reload", "ActiveState") == ["reloading"], "reloading")
    during = show("reload", "StatusText")
    (SERVICES / "reloaded").touch()
    until(lambda: show("reload", "ActiveState") == ["active"], "active")
    after = show("reload", "StatusText")
    call("systemctl", "stop", "reload")
    return during, after


def notify_reload():
    """`systemctl reload` waits for the hook: what it was doing meanwhile, its status, and then. Too old: the version."""
    version = call("systemctl", "--version").split()[1]
    if int(version.split(".")[0]) < 253:
        return version
    start("notify-reload", "reload", "Type=notify-reload")
    asked = subprocess.Popen(["systemctl", "reload", "notify-reload"])
    until(lambda: show("notify-reload", "StatusText") == ["reloading: reload"], "reloading")
    during = show("notify-reload", "ActiveState"), asked.poll()
    (SERVICES / "reloaded").touch()
    asked.wait()
    after = show("notify-reload", "ActiveState", "StatusText")
    call("systemctl", "stop", "notify-reload")
    return during, asked.returncode, after


def unit_file():
    """The unit of examples/deploy."""
    found = SERVICES / "orders.service"
    text = (
        found.read_text()
        .replace("/opt/orders/venv/bin/python", "/usr/bin/python3")
        .replace("/opt/orders", str(SERVICES))
    )
    text = text.replace("[Service]", f"[Service]\nEnvironment=PYTHONPATH={SERVICES}")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("User="))
    Path("/etc/systemd/system/orders.service").write_text(text + "\n")
    verified = call("systemd-analyze", "verify", "/etc/systemd/system/orders.service")
    call("systemctl", "daemon-reload")
    started = call("systemctl", "start", "orders")
    active = show("orders", "ActiveState")
    call("systemctl", "stop", "orders")
    return verified, started, active, show("orders", "Result")


def under_uvicorn(restart: str):
    """A background task fails under uvicorn, which then dies by SIGTERM."""
    name = f"site-{restart}"
    start(name, "site", f"Restart={restart}", "RestartSec=0")
    if restart == "always":
        until(lambda: int(show(name, "NRestarts")[0]) >= 1, "a restart")
    else:
        until(lambda: show(name, "ActiveState") == ["inactive"], "its end")
    call("systemctl", "stop", name)
    return story_has(name, "cleaned up")


if __name__ == "__main__":
    steps = [globals()[name] for name in sys.argv[1:]] or [
        ready,
        failed_startup,
        restarted,
        long_drain,
        priorities,
        stuck_drain,
        blocked_loop,
        blocked_shutdown,
        watched,
        reloading,
        unit_file,
    ]
    seen = {step.__name__: step() for step in steps}
    if not sys.argv[1:] and (SERVICES / "uvicorn").exists():
        seen["under_uvicorn"] = [under_uvicorn("on-failure"), under_uvicorn("always")]
    print(json.dumps(seen))
