"""Following a key ring while it changes: every worker looks at it again each second."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from .._core import Fernet, MultiFernet
from ..errors import KeyRingError
from ..signals import keyring_unreadable

if TYPE_CHECKING:
    from .ring import KeyRing, Ring

logger = logging.getLogger("flask_fernet")

#: Seconds between two looks at a ring.
INTERVAL = 1.0
#: Most looks because of unknown tokens, whoever sends them, between two that are due. A look costs
#: a call of the operating system, or one over the network where a ring is kept elsewhere.
_MOST_LOOKS = 100
#: Seconds for which a look because of an unknown token waits for another thread's.
_PATIENCE = 0.5
#: Most seconds between two attempts to read a ring that has not changed since it could not be read:
#: what stands in the way, a key command that hangs, say, may keep a request waiting each time.
_LONGEST_PAUSE = 30.0
#: Seconds between two log lines about the same ring.
_LOG_INTERVAL = 60.0


_followed: weakref.WeakSet[FollowedRing] = weakref.WeakSet()


def _after_fork() -> None:
    for ring in _followed:
        ring._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class FollowedRing:
    """The last good state of a ring.

    :param keyring: the ring.
    :raises KeyRingError: if it cannot be read now. Later, what was read last stays in force.
    """

    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring
        self._lock = threading.Lock()
        _followed.add(self)
        self._fingerprint = keyring.store.fingerprint()
        self._ring = keyring.load()
        self._looked = time.monotonic()
        self._tried = self._looked
        self._looks_left = _MOST_LOOKS
        #: What could not be read, and for how long it is not tried again.
        self._failed: object = None
        self._pause = 0.0
        self._logged = -_LOG_INTERVAL

    def current(self) -> Ring:
        """The ring, looked at again if the last look was a second ago."""
        # Nobody waits for a look that is only due.
        if self._is_due():
            self._look_alone(0)
        return self._ring

    def look(self) -> Ring:
        """The ring, looked at now, because of a token that nothing opens; or as it is, if there
        have been too many such tokens since the last look that was due.
        """
        if self._is_due() or self._looks_left > 0:
            # In a forked child not for ever for a thread that is gone.
            self._look_alone(_PATIENCE)
        return self._ring

    def _is_due(self) -> bool:
        return time.monotonic() - self._looked >= INTERVAL

    def _look_alone(self, patience: float) -> None:
        if self._lock.acquire(timeout=patience):
            try:
                self._look(self._is_due())
            finally:
                self._lock.release()

    def __deepcopy__(self, memo: object) -> FollowedRing:
        return FollowedRing(self._keyring)

    def _forked(self) -> None:
        """In a forked child: another thread may have held the lock, and is no more."""
        self._lock = threading.Lock()
        self._looked = -INTERVAL

    def _look(self, due: bool) -> None:
        self._looks_left = _MOST_LOOKS if due else self._looks_left - 1
        fingerprint = self._keyring.store.fingerprint()
        known = fingerprint == self._fingerprint
        failed = fingerprint == self._failed
        now = time.monotonic()
        if known or (failed and (not due or now - self._tried < self._pause)):
            if due:
                self._looked = now
            return
        try:
            ring = self._keyring.load()
            if ring.purpose != self._ring.purpose:
                raise KeyRingError(f"The key ring is for {ring.purpose} now.")
            self._ring = ring
        except KeyRingError as error:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE) if failed else INTERVAL
            self._failed = fingerprint
            if now - self._logged >= _LOG_INTERVAL:
                self._logged = now
                logger.error("Keeping the keys read last. %s", error)
            keyring_unreadable.send(self._keyring, error=error)
        else:
            # Taken before reading: what was replaced meanwhile is read the next time.
            self._fingerprint = fingerprint
            self._failed = None
        # Reading it may have taken a while.
        self._looked = self._tried = time.monotonic()


class RingFernet:
    """A ``MultiFernet`` whose keys are those of a ring, and follow it.

    For data of an app's own. Has the methods of :class:`MultiFernet`, with the same arguments,
    results and errors.
    """

    def __init__(self, keyring: KeyRing) -> None:
        self._followed = FollowedRing(keyring)
        self._made: tuple[list[str], MultiFernet] | None = None

    def _fernet(self, urgent: bool = False) -> MultiFernet:
        ring = self._followed.look() if urgent else self._followed.current()
        keys = [key.key for key in ring.opening(time.time())]
        made = self._made
        if made is None or made[0] != keys:
            made = self._made = (keys, MultiFernet([Fernet(key) for key in keys]))
        return made[1]

    def encrypt(self, msg: bytes) -> bytes:
        """See :meth:`MultiFernet.encrypt`."""
        return self._fernet().encrypt(msg)

    def encrypt_at_time(self, msg: bytes, current_time: int) -> bytes:
        """See :meth:`MultiFernet.encrypt_at_time`."""
        return self._fernet().encrypt_at_time(msg, current_time)

    def decrypt(self, msg: bytes | str, ttl: int | None = None) -> bytes:
        """See :meth:`MultiFernet.decrypt`."""
        return self._fernet(self._unknown(msg)).decrypt(msg, ttl)

    def decrypt_at_time(self, msg: bytes | str, ttl: int, current_time: int) -> bytes:
        """See :meth:`MultiFernet.decrypt_at_time`."""
        return self._fernet(self._unknown(msg)).decrypt_at_time(msg, ttl, current_time)

    def extract_timestamp(self, msg: bytes | str) -> int:
        """See :meth:`MultiFernet.extract_timestamp`."""
        return self._fernet(self._unknown(msg)).extract_timestamp(msg)

    def rotate(self, msg: bytes | str) -> bytes:
        """See :meth:`MultiFernet.rotate`."""
        return self._fernet(self._unknown(msg)).rotate(msg)

    def key_id(self, msg: bytes | str) -> str | None:
        """Which key of the ring made a token, ``None`` if it is none that opens now: tells which
        keys old data still needs.
        """
        from ..errors import InvalidToken

        for key in self._followed.current().opening(time.time()):
            try:
                Fernet(key.key).extract_timestamp(msg)
            except InvalidToken:
                continue
            return key.id
        return None

    def _unknown(self, msg: bytes | str) -> bool:
        """Whether no key at hand made a token, so that the ring is looked at again at once."""
        from ..errors import InvalidToken

        try:
            self._fernet().extract_timestamp(msg)
        except InvalidToken:
            return True
        return False
