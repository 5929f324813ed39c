"""What tests do about things that are bound to come, but not at a known moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until(met: Callable[[], object]) -> None:
    """Waits for it; fails where it takes too long."""
    async with asyncio.timeout(10):
        while True:
            if met():
                return
            await asyncio.sleep(0.003)


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Lets it run beside the test, which keeps the task."""
    return asyncio.get_running_loop().create_task(work)
