"""Generators that ask for input and output, and what carries them out.

Everything that a store is asked for is decided in generators. They yield operations and are sent
what came back, so that they do no input or output themselves: :func:`drive` carries the operations
out with calls, and :func:`drive_async` with coroutines.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Operation(NamedTuple):
    """One call of a method."""

    name: str
    arguments: tuple[Any, ...]


class Wait(NamedTuple):
    """A pause, in seconds."""

    seconds: float


#: Yields operations, is sent their results, and returns a ``T``.
Exchange = Generator[Operation | Wait, Any, T]


class Caller(Protocol):
    """What calls a method of something."""

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """The result of a method, or a coroutine that returns it."""


class Methods:
    """A caller of the methods of an object."""

    def __init__(self, target: object) -> None:
        self._target = target

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """See :meth:`Caller.call`."""
        return getattr(self._target, name)(*arguments)


def drive(exchange: Exchange[T], caller: Caller) -> T:
    """Carries an exchange out. What a call raises is raised in the exchange."""
    try:
        asked = next(exchange)
        while True:
            if isinstance(asked, Wait):
                time.sleep(asked.seconds)
                asked = exchange.send(None)
                continue
            try:
                answer = caller.call(*asked)
            except BaseException as error:  # noqa: BLE001 - raised in the exchange
                asked = exchange.throw(error)
            else:
                asked = exchange.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def drive_async(exchange: Exchange[T], caller: Caller) -> T:
    """The same with a caller whose calls are coroutines."""
    try:
        asked = next(exchange)
        while True:
            if isinstance(asked, Wait):
                await asyncio.sleep(asked.seconds)
                asked = exchange.send(None)
                continue
            try:
                answer = await caller.call(*asked)
            except BaseException as error:  # noqa: BLE001 - raised in the exchange
                asked = exchange.throw(error)
            else:
                asked = exchange.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
