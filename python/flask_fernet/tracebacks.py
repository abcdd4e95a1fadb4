"""Errors leave this package without its frames.

Crash reporters record the local variables of every frame in a traceback. Ours hold sessions, keys
and configurations.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE = __name__.partition(".")[0]


def hide_frames(error: BaseException) -> None:
    """Removes this package's frames from the traceback of ``error``, and from those of its causes
    and contexts. All other frames stay, those of an app's hooks among them.
    """
    pending, seen = [error], set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _without_ours(current.__traceback__)
        pending += [one for one in (current.__cause__, current.__context__) if one is not None]


def frameless(function: Callable[P, T]) -> Callable[P, T]:
    """Makes every error of a function leave it without this package's frames."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            hide_frames(error)
            if sys.version_info >= (3, 11):
                # Raising again does not add this frame.
                raise
            # Here it would bring the former traceback back. This frame stays, without what it held.
            del args, kwargs
            raise error

    return call


def frameless_async(
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same for a function that is a coroutine."""

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except BaseException as error:
            hide_frames(error)
            if sys.version_info >= (3, 11):
                raise
            del args, kwargs
            raise error

    return call


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    entries = []
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module != _PACKAGE and not module.startswith(f"{_PACKAGE}."):
            entries.append(traceback)
        traceback = traceback.tb_next
    following = None
    for entry in reversed(entries):
        entry.tb_next = following
        following = entry
    return following
