"""
CPython's own tests of asyncio, run inside an app: `python -m support.cpython`, in the folder `tests`.

Each test is run without graceful and inside an app. What differs and is not in `differences.py` is an error.
"""
