"""The result of ``get_signing_serializer``: encrypted tokens behind itsdangerous' interface."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from itsdangerous import BadData, BadPayload, BadSignature, SignatureExpired

from .._core import MAX_CLOCK_SKEW, SessionKeys
from ..errors import ConfigurationError, Reason, SessionRejected, UnreadablePayload
from ..times import FOREVER


class EncryptedSerializer:
    """``dumps`` and ``loads`` over encrypted session tokens, with itsdangerous' errors.

    It is for code that asks a session interface for its signing serializer, to read or make a
    session cookie outside a request. Such code gets encrypted tokens, never readable ones.

    :param keys: gives the app's current keys, or ``None`` if there are none any more.
    :param name: the name of the session cookie.
    :param pack: writes a value as bytes.
    :param load: reads it back, or raises :exc:`UnreadablePayload`.
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

    def _current_keys(self) -> SessionKeys:
        keys = self._keys()
        if keys is None:
            raise ConfigurationError("The app has no session key any more.")
        return keys

    def dumps(self, obj: Any) -> str:
        """``obj`` as an encrypted token, dated now."""
        return self._current_keys().seal(self._pack(obj), int(time.time()), self._name)

    def loads(
        self, s: str | bytes, max_age: float | None = None, return_timestamp: bool = False
    ) -> Any:
        """The value in a token.

        :param max_age: the maximum age in seconds; ``None`` for any age.
        :param return_timestamp: return a pair of the value and the issue time, an aware
            ``datetime``.
        :raises itsdangerous.SignatureExpired: if an authentic token is too old or from the future.
        :raises itsdangerous.BadPayload: if an authentic token does not hold a session.
        :raises itsdangerous.BadSignature: if the token is not authentic.
        """
        try:
            # Opened at any age; *max_age* is applied below, as itsdangerous does.
            payload, issued_at, *_ = self._current_keys().open(s, FOREVER, FOREVER, self._name)
        except SessionRejected as error:
            if error.reason is Reason.UNDECODABLE:
                raise BadPayload("Could not load the payload") from None
            raise BadSignature(f"Token {error.reason}") from None
        issued = datetime.fromtimestamp(issued_at, tz=timezone.utc)
        age = int(time.time()) - issued_at
        if max_age is not None and not -MAX_CLOCK_SKEW <= age <= max_age:
            limit = f"{age} > {max_age}" if age > 0 else f"{age} < {-MAX_CLOCK_SKEW}"
            raise SignatureExpired(
                f"Token age {limit} seconds", payload=payload, date_signed=issued
            )
        try:
            value = self._load(payload)
        except UnreadablePayload as error:
            original = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise BadPayload("Could not load the payload", original_error=original) from original
        return (value, issued) if return_timestamp else value

    def loads_unsafe(self, s: str | bytes, max_age: float | None = None) -> tuple[bool, Any]:
        """Like :meth:`loads`, but returns whether the token opened, and its value, instead of
        raising. A token that is not authentic is never decrypted, so its value is ``None``.
        """
        try:
            return True, self.loads(s, max_age)
        except BadData:
            return False, None
