"""The Python fallback: opening and saving a session hook by hook, like Flask's own interface.

``_core.NativeInterface`` does the same in one native call where all the Python code that would run
is Flask's own, and calls ``_open`` and ``_save`` here for everything else. Both make the same
cookies; ``tests/parity/test_implementations.py`` compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .opening import OpeningFallback
from .saving import SavingFallback
from .users import UsersInterface

if TYPE_CHECKING:
    from .._core import _Host


class FallbackInterface(OpeningFallback, SavingFallback, UsersInterface):
    """The part of the interface that works through Flask's hooks."""

    __slots__ = ()


if TYPE_CHECKING:
    # The native path calls these methods by name: the checker compares them with the protocol.
    _host: type[_Host] = FallbackInterface
