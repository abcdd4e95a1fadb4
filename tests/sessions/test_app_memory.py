"""A value is remembered for one app, and goes with it."""

from __future__ import annotations

import gc
import weakref

from flask import Flask

from flask_fernet.sessions.app_memory import AppMemory


class AllEqual(Flask):
    """Apps that are equal to each other, and have no hash."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_each_app_has_its_own_value() -> None:
    memory: AppMemory[str] = AppMemory()
    first, second = AllEqual(__name__), AllEqual(__name__)
    memory.set(first, "first")
    assert (memory.get(first), memory.get(second)) == ("first", None)
    memory.set(second, "second")
    memory.set(first, "changed")
    assert (memory.get(first), memory.get(second)) == ("changed", "second")


def test_a_value_goes_with_its_app() -> None:
    memory: AppMemory[str] = AppMemory()
    app = Flask(__name__)
    memory.set(app, "value")
    del app
    gc.collect()
    assert memory._entries == {}


def test_an_app_at_the_address_of_another_does_not_get_its_value() -> None:
    memory: AppMemory[str] = AppMemory()
    gone, app = Flask(__name__), Flask(__name__)
    memory.set(gone, "value")
    # As if `gone` had gone while its entry stayed, and `app` had been made in its place.
    memory._entries[id(app)] = memory._entries[id(gone)]
    assert memory.get(app) is None


def test_the_end_of_an_older_reference_leaves_the_newer_value() -> None:
    memory: AppMemory[str] = AppMemory()
    app = Flask(__name__)
    memory.set(app, "old")
    older = memory._entries[id(app)][0]
    memory.set(app, "new")
    assert older.__callback__ is not None
    older.__callback__(older)
    assert memory.get(app) == "new"


def test_a_memory_is_part_of_no_cycle() -> None:
    """It holds keys, which must not wait for the garbage collector."""
    app = Flask(__name__)
    memory: AppMemory[str] = AppMemory()
    memory.set(app, "value")
    reference = weakref.ref(memory)
    gc.disable()
    try:
        del memory
        assert reference() is None
    finally:
        gc.enable()
