"""Import a package beside asyncio: `import.py PACKAGE`."""

import asyncio  # noqa: F401 - anyio does without it until it runs
import sys

__import__(sys.argv[1])
