"""What ``get_signing_serializer`` gives: encrypted tokens behind itsdangerous' interface."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from itsdangerous import BadPayload, BadSignature, SignatureExpired

from ._core import SessionKeys
from .errors import Reason, SessionRejected

#: Older than any token.
_EVER = 2**62


class EncryptedSerializer:
    """``dumps`` and ``loads`` over encrypted session tokens, raising itsdangerous' errors.

    For code that asks a session interface for its signing serializer, to read or make a session
    cookie outside a request: it gets encrypted ones, never readable ones.
    """

    def __init__(
        self,
        keys: SessionKeys,
        pack: Callable[[Any], bytes],
        load: Callable[[bytes], Any],
    ) -> None:
        self._keys = keys
        self._pack = pack
        self._load = load

    def dumps(self, obj: Any) -> str:
        """``obj`` as an encrypted token, dated now."""
        return self._keys.seal(self._pack(obj), int(time.time()))

    def loads(
        self, s: str | bytes, max_age: int | None = None, return_timestamp: bool = False
    ) -> Any:
        """What a token holds.

        :param max_age: most seconds since the token was made; ``None`` for any age.
        :param return_timestamp: give a pair of the value and the time of making, an aware
            ``datetime``.
        :raises itsdangerous.SignatureExpired: for an authentic token out of its time.
        :raises itsdangerous.BadPayload: for an authentic token that does not hold a session.
        :raises itsdangerous.BadSignature: for everything else.
        """
        try:
            payload, issued_at, _ = self._keys.open(
                s, int(time.time()), _EVER if max_age is None else max_age
            )
        except SessionRejected as error:
            raise _as_itsdangerous(error.reason) from None
        try:
            value = self._load(payload)
        except Exception as error:
            raise BadPayload("Could not load the payload", original_error=error) from error
        if return_timestamp:
            return value, datetime.fromtimestamp(issued_at, tz=timezone.utc)
        return value


def _as_itsdangerous(reason: Reason) -> BadSignature | BadPayload:
    if reason in (Reason.EXPIRED, Reason.FROM_FUTURE):
        return SignatureExpired(f"Token {reason}")
    if reason is Reason.UNDECODABLE:
        return BadPayload("Could not load the payload")
    return BadSignature(f"Token {reason}")
