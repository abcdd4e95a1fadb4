"""Checks of an app's sessions before they go to production."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import settings
from .errors import ConfigurationError
from .interface import EncryptedSessionInterface
from .keys.ring import State
from .keys.ring_file import RingFile
from .keys.wrapping import WrappedStore, wrapping_form
from .sources import configured_ring
from .times import MAX_CLOCK_SKEW

if TYPE_CHECKING:
    from flask import Flask

#: Seconds after which the key that encrypts should be replaced.
_OLD = 365 * 24 * 3600
_DAY = 24 * 3600
#: Different letters that a secret has at least, if nobody made it up.
_FEW_LETTERS = 10
#: A clock before this is wrong: 1 January 2026.
_EARLIEST = 1_767_225_600


class Check(NamedTuple):
    """One finding."""

    #: ``ok``, ``warn`` or ``fail``.
    verdict: str
    name: str
    message: str


def examine(app: Flask) -> list[Check]:
    """Everything that is worth a look, the good included. Shows no key."""
    interface = app.session_interface
    if not isinstance(interface, EncryptedSessionInterface):
        message = f"is a {type(interface).__name__}: sessions are not encrypted"
        return [Check("fail", "session_interface", message)]
    try:
        sealing = interface._sealing(app)
    except ConfigurationError as error:
        return [Check("fail", "configuration", str(error))]
    checks = [Check("ok", "session_interface", "encrypts sessions")]
    if sealing.is_null:
        checks.append(Check("fail", "keys", "there is no key: sessions cannot be used"))
    for name in sealing.weak:
        message = f"has fewer than {settings.SHORT_SECRET} bytes: it can be guessed offline"
        checks.append(Check("fail", name, message))
    checks += _secrets(app, sealing.weak)
    if not sealing.weak and not sealing.is_null:
        checks.append(Check("ok", "keys", "strong"))
    if sealing.format == "flask-signed":
        message = "sessions are written signed, not encrypted: only for the first of two deploys"
        checks.append(Check("warn", "SESSION_ENCRYPTION_FORMAT", message))
    for source in sealing.keys.unused:
        message = f"the source {source!r} is set, and neither writes nor opens"
        checks.append(Check("fail", "keys", message))
    checks += _accepted(app)
    checks += _ring(app)
    checks += _cookie(app)
    if time.time() < _EARLIEST:
        checks.append(Check("fail", "clock", "is years behind: sessions will seem to be expired"))
    else:
        checks.append(Check("ok", "clock", "plausible"))
    return checks


def _secrets(app: Flask, weak: list[str]) -> Iterator[Check]:
    try:
        secrets = settings.secrets(app)
    except ConfigurationError as error:
        # Nothing depends on them, or it would have been said.
        yield Check("warn", "SECRET_KEY", str(error))
        return
    for name, secret in secrets.items():
        if name not in weak and _guessable(secret):
            yield Check("warn", name, "looks made up: use secrets.token_urlsafe(32)")


def _accepted(app: Flask) -> Iterator[Check]:
    for name in settings.accepted(app.config):
        message = f"{name} is still accepted: remove it once no such session is seen any more"
        yield Check("warn", "SESSION_ENCRYPTION_ACCEPT", message)


def _ring(app: Flask) -> Iterator[Check]:
    name = "SESSION_ENCRYPTION_KEYRING"
    try:
        keyring = configured_ring(app)
        if keyring is None:
            return
        ring, now = keyring.load(), time.time()
    except ConfigurationError as error:
        yield Check("fail", name, str(error))
        return
    yield from _wrapping(keyring.store)
    if isinstance(keyring.store.inner, RingFile):
        yield from _file(keyring.store.inner.path)
    primary = ring.primary(now)
    oldest = min(ring.opening(now), key=lambda key: key.created)
    days = max(0, now - oldest.created) / _DAY
    yield Check("ok", name, f"the oldest key that opens, {oldest.id}, is {days:.0f} days old")
    age = now - primary.activates
    verdict = "warn" if age > _OLD else "ok"
    yield Check(verdict, name, f"the primary, {primary.id}, is {max(0, age) / _DAY:.0f} days old")
    if now < max(key.created for key in ring.keys) - MAX_CLOCK_SKEW:
        yield Check("fail", "clock", "is behind the one that made the newest key of the ring")
    gone = [key.id for key in ring.keys if ring.state(key, now) is State.EXPIRED]
    if gone:
        message = f"{len(gone)} expired: 'flask fernet ring prune' removes them"
        yield Check("warn", name, message)
    if ring.retention < app.permanent_session_lifetime.total_seconds():
        message = "keeps replaced keys for less than PERMANENT_SESSION_LIFETIME"
        yield Check("fail", name, message)


def _wrapping(store: WrappedStore) -> Iterator[Check]:
    name = "SESSION_ENCRYPTION_KEYRING_WRAPPING"
    form, forms = wrapping_form(store.inner.load()), store.wrapping.forms
    rewrap = "'flask fernet ring rewrap' makes it what it should be"
    if form != forms[0]:
        yield Check("warn", name, f"the ring is still kept as {form!r}: {rewrap}")
    elif form != "plain" and store.opened_by > 0:
        yield Check("warn", name, f"the ring is still under an older secret: {rewrap}")
    for other in forms[1:]:
        if other != form:
            yield Check("warn", name, f"{other!r} is still accepted: remove it")


def _file(path: Path) -> Iterator[Check]:
    name = "SESSION_ENCRYPTION_KEYRING"
    mode = stat.S_IMODE(os.stat(path).st_mode)
    yield Check("ok", name, f"{path.name} has mode {mode:04o}")
    folder = os.stat(os.path.realpath(path.parent)).st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        message = "everybody may replace it: its folder is writable for all"
        yield Check("fail", name, message)


def _guessable(secret: bytes) -> bool:
    """Whether a secret looks like one that a person made up, or left as it was."""
    text = secret.lower()
    words = (b"secret", b"password", b"change", b"default", b"example", b"dev", b"test")
    repeats = text in (text + text)[1:-1]
    return repeats or len(set(text)) < _FEW_LETTERS or any(word in text for word in words)


def _cookie(app: Flask) -> Iterator[Check]:
    config = app.config
    if not config["SESSION_COOKIE_SECURE"]:
        message = "is off: the cookie travels over plain HTTP too"
        yield Check("warn", "SESSION_COOKIE_SECURE", message)
    if not config["SESSION_COOKIE_HTTPONLY"]:
        yield Check("warn", "SESSION_COOKIE_HTTPONLY", "is off: scripts in the page get the cookie")
    if config["SESSION_COOKIE_SAMESITE"] is None:
        message = "is not set: 'Lax' keeps the cookie out of other sites' forms"
        yield Check("warn", "SESSION_COOKIE_SAMESITE", message)
