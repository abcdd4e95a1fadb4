"""Flask's own signed cookies, which are used only if the configuration names them."""

from __future__ import annotations

import zlib

from itsdangerous import BadSignature, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.exc import BadData
from itsdangerous.url_safe import URLSafeTimedSerializer

from .._core import COMPRESSED, MAX_CLOCK_SKEW, MAX_INFLATED, SessionKeys
from ..errors import Reason, SessionRejected

#: Flask marks a compressed payload with the same byte.
_MARK = bytes([COMPRESSED])


class SignedCookies:
    """Opens and makes Flask's signed cookies.

    :param serializer: the result of Flask's own ``get_signing_serializer``.
    """

    def __init__(self, serializer: URLSafeTimedSerializer) -> None:
        self.serializer = serializer

    @staticmethod
    def looks_like_one(token: str) -> bool:
        """Whether a cookie can be a signed one. It has dots, which base64 does not have."""
        return "." in token

    @staticmethod
    def has_their_shape(token: str) -> bool:
        """Whether a cookie consists of a payload, a time and a signature, perhaps with the mark of
        a compressed payload before them.
        """
        return token[1:].count(".") == 2 and len(token) <= SessionKeys.MAX_TOKEN

    def open(self, token: str, now: int, max_age: int) -> tuple[bytes, int]:
        """The serialised payload of a cookie, and its issue time in seconds since the epoch.

        :param now: the time in seconds since the epoch.
        :param max_age: the maximum age in seconds.
        :raises SessionRejected: if the cookie does not open, with the reason.
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
            payload = inflate.decompress(payload, MAX_INFLATED)
        except (BadData, zlib.error):
            raise SessionRejected(Reason.UNDECODABLE) from None
        if not inflate.eof or inflate.unconsumed_tail:
            raise SessionRejected(Reason.UNDECODABLE)
        return payload

    def seal(self, payload: bytes, issued_at: int) -> str:
        """The cookie over a serialised payload that Flask would have written at ``issued_at``, in
        seconds since the epoch.
        """
        packed = zlib.compress(payload)
        shorter = len(packed) < len(payload) - 1
        value = _MARK + base64_encode(packed) if shorter else base64_encode(payload)
        signer = self.serializer.make_signer(self.serializer.salt)
        assert isinstance(signer, TimestampSigner)  # noqa: S101 - Flask's is one
        signer.get_timestamp = lambda: issued_at  # type: ignore[method-assign]
        return signer.sign(value).decode()
