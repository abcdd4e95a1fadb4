"""The result of ``get_signing_serializer``: encrypted tokens behind itsdangerous' interface."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import IO, Any

from itsdangerous import BadData, BadPayload, BadSignature, SignatureExpired, want_bytes

from .._core import MAX_CLOCK_SKEW, Policy, SessionKeys
from ..errors import ConfigurationError, Reason, SessionRejected, UnreadablePayload
from ..times import FOREVER
from ..tracebacks import frameless
from .lifetimes import take_creation


class EncryptedSerializer:
    """itsdangerous' ``Serializer`` over encrypted session tokens, with the same errors.

    It is for code that asks a session interface for its signing serializer, to read or make a
    session cookie outside a request. Such code gets encrypted tokens, never readable ones, and the
    session as the interface gives it: none whose ``SESSION_ABSOLUTE_LIFETIME`` is over.

    :param policy: gives the app's current policy.
    :param keys: gives the keys for another salt than the interface's.
    :param name: the name of the session cookie.
    :param salt: the interface's salt.
    :param pack: writes a value as bytes.
    :param load: reads it back, or raises :exc:`UnreadablePayload`.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        keys: Callable[[str | bytes], SessionKeys | None],
        name: str,
        salt: str | bytes,
        pack: Callable[[Any], bytes],
        load: Callable[[bytes], Any],
    ) -> None:
        #: The salt of the tokens, unless a method is given another one.
        self.salt = salt
        self._policy = policy
        self._keys_for = keys
        self._name = name
        self._pack = pack
        self._load = load

    @frameless
    def dumps(self, obj: Any, salt: str | bytes | None = None) -> str:
        """``obj`` as an encrypted token, dated now.

        :param salt: another salt than :attr:`salt`: tokens of one do not open under another.
        """
        return self._keys(salt).seal(self._pack(obj), int(time.time()), self._name)

    @frameless
    def dump(self, obj: Any, f: IO[str], salt: str | bytes | None = None) -> None:
        """Writes :meth:`dumps` to a text file."""
        f.write(self.dumps(obj, salt))

    @frameless
    def loads(
        self,
        s: str | bytes,
        max_age: float | None = None,
        return_timestamp: bool = False,
        salt: str | bytes | None = None,
    ) -> Any:
        """The value in a token.

        :param max_age: the maximum age in seconds; ``None`` for any age.
        :param return_timestamp: return a pair of the value and the issue time, an aware
            ``datetime``.
        :param salt: the salt with which the token was made, if it is not :attr:`salt`.
        :raises itsdangerous.SignatureExpired: if an authentic token is too old or from the future,
            or its ``SESSION_ABSOLUTE_LIFETIME`` is over.
        :raises itsdangerous.BadPayload: if an authentic token does not hold a session.
        :raises itsdangerous.BadSignature: if the token is not authentic.
        """
        try:
            # Opened at any age; *max_age* is applied below, as itsdangerous does.
            payload, issued_at, *_ = self._keys(salt).open(s, FOREVER, FOREVER, self._name)
        except SessionRejected as error:
            if error.reason is Reason.UNDECODABLE:
                raise BadPayload("Could not load the payload") from None
            raise BadSignature(f"Token {error.reason}") from None
        issued = datetime.fromtimestamp(issued_at, tz=timezone.utc)
        now = time.time()
        _check_age(int(now) - issued_at, max_age, payload, issued)
        value, created = take_creation(self.load_payload(payload), issued_at)
        absolute = self._policy().absolute_lifetime
        if absolute is not None and now - created > absolute:
            raise SignatureExpired(
                f"Session age {now - created:.0f} > {absolute:g} seconds",
                payload=payload,
                date_signed=issued,
            )
        return (value, issued) if return_timestamp else value

    @frameless
    def load(self, f: IO[str] | IO[bytes], salt: str | bytes | None = None) -> Any:
        """The value in the token that a file holds, see :meth:`loads`."""
        return self.loads(f.read(), salt=salt)

    @frameless
    def loads_unsafe(
        self, s: str | bytes, max_age: float | None = None, salt: str | bytes | None = None
    ) -> tuple[bool, Any]:
        """Like :meth:`loads`, but returns whether the token opened, and its value, instead of
        raising. A token that is not authentic is never decrypted, so its value is ``None``.
        """
        try:
            return True, self.loads(s, max_age, salt=salt)
        except BadData:
            return False, None

    @frameless
    def load_unsafe(
        self, f: IO[str] | IO[bytes], salt: str | bytes | None = None
    ) -> tuple[bool, Any]:
        """:meth:`loads_unsafe` for the token that a file holds."""
        return self.loads_unsafe(f.read(), salt=salt)

    @frameless
    def load_payload(self, payload: bytes) -> Any:
        """The value in a decrypted payload, such as the ``payload`` of ``SignatureExpired``.

        :raises itsdangerous.BadPayload: if the interface's serializer does not read it.
        """
        try:
            return self._load(payload)
        except UnreadablePayload as error:
            original = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise BadPayload("Could not load the payload", original_error=original) from original

    @frameless
    def dump_payload(self, obj: Any) -> bytes:
        """``obj`` as the bytes that :meth:`dumps` encrypts."""
        return self._pack(obj)

    def _keys(self, salt: str | bytes | None) -> SessionKeys:
        if salt is None or want_bytes(salt) == want_bytes(self.salt):
            keys = self._policy().keys
        else:
            keys = self._keys_for(salt)
        if keys is None:
            raise ConfigurationError("The app has no session key any more.")
        return keys


def _check_age(age: int, max_age: float | None, payload: bytes, issued: datetime) -> None:
    """:raises SignatureExpired: if a token's age in seconds is not from -60 to ``max_age``."""
    if max_age is None or -MAX_CLOCK_SKEW <= age <= max_age:
        return
    limit = f"{age} > {max_age}" if age > 0 else f"{age} < {-MAX_CLOCK_SKEW}"
    raise SignatureExpired(f"Token age {limit} seconds", payload=payload, date_signed=issued)
