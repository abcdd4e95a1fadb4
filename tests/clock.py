"""The one clock of the tests: it stands still until a test moves it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_fernet.testing.tester import FollowingDatetime

#: The initial time of the clock, in seconds since the epoch: 21 September 2026.
NOW = 1_790_000_000
#: A time with a fraction, which rounding and truncation turn into different seconds.
MID_SECOND = NOW + 0.75


class Clock:
    """Replaces ``time.time``, as a frozen clock in a user's tests does.

    :param patches: the fixture that restores the real clock.
    """

    def __init__(self, patches: pytest.MonkeyPatch, now: float = NOW) -> None:
        #: Seconds since the epoch. A test that breaks the clock sets this to something else.
        self.now: Any = now
        #: Seconds on the monotonic clock, after :meth:`freeze_monotonic` has been called.
        self.monotonic = 0.0
        self._patches = patches
        patches.setattr(time, "time", lambda: self.now)

    @contextlib.contextmanager
    def at(self, now: float) -> Iterator[None]:
        """Sets the clock to another time inside the ``with`` block."""
        before, self.now = self.now, now
        try:
            yield
        finally:
            self.now = before

    def freeze_monotonic(self) -> None:
        """Stops ``time.monotonic`` as well. Locks and sockets keep using their own clocks."""
        self.monotonic = time.monotonic()
        self._patches.setattr(time, "monotonic", lambda: self.monotonic)

    def freeze_flask(self) -> None:
        """Makes ``datetime.now`` in Flask follow this clock, for the expiry of cookies."""
        self._patches.setattr("flask.sessions.datetime", FollowingDatetime)


def until(happens: Callable[[], object]) -> None:
    """Waits until something happens, and fails after ten seconds of the real clock."""
    deadline = time.monotonic() + 10
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)
