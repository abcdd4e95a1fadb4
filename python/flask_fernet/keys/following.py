"""Following a key ring while it changes: every worker polls it once a second.

A poll compares the store's fingerprint, and reads the ring only if that has changed. A ring that
cannot be read never takes the place of the last good one.
"""

from __future__ import annotations

import logging
import time

from ..errors import KeyRingError
from ..log import RateLimit, log_event
from ..signals import keyring_unreadable
from ..tracebacks import hide_frames
from .document import decode
from .fork_safe_lock import ForkSafeLock
from .ring import Ring
from .ring_store import RingStore, newest_serial, where

#: Seconds between two scheduled polls of a ring.
INTERVAL = 1.0
#: Seconds for which an extra poll waits until another thread's poll has ended.
POLL_LOCK_TIMEOUT = 0.5
#: Maximum back-off, in seconds, before an unreadable, unchanged ring is read again. Each attempt
#: may block a request, for example on a hanging key command.
MAX_RETRY_AFTER = 30.0

#: Stands for the fingerprint of a store that cannot be asked for it.
NO_FINGERPRINT = object()


def fingerprint_of(store: RingStore) -> object:
    """The fingerprint of a store, or :data:`NO_FINGERPRINT`. Reading the ring decides whether it is
    unreadable: that reports the error and backs off.
    """
    try:
        return store.fingerprint()
    except KeyRingError:
        return NO_FINGERPRINT


class FollowedRing:
    """The last good state of a stored ring. Any number of threads may use it.

    :param store: the place where the ring is stored.
    :param sender: the sender of :data:`~flask_fernet.keyring_unreadable`, which is sent each time a
        changed ring cannot be read: the :class:`~flask_fernet.KeyRing`.
    :raises KeyRingError: if the ring cannot be read now, or is older than one that was written
        here. Later the last good state stays in force.
    """

    def __init__(self, store: RingStore, sender: object) -> None:
        self._store = store
        self._sender = sender
        self._lock = ForkSafeLock()
        self._forks = 0
        self._fingerprint = store.fingerprint()
        newest = newest_serial(store)
        self._where = where(store)
        self._ring = decode(store.load(), self._where)
        require_newest(self._ring, newest, self._where)
        self._last_poll = time.monotonic()
        self._last_read = self._last_poll
        #: When the last poll began, scheduled or not.
        self._poll_began = self._last_poll
        #: The fingerprint of what could not be read, and for how many seconds after the last
        #: attempt it is not read again.
        self._bad_fingerprint: object = object()
        self._retry_after = 0.0
        self._log_limit = RateLimit()

    def current(self) -> Ring:
        """The ring, polled first if the last poll was :data:`INTERVAL` seconds ago or longer."""
        # A scheduled poll never blocks.
        if self._is_due() and self._lock.acquire(0):
            try:
                self._poll(self._is_due())
            finally:
                self._lock.release()
        return self._ring

    def poll_now(self) -> Ring:
        """The ring, polled after this call began. Call this for a token that may be under a key
        that this process does not know yet.

        The number of these polls is not limited: anyone can send such tokens, and would decide
        whether the sessions of others open. Calls at the same time share one poll, which asks only
        for the fingerprint while nothing has changed.
        """
        called = time.monotonic()
        if self._lock.acquire(POLL_LOCK_TIMEOUT):
            try:
                if self._poll_began <= called:
                    self._poll(self._is_due())
            finally:
                self._lock.release()
        return self._ring

    def _is_due(self) -> bool:
        if self._forks != self._lock.forks:
            # A forked child polls at once.
            return True
        return time.monotonic() - self._last_poll >= INTERVAL

    def __deepcopy__(self, memo: object) -> FollowedRing:
        return FollowedRing(self._store, self._sender)

    def _poll(self, due: bool) -> None:
        """Reads the ring if it has changed. Call with the lock held.

        :param due: whether this is a scheduled poll.
        """
        self._forks = self._lock.forks
        self._poll_began = time.monotonic()
        # Taken before reading: if the ring is replaced meanwhile, the next poll reads it again.
        fingerprint = fingerprint_of(self._store)
        unchanged = fingerprint == self._fingerprint
        failed_before = fingerprint == self._bad_fingerprint
        now = time.monotonic()
        backing_off = not due or now - self._last_read < self._retry_after
        if unchanged or (failed_before and backing_off):
            if due:
                self._last_poll = now
            return
        try:
            ring = decode(self._store.load(), self._where)
            if ring.purpose != self._ring.purpose:
                raise KeyRingError(
                    f"The purpose of the key ring must be {self._ring.purpose!r}, not "
                    f"{ring.purpose!r}."
                )
            require_newest(ring, self._ring.serial, self._where)
            self._ring = ring
        except KeyRingError as error:
            longer = min(2 * self._retry_after, MAX_RETRY_AFTER)
            self._retry_after = longer if failed_before else INTERVAL
            self._bad_fingerprint = fingerprint
            if self._log_limit.allows("unreadable"):
                log_event(
                    logging.ERROR,
                    "keyring.unreadable",
                    "Keeping the keys read last. %s",
                    error,
                    problem=str(error),
                )
            # Receivers may pass it to a crash reporter.
            hide_frames(error)
            keyring_unreadable.send(self._sender, error=error)
        else:
            # A ring that was read without its fingerprint is read again.
            self._fingerprint = object() if fingerprint is NO_FINGERPRINT else fingerprint
            self._bad_fingerprint = object()
        # The clock is read again, because reading the ring may have taken long.
        self._last_poll = self._last_read = time.monotonic()


def valid_for(ring: Ring, now: float) -> float:
    """How long the states of the keys of ``ring`` at ``now`` may be used before the ring must be
    polled again: :data:`INTERVAL` seconds, or less if a key is activated or expires before that.

    :param now: the time, in seconds since the epoch.
    """
    change = ring.next_change(now)
    return INTERVAL if change is None else min(INTERVAL, change - now)


def require_newest(ring: Ring, newest: int, place: str = "") -> None:
    """:raises KeyRingError: if ``ring`` is an older copy of one that had the serial ``newest``."""
    if ring.serial < newest:
        raise KeyRingError(
            f"The key ring{place} is an older copy: its serial is {ring.serial}, and a ring with "
            f"serial {newest} was in force. A key that was revoked since then would come back. "
            "'flask fernet ring reinstate' puts the copy in force nevertheless."
        )
