"""`python -m graceful`: the commands, each imported only where it is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

__all__ = ["main"]

COMMANDS = {
    "doctor": "stop a program in many ways, and say what is wrong with how it ends",
    "plan": "show the shutdown of an app without running it, and check the files that deploy it",
}


def main(argv: Sequence[str]) -> int:
    """
    Run one command.

    Args:
        argv: The name of the command and its arguments; none: the help is shown.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m graceful",
        description="Graceful shutdown for asyncio.",
        epilog="\n".join(["commands:", *(f"  {name:<10}{text}" for name, text in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=[*COMMANDS], help="its own --help says more")
    name = parser.parse_args(argv[:1]).command
    if name == "doctor":
        if sys.platform != "linux":
            parser.error("the doctor needs Linux: it asks /proc which processes a program has, and what they use")
        from graceful._doctor.command import main as doctor  # saves its import where another command is asked for

        return doctor(argv[1:])
    if name == "plan":
        from graceful._plan.command import main as plan  # saves its import, as above

        return plan(argv[1:])
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
