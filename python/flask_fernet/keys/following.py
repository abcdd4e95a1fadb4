"""Following a key ring while it changes: every worker looks at it again each second."""

from __future__ import annotations

import os
import threading
import time
import weakref

from ..errors import KeyRingError
from ..log import RateLimit, logger
from ..signals import keyring_unreadable
from .document import decode
from .ring import Ring
from .ring_store import RingStore

#: Seconds between two looks at a ring.
INTERVAL = 1.0
#: Most looks because of unknown tokens, whoever sends them, between two that are due. A look costs
#: a call of the operating system, or one over the network where a ring is kept elsewhere.
MAX_EXTRA_POLLS = 100
#: Seconds for which a look because of an unknown token waits for another thread's.
POLL_LOCK_TIMEOUT = 0.5
#: Most seconds between two attempts to read a ring that has not changed since it could not be read:
#: what stands in the way, a key command that hangs, say, may keep a request waiting each time.
MAX_RETRY_AFTER = 30.0


_followed: weakref.WeakSet[FollowedRing] = weakref.WeakSet()


def _after_fork() -> None:
    for ring in _followed:
        ring._reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class FollowedRing:
    """The last good state of a ring.

    :param store: where the ring is kept.
    :param sender: of the signal that the ring cannot be read: its :class:`KeyRing`.
    :raises KeyRingError: if it cannot be read now. Later, what was read last stays in force.
    """

    def __init__(self, store: RingStore, sender: object) -> None:
        self._store = store
        self._sender = sender
        self._lock = threading.Lock()
        _followed.add(self)
        self._fingerprint = store.fingerprint()
        self._ring = decode(store.load())
        self._last_poll = time.monotonic()
        self._last_read = self._last_poll
        self._extra_polls_left = MAX_EXTRA_POLLS
        #: What could not be read, and for how long it is not tried again.
        self._bad_fingerprint: object = None
        self._retry_after = 0.0
        self._log_limit = RateLimit()

    def current(self) -> Ring:
        """The ring, looked at again if the last look was a second ago."""
        # Nobody waits for a look that is only due.
        if self._is_due():
            self._poll_exclusively(0)
        return self._ring

    def poll_now(self) -> Ring:
        """The ring, looked at now, because of a token that nothing opens; or as it is, if there
        have been too many such tokens since the last look that was due.
        """
        if self._is_due() or self._extra_polls_left > 0:
            # In a forked child not for ever for a thread that is gone.
            self._poll_exclusively(POLL_LOCK_TIMEOUT)
        return self._ring

    def _is_due(self) -> bool:
        return time.monotonic() - self._last_poll >= INTERVAL

    def _poll_exclusively(self, timeout: float) -> None:
        if self._lock.acquire(timeout=timeout):
            try:
                self._poll(self._is_due())
            finally:
                self._lock.release()

    def __deepcopy__(self, memo: object) -> FollowedRing:
        return FollowedRing(self._store, self._sender)

    def _reset_after_fork(self) -> None:
        """In a forked child: another thread may have held the lock, and is no more."""
        self._lock = threading.Lock()
        self._last_poll = -INTERVAL

    def _poll(self, due: bool) -> None:
        self._extra_polls_left = MAX_EXTRA_POLLS if due else self._extra_polls_left - 1
        fingerprint = self._store.fingerprint()
        known = fingerprint == self._fingerprint
        failed = fingerprint == self._bad_fingerprint
        now = time.monotonic()
        if known or (failed and (not due or now - self._last_read < self._retry_after)):
            if due:
                self._last_poll = now
            return
        try:
            ring = decode(self._store.load())
            if ring.purpose != self._ring.purpose:
                raise KeyRingError(f"The key ring is for {ring.purpose} now.")
            self._ring = ring
        except KeyRingError as error:
            self._retry_after = min(2 * self._retry_after, MAX_RETRY_AFTER) if failed else INTERVAL
            self._bad_fingerprint = fingerprint
            if self._log_limit.allows("unreadable"):
                logger.error("Keeping the keys read last. %s", error)
            keyring_unreadable.send(self._sender, error=error)
        else:
            # Taken before reading: what was replaced meanwhile is read the next time.
            self._fingerprint = fingerprint
            self._bad_fingerprint = None
        # Reading it may have taken a while.
        self._last_poll = self._last_read = time.monotonic()


def valid_for(ring: Ring, now: float) -> float:
    """Seconds after ``now`` for which what ``ring`` says then may be used without asking again."""
    change = ring.next_change(now)
    return INTERVAL if change is None else min(INTERVAL, max(0.0, change - now))
