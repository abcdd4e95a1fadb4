"""What happens while a store is away: a breaker, so that not every request waits for it."""

from __future__ import annotations

import time
from typing import Any

from ..errors import StoreUnavailable
from ..stores.protocol import SessionStore

#: Seconds for which a store is not asked after it failed.
PAUSE = 1.0


class GuardedStore:
    """A store behind a breaker: after a failure it is not asked for a second, and then by one
    request first.

    :param timeout: seconds that one operation may take.
    """

    def __init__(self, store: SessionStore, timeout: float) -> None:
        self.store = store
        self._timeout = timeout
        #: Until when the store is not asked, on the monotonic clock; 0 while it answers.
        self._closed_until = 0.0
        self._problem = ""

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """The result of one of the store's methods.

        :raises StoreUnavailable: if the store does not answer, or has just failed.
        """
        if self._closed_until:
            now = time.monotonic()
            if now < self._closed_until:
                raise StoreUnavailable(name, self._problem, at_once=True)
            # The others wait for the outcome of this attempt.
            self._closed_until = now + self._timeout + PAUSE
        try:
            result = getattr(self.store, name)(*arguments)
        except StoreUnavailable as error:
            if error.is_outage:
                self._problem = error.problem
                self._closed_until = time.monotonic() + PAUSE
            else:
                # It answers, but has too much to do, or refuses this one.
                self._closed_until = 0.0
            raise
        if self._closed_until:
            self._closed_until = 0.0
        return result
