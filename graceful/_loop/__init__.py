"""Around asyncio's loop and its tasks: what is watched, waited for, cancelled and left alone."""
