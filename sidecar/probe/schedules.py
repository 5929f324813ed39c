"""A task for each endpoint that is asked now and again, from its listing to its removal.

In:      which endpoints there are; what to do for one, as a coroutine that goes on until it is cancelled.
Errors:  one that ends with an exception is a bug: the loop's exception handler hears of it, the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Set

from sidecar.terms import EndpointKey

Work = Callable[[EndpointKey], Coroutine[None, None, None]]


class Schedules:
    """Begins and ends tasks; holds them, for a task that nobody holds may be collected."""

    __slots__ = ("_ending", "_loop", "_name", "_tasks", "_work")

    def __init__(self, name: str, work: Work, loop: asyncio.AbstractEventLoop) -> None:
        self._name = name
        self._work = work
        self._loop = loop
        self._tasks: dict[EndpointKey, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def keys(self) -> frozenset[EndpointKey]:
        return frozenset(self._tasks)

    def keep(self, wanted: Set[EndpointKey]) -> None:
        """Begins a task for each that has none and ends those of others."""
        for key in self._tasks.keys() - wanted:
            self.end(key)
        for key in sorted(wanted - self._tasks.keys()):
            task = self._loop.create_task(self._work(key), name=f"{self._name} {key.service} {key.address}")
            task.add_done_callback(self._tell_if_it_broke)
            self._tasks[key] = task

    def end(self, key: EndpointKey) -> None:
        task = self._tasks.pop(key)
        if not task.done():
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def stop(self) -> None:
        """Ends every task and whatever it is about."""
        self.keep(frozenset())
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _tell_if_it_broke(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": f"{task.get_name()} broke", "exception": error, "task": task}
            )
