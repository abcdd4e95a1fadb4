"""The one clock of the tests: it stands still until a test moves it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

#: Where it stands at first, in seconds since the epoch: 21 September 2026.
NOW = 1_790_000_000
#: With a fraction: a time that is rounded differs from one that is cut off.
MID_SECOND = NOW + 0.75


class Clock:
    """Takes the place of ``time.time``, as a frozen clock in a user's tests does.

    :param patches: what puts the real clock back.
    """

    def __init__(self, patches: pytest.MonkeyPatch, now: float = NOW) -> None:
        #: Seconds since the epoch. A test that breaks the clock puts something else here.
        self.now: Any = now
        #: Seconds on the clock that is never set, once :meth:`freeze_monotonic` was called.
        self.monotonic = 0.0
        self._patches = patches
        patches.setattr(time, "time", lambda: self.now)

    @contextlib.contextmanager
    def at(self, now: float) -> Iterator[None]:
        """Sets the clock for a while."""
        before, self.now = self.now, now
        try:
            yield
        finally:
            self.now = before

    def freeze_monotonic(self) -> None:
        """Stops ``time.monotonic`` as well. Locks and sockets go on with a clock of their own."""
        self.monotonic = time.monotonic()
        self._patches.setattr(time, "monotonic", lambda: self.monotonic)

    def freeze_flask(self) -> None:
        """Has Flask count the end of its cookies from this clock: it asks ``datetime.now``."""

        class Frozen(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.fromtimestamp(time.time(), tz)

        self._patches.setattr("flask.sessions.datetime", Frozen)


def until(happens: Callable[[], object]) -> None:
    """Waits, by the real clock, for something that happens within ten seconds."""
    deadline = time.monotonic() + 10
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)
