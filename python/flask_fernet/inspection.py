"""What a session cookie is, for people who have the app's keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from . import settings
from .errors import Reason, SessionRejected
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
    age = int(time.time()) - issued_at
    lifetime = int(app.permanent_session_lifetime.total_seconds())
    found: dict[str, Any] = {
        "format": format_,
        "key": key,
        "issued": to_text(issued_at),
        "age": f"{age} seconds",
        "expires": to_text(issued_at + lifetime),
        "size": f"{len(payload)} bytes",
    }
    if format_ not in (
        app.config.get("SESSION_ENCRYPTION_FORMAT") or settings.FORMATS[0],
        *settings.accepted(app.config),
    ):
        found["refused"] = "not accepted"
    elif age > lifetime:
        found["refused"] = Reason.EXPIRED.value
    elif age < -MAX_CLOCK_SKEW:
        found["refused"] = Reason.FROM_FUTURE.value
    if show:
        try:
            found["contents"] = repr(interface._load(app, payload))
        except Exception:  # noqa: BLE001 - a user's serializer, an authentic payload
            found["refused"] = Reason.UNDECODABLE.value
    return found


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
