"""What several test modules need."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from werkzeug.wrappers import Response

from flask_fernet import EncryptedSessionInterface
from flask_fernet._core import SessionKeys

SECRET = "a secret of more than sixteen bytes"
FOREVER = 2**62


class NativeOnly(EncryptedSessionInterface):
    """An interface that may not leave anything to Python."""

    def _open(self, *_: object) -> Any:
        raise AssertionError("opened by the portable path")

    def _save(self, *_: object) -> Any:
        raise AssertionError("saved by the portable path")


def session_keys(secret: str = SECRET, salt: str = "cookie-session") -> SessionKeys:
    """The keys that an app derives from its secret."""
    return SessionKeys([], [secret.encode()], salt)


def token_of(set_cookie: str) -> str:
    """The value in a ``Set-Cookie`` header."""
    return set_cookie.partition("=")[2].partition(";")[0]


def set_cookie(response: Response) -> str:
    """The only ``Set-Cookie`` header of a response."""
    (header,) = response.headers.getlist("Set-Cookie")
    return header


def opened(app: Flask, token: str) -> tuple[bytes, int]:
    """Payload and issue time of a session token of this app."""
    keys = app.session_interface._sealing(app).keys.made  # type: ignore[attr-defined]
    # As of a time at which no token is from the future.
    name = app.session_interface.get_cookie_name(app)
    payload, issued_at, *_ = keys.open(token, FOREVER, FOREVER, name)
    return payload, issued_at


def readable(app: Flask, header: str) -> str:
    """A ``Set-Cookie`` header with what its token holds in place of the token."""
    token = token_of(header)
    if not token:
        return header
    payload, issued_at = opened(app, token)
    return header.replace(token, f"<{issued_at} {payload!r}>")


def without_values(header: str) -> str:
    """A ``Set-Cookie`` header without its value: what a signed and an encrypted one share."""
    return re.sub(r"^([^=]*)=[^;]+", r"\1=…", header)
