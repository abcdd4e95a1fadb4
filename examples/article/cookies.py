"""What the cookies of a session show to somebody who has no key."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone

from flask import Flask, Request, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous.encoding import base64_decode
from markupsafe import Markup, escape
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from flask_fernet import EncryptedSessionInterface, Reason, session_rejected

#: What a thief looks for first.
_PERSONAL = re.compile(r"^(\s*&#34;(?:email|role)&#34;: )(.*?)(,?)$", re.MULTILINE)


@dataclass(frozen=True)
class Cookie:
    """A session cookie as it looks to someone who has no key."""

    value: str
    #: What can be read in it, as HTML; ``None`` if nothing can be.
    contents: Markup | None
    #: The further facts that show.
    facts: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class Tampered:
    """A cookie of which one letter was changed, and what became of it."""

    before: str
    letter: str
    after: str
    #: Why it does not open.
    refused: str


def signed_cookie(default: Flask) -> Cookie:
    """The cookie that Flask's default would send for this session, decoded without a key."""
    serializer = SecureCookieSessionInterface().get_signing_serializer(default)
    assert serializer is not None  # noqa: S101 - the app has a secret key
    value = str(serializer.dumps(dict(session)))
    payload, made, _ = value.rsplit(".", 2)
    data = base64_decode(payload.lstrip("."))
    if payload.startswith("."):
        data = zlib.decompress(data)
    text = str(escape(json.dumps(json.loads(data), indent=1)))
    marked = _PERSONAL.sub(r"\1<mark>\2</mark>\3", text)
    made_at = when(int.from_bytes(base64_decode(made), "big"))
    return Cookie(value, Markup(marked), [("Issued", made_at)])  # noqa: S704 - escaped above


def encrypted_cookie(app: Flask, request: Request) -> Cookie | None:
    """The cookie that this app sent; ``None`` if there is none that opens."""
    value = request.cookies.get(app.config["SESSION_COOKIE_NAME"], "").replace("%3D", "=")
    if not value or not session:
        return None
    bare = value.rstrip("=")
    try:
        raw = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
        at = 1 if raw[0] == 0x80 else 5
        made_at = when(int.from_bytes(raw[at : at + 8], "big"))
    except (ValueError, IndexError, OverflowError, OSError):
        # Another cookie of this name came first, which is none of ours.
        return None
    return Cookie(value, None, [("Issued", made_at), ("Length", f"{len(raw)} bytes of data")])


def tampered_signed(default: Flask, cookie: Cookie, position: int) -> Tampered:
    """Flask's cookie with one letter changed, shown to Flask."""
    before, letter, after = _changed(cookie.value, position)
    serializer = SecureCookieSessionInterface().get_signing_serializer(default)
    assert serializer is not None  # noqa: S101 - the app has a secret key
    opened, _ = serializer.loads_unsafe(before + letter + after)
    return Tampered(before, letter, after, "It opens!" if opened else "the signature is wrong")


def tampered_encrypted(app: Flask, cookie: Cookie, position: int) -> Tampered:
    """Our cookie with one letter changed, shown to the app itself."""
    before, letter, after = _changed(cookie.value, position)
    reasons: list[Reason] = []

    def note(_: object, reason: Reason) -> None:
        reasons.append(reason)

    name = app.config["SESSION_COOKIE_NAME"]
    headers = Headers({"Cookie": f"{name}={before}{letter}{after}"})
    builder = EnvironBuilder(headers=headers)
    with session_rejected.connected_to(note, sender=app):
        request = app.request_class(builder.get_environ())
        EncryptedSessionInterface.of(app).open_session(app, request)
    return Tampered(before, letter, after, f"{reasons[0]}" if reasons else "It opens!")


def _changed(value: str, position: int) -> tuple[str, str, str]:
    """A cookie with another letter at a position, in three parts."""
    # The last letters may carry bits that mean nothing.
    position = max(0, min(position, len(value.rstrip("=")) - 3))
    letter = "A" if value[position] != "A" else "B"
    return value[:position], letter, value[position + 1 :]


def when(seconds: int) -> str:
    """A time as text."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%d %B %Y, %H:%M:%S UTC")
