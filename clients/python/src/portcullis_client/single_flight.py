"""Single flight: of many callers who need the same thing done, one does it, and all get what came of it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Single flight over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flight: Future[T] | None = None

    def run(self, known: Callable[[], T | None], do: Callable[[], T]) -> T:
        """What is `known`, else what `do` returns or raises; at any time only one thread does it."""
        with self._lock:
            found = known()
            if found is not None:
                return found
            flight, leads = self._flight, self._flight is None
            if flight is None:
                flight = self._flight = Future()
        if not leads:
            return flight.result()
        try:
            result = do()
        except BaseException as error:
            self._end()
            passes = isinstance(error, Exception)
            flight.set_exception(error if passes else PortcullisError("the thread that did it was interrupted"))
            raise
        self._end()
        flight.set_result(result)
        return result

    def _end(self) -> None:
        with self._lock:
            self._flight = None


class AsyncSingleFlight(Generic[T]):
    """Single flight over the tasks of one event loop (asyncio). A caller who is cancelled does not end the flight."""

    def __init__(self) -> None:
        self._flight: asyncio.Task[T] | None = None

    async def run(self, known: Callable[[], T | None], do: Callable[[], Coroutine[None, None, T]]) -> T:
        """What is `known`, else what `do` returns or raises; at any time only one task does it."""
        found = known()
        if found is not None:
            return found
        if self._flight is None:
            self._flight = asyncio.create_task(do())
            self._flight.add_done_callback(self._end)
        return await asyncio.shield(self._flight)

    def _end(self, flight: asyncio.Task[T]) -> None:
        self._flight = None
        if not flight.cancelled():
            # Looked at, also where everybody who waited was cancelled.
            flight.exception()
