"""Following a key ring while it changes: every worker polls it once a second.

A poll compares the store's fingerprint, and reads the ring only if that has changed. A ring that
cannot be read never takes the place of the last good one.
"""

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

#: Seconds between two scheduled polls of a ring.
INTERVAL = 1.0
#: Maximum number of extra polls, which unknown tokens cause, between two scheduled ones. Anyone can
#: send such tokens, and a poll costs a system call, or a network call where the store is remote.
MAX_EXTRA_POLLS = 100
#: Seconds for which an extra poll waits until another thread's poll has ended.
POLL_LOCK_TIMEOUT = 0.5
#: Maximum back-off, in seconds, before an unreadable, unchanged ring is read again. Each attempt
#: may block a request, for example on a hanging key command.
MAX_RETRY_AFTER = 30.0


# All followed rings of this process, for the one fork handler: os.register_at_fork() cannot be
# undone, so a handler for each ring would keep every ring alive. The set holds them weakly.
_followed: weakref.WeakSet[FollowedRing] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for ring in _followed:
        ring._reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class FollowedRing:
    """The last good state of a stored ring. Any number of threads may use it.

    :param store: the place where the ring is stored.
    :param sender: the sender of :data:`~flask_fernet.keyring_unreadable`, which is sent each time a
        changed ring cannot be read: the :class:`~flask_fernet.KeyRing`.
    :raises KeyRingError: if the ring cannot be read now. Later the last good state stays in force.
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
        #: The fingerprint of what could not be read, and for how many seconds after the last
        #: attempt it is not read again.
        self._bad_fingerprint: object = None
        self._retry_after = 0.0
        self._log_limit = RateLimit()

    def current(self) -> Ring:
        """The ring, polled first if the last poll was :data:`INTERVAL` seconds ago or longer."""
        # A scheduled poll never blocks.
        if self._is_due():
            self._poll_exclusively(0)
        return self._ring

    def poll_now(self) -> Ring:
        """The ring, polled first. Call this for a token that no key opens.

        After :data:`MAX_EXTRA_POLLS` such calls since the last scheduled poll it is not polled
        again until the next one is due.
        """
        if self._is_due() or self._extra_polls_left > 0:
            # Bounded: a forked child may have inherited a lock whose owner is gone.
            self._poll_exclusively(POLL_LOCK_TIMEOUT)
        return self._ring

    def _is_due(self) -> bool:
        return time.monotonic() - self._last_poll >= INTERVAL

    def _poll_exclusively(self, timeout: float) -> None:
        """Polls the ring, or does nothing if another thread still polls after ``timeout``
        seconds.
        """
        if self._lock.acquire(timeout=timeout):
            try:
                self._poll(self._is_due())
            finally:
                self._lock.release()

    def __deepcopy__(self, memo: object) -> FollowedRing:
        return FollowedRing(self._store, self._sender)

    def _reset_after_fork(self) -> None:
        """Replaces the lock in a forked child, where the thread that held it may not exist, and
        makes a poll due.
        """
        self._lock = threading.Lock()
        self._last_poll = -INTERVAL

    def _poll(self, due: bool) -> None:
        """Reads the ring if it has changed. Call with the lock held.

        :param due: whether this is a scheduled poll.
        """
        self._extra_polls_left = MAX_EXTRA_POLLS if due else self._extra_polls_left - 1
        # Taken before reading: if the ring is replaced meanwhile, the next poll reads it again.
        try:
            fingerprint = self._store.fingerprint()
        except KeyRingError as error:
            # Reading decides whether the ring is unreadable: that reports the error and backs off.
            fingerprint = str(error)
        unchanged = fingerprint == self._fingerprint
        failed_before = fingerprint == self._bad_fingerprint
        now = time.monotonic()
        backing_off = not due or now - self._last_read < self._retry_after
        if unchanged or (failed_before and backing_off):
            if due:
                self._last_poll = now
            return
        try:
            ring = decode(self._store.load())
            if ring.purpose != self._ring.purpose:
                raise KeyRingError(
                    f"The purpose of the key ring must be {self._ring.purpose!r}, not "
                    f"{ring.purpose!r}."
                )
            self._ring = ring
        except KeyRingError as error:
            longer = min(2 * self._retry_after, MAX_RETRY_AFTER)
            self._retry_after = longer if failed_before else INTERVAL
            self._bad_fingerprint = fingerprint
            if self._log_limit.allows("unreadable"):
                logger.error("Keeping the keys read last. %s", error)
            keyring_unreadable.send(self._sender, error=error)
        else:
            self._fingerprint = fingerprint
            self._bad_fingerprint = None
        # The clock is read again, because reading the ring may have taken long.
        self._last_poll = self._last_read = time.monotonic()


def valid_for(ring: Ring, now: float) -> float:
    """How long the states of the keys of ``ring`` at ``now`` may be used before the ring must be
    polled again: :data:`INTERVAL` seconds, or less if a key is activated or expires before that.

    :param now: the time, in seconds since the epoch.
    """
    change = ring.next_change(now)
    return INTERVAL if change is None else min(INTERVAL, max(0.0, change - now))
