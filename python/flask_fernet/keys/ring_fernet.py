"""Fernet tokens under the keys of a followed ring."""

from __future__ import annotations

import time

from .._core import Fernet, MultiFernet, has_fernet_shape
from ..errors import InvalidToken
from ..tracebacks import frameless
from .following import FollowedRing


class RingFernet:
    """A ``MultiFernet`` that always has the keys of a ring: the primary encrypts, and every key
    that opens now decrypts.

    It is for data of an app's own. It has the methods of :class:`MultiFernet`, with the same
    arguments, results and errors.

    :param followed: the ring.
    """

    def __init__(self, followed: FollowedRing) -> None:
        self._followed = followed
        #: The keys used last, and the ``MultiFernet`` made from them.
        self._cached: tuple[list[str], MultiFernet] | None = None

    def _fernet(self, poll_now: bool = False) -> MultiFernet:
        ring = self._followed.poll_now() if poll_now else self._followed.current()
        keys = [key.key for key in ring.opening(time.time())]
        cached = self._cached
        if cached is None or cached[0] != keys:
            cached = self._cached = (keys, MultiFernet([Fernet(key) for key in keys]))
        return cached[1]

    @frameless
    def encrypt(self, msg: bytes) -> bytes:
        """See :meth:`MultiFernet.encrypt`."""
        return self._fernet().encrypt(msg)

    @frameless
    def encrypt_at_time(self, msg: bytes, current_time: int) -> bytes:
        """See :meth:`MultiFernet.encrypt_at_time`."""
        return self._fernet().encrypt_at_time(msg, current_time)

    @frameless
    def decrypt(self, msg: bytes | str, ttl: int | None = None) -> bytes:
        """See :meth:`MultiFernet.decrypt`."""
        return self._fernet(self._is_unknown(msg)).decrypt(msg, ttl)

    @frameless
    def decrypt_at_time(self, msg: bytes | str, ttl: int, current_time: int) -> bytes:
        """See :meth:`MultiFernet.decrypt_at_time`."""
        return self._fernet(self._is_unknown(msg)).decrypt_at_time(msg, ttl, current_time)

    @frameless
    def extract_timestamp(self, msg: bytes | str) -> int:
        """See :meth:`MultiFernet.extract_timestamp`."""
        return self._fernet(self._is_unknown(msg)).extract_timestamp(msg)

    @frameless
    def rotate(self, msg: bytes | str) -> bytes:
        """See :meth:`MultiFernet.rotate`."""
        return self._fernet(self._is_unknown(msg)).rotate(msg)

    @frameless
    def key_id(self, msg: bytes | str) -> str | None:
        """The id of the key that made the token ``msg``, for finding out which keys old data still
        needs; ``None`` if no key that opens now made it.
        """
        for key in self._followed.current().opening(time.time()):
            try:
                Fernet(key.key).extract_timestamp(msg)
            except InvalidToken:
                continue
            return key.id
        return None

    def _is_unknown(self, msg: bytes | str) -> bool:
        """Whether none of the current keys made ``msg``, so that the ring must be polled at
        once.
        """
        try:
            self._fernet().extract_timestamp(msg)
        except InvalidToken:
            return has_fernet_shape(msg)
        return False
