"""Values remembered for apps, by the identity of the app."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from flask import Flask

T = TypeVar("T")


class AppMemory(Generic[T]):
    """Maps apps to values. A value serves its own app alone and goes with it.

    An app is identified by itself and not by its equality, which a subclass may define.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Flask], T]] = {}

    def get(self, app: Flask) -> T | None:
        """The value remembered for ``app``; ``None`` if there is none."""
        entry = self._entries.get(id(app))
        # The address of an app that has gone may be reused.
        return entry[1] if entry is not None and entry[0]() is app else None

    def set(self, app: Flask, value: T) -> None:
        """Remembers a value for ``app``."""
        address = id(app)
        # Weak, or the callback would keep this memory, and the values in it, in a cycle.
        this = weakref.ref(self)

        def forget(reference: weakref.ref[Flask]) -> None:
            memory = this()
            if memory is not None and memory._entries.get(address, (None,))[0] is reference:
                del memory._entries[address]

        self._entries[address] = (weakref.ref(app, forget), value)
