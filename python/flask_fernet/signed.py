"""Flask's own signed cookies: opened, and written in a named transition, never by default."""

from __future__ import annotations

import zlib

from itsdangerous import BadSignature, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.exc import BadData
from itsdangerous.url_safe import URLSafeTimedSerializer

from ._core import SessionKeys
from .errors import Reason, SessionRejected
from .times import MAX_CLOCK_SKEW

_MARK = b"."
#: Most bytes that a payload may unpack to, as in ``src/compress.rs``.
_MAX_INFLATED = 1 << 20


class SignedCookies:
    """Payloads in Flask's signed cookies.

    :param serializer: what Flask's own ``get_signing_serializer`` gives.
    """

    def __init__(self, serializer: URLSafeTimedSerializer) -> None:
        self.serializer = serializer

    @staticmethod
    def looks_like_one(token: str) -> bool:
        """Whether a cookie can be a signed one: it has dots, which base64 has not."""
        return "." in token

    def open(self, token: str, now: int, max_age: int) -> tuple[bytes, int]:
        """The serialised payload of a cookie at most ``max_age`` seconds old at ``now``, and its
        issue time, both in seconds.

        :raises SessionRejected: with the reason.
        """
        if len(token) > SessionKeys.MAX_TOKEN:
            raise SessionRejected(Reason.TOO_LARGE)
        for signer in self.serializer.iter_unsigners():
            assert isinstance(signer, TimestampSigner)  # noqa: S101 - Flask's is one
            try:
                value, made = signer.unsign(token, return_timestamp=True)
            except BadSignature:
                continue
            issued_at = int(made.timestamp())
            if now - issued_at > max_age:
                raise SessionRejected(Reason.EXPIRED)
            if issued_at - now > MAX_CLOCK_SKEW:
                raise SessionRejected(Reason.FROM_FUTURE)
            return self._payload(value), issued_at
        raise SessionRejected(Reason.UNAUTHENTIC)

    @staticmethod
    def _payload(value: bytes) -> bytes:
        packed = value.startswith(_MARK)
        try:
            payload = base64_decode(value[1:] if packed else value)
            if not packed:
                return payload
            inflate = zlib.decompressobj()
            payload = inflate.decompress(payload, _MAX_INFLATED)
        except (BadData, zlib.error):
            raise SessionRejected(Reason.UNDECODABLE) from None
        if not inflate.eof or inflate.unconsumed_tail:
            raise SessionRejected(Reason.UNDECODABLE)
        return payload

    def seal(self, payload: bytes, issued_at: int) -> str:
        """A cookie over a serialised payload, as Flask would have written it at that time."""
        packed = zlib.compress(payload)
        shorter = len(packed) < len(payload) - 1
        value = _MARK + base64_encode(packed) if shorter else base64_encode(payload)
        signer = self.serializer.make_signer(self.serializer.salt)
        assert isinstance(signer, TimestampSigner)  # noqa: S101 - Flask's is one
        signer.get_timestamp = lambda: issued_at  # type: ignore[method-assign]
        return signer.sign(value).decode()
