"""What happens while a store is away: a breaker, so that not every request waits for it."""

from __future__ import annotations

import time
from typing import Any

from ..errors import StoreUnavailable

#: Seconds for which a store is not asked after it failed.
PAUSE = 1.0


class GuardedStore:
    """A store behind a breaker: after a failure it is not asked for a second, and then by one
    request first.

    :param store: a :class:`~flask_fernet.SessionStore`.
    :param timeout: seconds that one operation may take.
    """

    def __init__(self, store: Any, timeout: float) -> None:
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
            self._try_again(name)
        try:
            result = getattr(self.store, name)(*arguments)
        except StoreUnavailable as error:
            self._note(error)
            raise
        if self._closed_until:
            self._closed_until = 0.0
        return result

    def _try_again(self, name: str) -> None:
        """Lets one request ask a store that has failed, once its pause is over.

        :raises StoreUnavailable: if it is not over, or another request is asking.
        """
        now = time.monotonic()
        if now < self._closed_until:
            raise StoreUnavailable(name, self._problem, at_once=True)
        # The others wait for the outcome of this attempt.
        self._closed_until = now + self._timeout + PAUSE

    def _note(self, error: StoreUnavailable) -> None:
        """Notes a failure."""
        if error.is_outage:
            self._problem = error.problem
            self._closed_until = time.monotonic() + PAUSE
        else:
            # It answers, but has too much to do, or refuses this one.
            self._closed_until = 0.0


class AsyncGuardedStore(GuardedStore):
    """The same for a store whose methods are coroutines."""

    async def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """See :meth:`GuardedStore.call`."""
        if self._closed_until:
            self._try_again(name)
        try:
            result = await getattr(self.store, name)(*arguments)
        except StoreUnavailable as error:
            self._note(error)
            raise
        if self._closed_until:
            self._closed_until = 0.0
        return result
