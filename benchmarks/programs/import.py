"""Import a package after asyncio: `import.py PACKAGE`."""

import asyncio  # noqa: F401 - anyio imports it only when it runs
import sys

__import__(sys.argv[1])
