"""The doors of the package: what is opened from outside besides `graceful` itself."""

from __future__ import annotations

#: A folder or a file each, with the distributions that only it may import. A door may import the doors below it in this list,
#: `graceful` itself, and every wing; nothing else imports a door. A new one needs its line here, and its row in CONTRIBUTING.md.
DOORS: dict[str, set[str]] = {
    "__main__": set(),
    "_doctor": set(),
    "_plan": {"yaml"},
    "opentelemetry": {"opentelemetry"},
    "pytest_plugin": {"pytest"},
    "testing": {"hypothesis"},
}


def door_of(room: str) -> str | None:
    """The door that a room, such as `testing/_explore`, belongs to."""
    first = room.partition("/")[0]
    return first if first in DOORS else None
