"""Adoption: a hook's run is told of the tasks that are created in it; `hook_run` awaits them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator
from typing import Any

from graceful._hooks.hook_run import current_hook_run
from graceful._loop.patch import patch_method

__all__ = ["adopting"]


@contextlib.contextmanager
def adopting() -> Generator[None]:
    """Patch the running loop's `create_task`, so that a hook run learns of the tasks that are created in it."""

    def adopt(create_task: Callable[..., asyncio.Future[Any]]) -> Callable[..., asyncio.Future[Any]]:
        def create(coro: Any, **options: Any) -> asyncio.Future[Any]:
            task = create_task(coro, **options)
            run = current_hook_run(options.get("context"))
            if run is not None:
                run.adopt(task)
            return task

        return create

    unpatch = patch_method(asyncio.get_running_loop(), "create_task", adopt)
    try:
        yield
    finally:
        unpatch()
