"""What belongs to one event loop: connections cannot be used from another one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByLoop(Generic[T]):
    """Something that each event loop has one of, made when it is first used there.

    :param make: makes one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}
        self._lock = threading.Lock()

    def get(self) -> T:
        """The one of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found is None:
            # Loops of other threads share the dictionary.
            with self._lock:
                # What belongs to a closed loop cannot be closed any more, only let go.
                self._made = {one: its for one, its in self._made.items() if not one.is_closed()}
                found = self._made[loop] = self._make()
        return found

    def take(self) -> T | None:
        """The one of the running loop, which is not kept any longer; ``None`` if it has none."""
        with self._lock:
            return self._made.pop(asyncio.get_running_loop(), None)
