"""The key rings that the apps of one interface use, each read for the first time by one thread."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakValueDictionary

from flask import has_request_context

from ..errors import ConfigurationError, KeyRingError
from ..keys.following import INTERVAL, MAX_RETRY_AFTER, FollowedRing, fingerprint_of
from ..keys.fork_safe_lock import ForkSafeLock
from ..keys.keyring import KeyRing
from ..keys.ring import SESSIONS
from ..keys.wrapping import COMMAND_TIMEOUT

#: Whether a configured ring may be missing. The command line sets it while it loads an app whose
#: ring it is about to make or to examine.
allow_missing_ring: ContextVar[bool] = ContextVar("allow_missing_ring", default=False)

#: Seconds for which a request waits for a ring that is read for the first time.
REQUEST_PATIENCE = 2.0


@dataclass(frozen=True)
class _Failure:
    """A ring that could not be read."""

    message: str
    fingerprint: object
    #: Seconds after the attempt during which requests do not make another one, unless the ring has
    #: changed.
    wait: float
    #: When these seconds are over, in seconds of ``time.monotonic``.
    retry_at: float


class FollowedRings:
    """Key rings, each followed from its first use on.

    In a request nothing waits longer than :data:`REQUEST_PATIENCE`, and after a failure the next
    attempts come less and less often, unless the ring has changed.
    """

    def __init__(self) -> None:
        # Weak: a ring goes with the apps that use it.
        self._rings: WeakValueDictionary[KeyRing, FollowedRing] = WeakValueDictionary()
        #: For each ring that could not be read at first, the failure, while it matters.
        self._failures: dict[KeyRing, _Failure] = {}
        #: For each ring the lock that is held while it is read for the first time.
        self._locks: WeakValueDictionary[KeyRing, ForkSafeLock] = WeakValueDictionary()

    def get(self, keyring: KeyRing) -> FollowedRing | None:
        """The followed ring; ``None`` if it cannot be read and may be missing.

        :raises ConfigurationError: if it cannot be read now, or could not be read just now.
        """
        followed = self._rings.get(keyring)
        if followed is not None:
            return followed
        # One thread reads a ring for the first time, and the others wait for it.
        in_request = has_request_context()
        lock = self._locks.setdefault(keyring, ForkSafeLock())
        if not lock.acquire(REQUEST_PATIENCE if in_request else COMMAND_TIMEOUT):
            raise ConfigurationError(
                "SESSION_ENCRYPTION_KEYRING: another thread is still reading the key ring."
            )
        try:
            return self._rings.get(keyring) or self._start_following(keyring, in_request)
        except KeyRingError as error:
            if allow_missing_ring.get():
                return None
            raise ConfigurationError(f"SESSION_ENCRYPTION_KEYRING: {error}") from error
        finally:
            lock.release()

    def failure(self, keyring: KeyRing) -> str | None:
        """Why a ring could not be read at the last attempt; ``None`` if there was none."""
        failure = self._failures.get(keyring)
        return None if failure is None else failure.message

    def _forget_failures_until(self, then: float) -> None:
        """Forgets the failures of rings that nobody has asked for since ``then``: their apps may
        have gone.
        """
        failures = self._failures.items()
        self._failures = {ring: one for ring, one in failures if one.retry_at > then}

    def _start_following(self, keyring: KeyRing, in_request: bool) -> FollowedRing:
        """Reads a ring for the first time. In a request, a key command has less time, and there is
        no attempt shortly after one that failed.

        :raises KeyRingError: if the ring cannot be read.
        """
        fingerprint, before = fingerprint_of(keyring.store), self._failures.get(keyring)
        again = before is not None and before.fingerprint == fingerprint
        # The command line does not try twice, because a key command may take its whole time.
        once = in_request or allow_missing_ring.get()
        if before and again and once and time.monotonic() < before.retry_at:
            raise KeyRingError(before.message)
        store = keyring.store
        patience = store.patience
        store.patience = min(patience, REQUEST_PATIENCE) if in_request else patience
        try:
            followed = FollowedRing(store, keyring)
        except KeyRingError as error:
            wait = min(2 * before.wait, MAX_RETRY_AFTER) if before and again else INTERVAL
            retry_at = time.monotonic() + wait
            self._forget_failures_until(retry_at - wait - MAX_RETRY_AFTER)
            self._failures[keyring] = _Failure(str(error), fingerprint, wait, retry_at)
            raise
        finally:
            store.patience = patience
        if followed.current().purpose != SESSIONS:
            raise ConfigurationError(
                f"SESSION_ENCRYPTION_KEYRING must be a ring for {SESSIONS!r}, not for another "
                "purpose. A ring serves one purpose."
            )
        self._failures.pop(keyring, None)
        self._rings[keyring] = followed
        return followed
