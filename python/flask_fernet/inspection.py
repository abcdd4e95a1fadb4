"""What a session cookie is, for people who have the app's keys."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import settings
from ._core import SessionKeys
from .errors import Reason, SessionRejected
from .lifetimes import take_creation
from .times import MAX_CLOCK_SKEW, to_text

if TYPE_CHECKING:
    from flask import Flask

    from .interface import EncryptedSessionInterface

#: Later than any token, in seconds since the epoch.
_EVER = 2**62


def inspect(
    interface: EncryptedSessionInterface, app: Flask, token: str, show: bool = False
) -> dict[str, Any]:
    """Format, key, issue time, age and end of a cookie, and its contents if asked for.

    Nothing is told of one that no key opens but the reason, as ``refused``.
    """
    try:
        format_, key, payload, issued_at = _open(interface, app, token)
    except SessionRejected as error:
        return {"refused": error.reason.value}
    now = time.time()
    age = int(now) - issued_at
    lifetime = int(app.permanent_session_lifetime.total_seconds())
    expires = issued_at + lifetime
    found: dict[str, Any] = {
        "format": format_,
        "key": key,
        "issued": to_text(issued_at),
        "age": age,
        "expires": to_text(expires),
        "size": len(payload),
    }
    readable, contents, created = _read(interface, app, payload, issued_at)
    absolute = interface._sealing(app).lifetimes.absolute
    if absolute is not None:
        found["created"] = to_text(created)
        found["expires"] = to_text(int(min(expires, created + absolute)))
    if format_ not in (
        app.config.get("SESSION_ENCRYPTION_FORMAT") or settings.FORMATS[0],
        *settings.accepted(app.config),
    ):
        found["refused"] = "not accepted"
    elif age > lifetime or (absolute is not None and now - created > absolute):
        found["refused"] = Reason.EXPIRED.value
    elif age < -MAX_CLOCK_SKEW:
        found["refused"] = Reason.FROM_FUTURE.value
    elif not readable:
        found["refused"] = Reason.UNDECODABLE.value
    if show and readable:
        found["contents"] = repr(contents)
    return found


def _read(
    interface: EncryptedSessionInterface, app: Flask, payload: bytes, issued_at: int
) -> tuple[bool, Any, int]:
    """Whether an authentic payload can be read, what is in it, and when it was created."""
    try:
        data = interface._load(app, payload)
    except Exception:  # noqa: BLE001 - a user's serializer, an authentic payload
        return False, None, issued_at
    return isinstance(data, Mapping), *take_creation(data, issued_at)


def has_made(keys: SessionKeys, cookie: str, token: str) -> bool:
    """Whether one of these keys made a token of the session cookie."""
    try:
        keys.open(token, _EVER, _EVER, cookie)
    except SessionRejected as error:
        return error.reason is Reason.UNDECODABLE
    return True


def _open(
    interface: EncryptedSessionInterface, app: Flask, token: str
) -> tuple[str, str, bytes, int]:
    if "." in token:
        signed = interface._signed(app)
        if signed is None:
            raise SessionRejected(Reason.MALFORMED)
        payload, issued_at = signed.open(token, _EVER, _EVER)
        return "flask-signed", "SECRET_KEY or a fallback", payload, issued_at
    reason = Reason.UNAUTHENTIC
    for name, keys in interface._sources.each(app, interface.salt):
        try:
            payload, issued_at, _, format_ = keys.open(
                token, _EVER, _EVER, interface.get_cookie_name(app)
            )
        except SessionRejected as error:
            reason = error.reason
            continue
        return format_, name, payload, issued_at
    raise SessionRejected(reason)
