"""What ``get_signing_serializer`` gives: encrypted tokens behind itsdangerous' interface."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from itsdangerous import BadData, BadPayload, BadSignature, SignatureExpired

from ._core import SessionKeys
from .errors import ConfigurationError, Reason, SessionRejected
from .times import MAX_CLOCK_SKEW

#: Later than any token, in seconds since the epoch.
_LATEST = 2**63 - 1


class EncryptedSerializer:
    """``dumps`` and ``loads`` over encrypted session tokens, raising itsdangerous' errors.

    For code that asks a session interface for its signing serializer, to read or make a session
    cookie outside a request: it gets encrypted ones, never readable ones.
    """

    def __init__(
        self,
        keys: Callable[[], SessionKeys | None],
        name: str,
        pack: Callable[[Any], bytes],
        load: Callable[[bytes], Any],
    ) -> None:
        self._keys = keys
        self._name = name
        self._pack = pack
        self._load = load

    def _current(self) -> SessionKeys:
        keys = self._keys()
        if keys is None:
            raise ConfigurationError("The app has no session key any more.")
        return keys

    def dumps(self, obj: Any) -> str:
        """``obj`` as an encrypted token, dated now."""
        return self._current().seal(self._pack(obj), int(time.time()), self._name)

    def loads(
        self, s: str | bytes, max_age: float | None = None, return_timestamp: bool = False
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
            # Its age is judged below, as itsdangerous does: without a bound it has none.
            payload, issued_at, *_ = self._current().open(s, _LATEST, _LATEST, self._name)
        except SessionRejected as error:
            if error.reason is Reason.UNDECODABLE:
                raise BadPayload("Could not load the payload") from None
            raise BadSignature(f"Token {error.reason}") from None
        made = datetime.fromtimestamp(issued_at, tz=timezone.utc)
        age = int(time.time()) - issued_at
        if max_age is not None and not -MAX_CLOCK_SKEW <= age <= max_age:
            limit = f"{age} > {max_age}" if age > 0 else f"{age} < {-MAX_CLOCK_SKEW}"
            raise SignatureExpired(f"Token age {limit} seconds", payload=payload, date_signed=made)
        try:
            value = self._load(payload)
        except Exception as error:
            raise BadPayload("Could not load the payload", original_error=error) from error
        return (value, made) if return_timestamp else value

    def loads_unsafe(self, s: str | bytes, max_age: float | None = None) -> tuple[bool, Any]:
        """As :meth:`loads`, without an exception: whether it opened, and what it holds. What is
        not authentic is never decrypted, so nothing is held then.
        """
        try:
            return True, self.loads(s, max_age)
        except BadData:
            return False, None
