"""Checks of an app's sessions before they go to production, for ``flask fernet doctor``."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import settings
from ._core import MAX_CLOCK_SKEW, Policy
from .errors import ConfigurationError, KeyRingError
from .keys.following import newest_serial, require_newest
from .keys.ring import State
from .keys.ring_file import RingFile
from .keys.wrapping import WrappedStore, wrapping_form
from .sessions.interface import EncryptedSessionInterface
from .sessions.key_sources import app_secrets, configured_ring

if TYPE_CHECKING:
    from flask import Flask

#: Age in seconds from which the primary key should be replaced.
_OLD = 365 * 24 * 3600
_DAY = 24 * 3600
#: A secret with fewer different bytes was probably made up by a person.
_FEW_LETTERS = 10
#: Start of 2026, in seconds since the epoch. A clock that shows less is wrong.
_EARLIEST = 1_767_225_600


class Check(NamedTuple):
    """The result of one check."""

    #: ``ok``, ``warn`` or ``fail``.
    verdict: str
    #: The setting or the part that was checked.
    name: str
    #: Never shows a key or a secret.
    message: str


def examine(app: Flask) -> list[Check]:
    """Runs all checks on ``app``.

    :returns: the results, the good ones included. None of them shows a key or a secret.
    """
    interface = app.session_interface
    if not isinstance(interface, EncryptedSessionInterface):
        message = (
            f"must be an EncryptedSessionInterface, not {type(interface).__name__}: sessions are "
            "not encrypted"
        )
        return [Check("fail", "session_interface", message)]
    try:
        policy = interface._policy(app)
    except ConfigurationError as error:
        return [Check("fail", "configuration", str(error))]
    checks = [Check("ok", "session_interface", "encrypts sessions")]
    if policy.is_null:
        checks.append(Check("fail", "keys", "there is no key: sessions cannot be used"))
    for name in policy.short_secrets:
        message = f"must have at least {settings.SHORT_SECRET} bytes, or it can be guessed offline"
        checks.append(Check("fail", name, message))
    checks += _secrets(app, policy.short_secrets)
    if not policy.short_secrets and not policy.is_null:
        checks.append(Check("ok", "keys", "strong"))
    if policy.writes_signed:
        message = "sessions are signed, not encrypted: this is only for the first of two deploys"
        checks.append(Check("warn", "SESSION_ENCRYPTION_FORMAT", message))
    for source in policy.unused_sources:
        message = f"the source {source!r} is set but unused: it neither writes nor opens"
        checks.append(Check("fail", "keys", message))
    checks += _accepted(policy)
    checks += _ring(app)
    checks += _cookie(app)
    if time.time() < _EARLIEST:
        checks.append(Check("fail", "clock", "is years behind: sessions will seem to be expired"))
    else:
        checks.append(Check("ok", "clock", "plausible"))
    return checks


def _secrets(app: Flask, short: list[str]) -> Iterator[Check]:
    try:
        secrets = app_secrets(app)
    except ConfigurationError as error:
        # No key uses them, or resolving the policy would have raised.
        yield Check("warn", "SECRET_KEY", str(error))
        return
    for name, secret in secrets.items():
        if name not in short and _guessable(secret):
            yield Check(
                "warn", name, "looks like a text that a person chose: use secrets.token_urlsafe(32)"
            )


def _accepted(policy: Policy) -> Iterator[Check]:
    for name in policy.accepted:
        message = f"{name!r} is still accepted: remove it once no such session comes any more"
        yield Check("warn", "SESSION_ENCRYPTION_ACCEPT", message)


def _ring(app: Flask) -> Iterator[Check]:
    name = "SESSION_ENCRYPTION_KEYRING"
    try:
        keyring = configured_ring(app)
        if keyring is None:
            return
        newest, ring, now = newest_serial(keyring.store), keyring.load(), time.time()
    except ConfigurationError as error:
        yield Check("fail", name, str(error))
        return
    yield from _wrapping(keyring.store)
    try:
        require_newest(ring, newest)
    except KeyRingError as error:
        yield Check("fail", name, str(error))
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
        yield Check("fail", "clock", "is behind the clock that made the newest key of the ring")
    gone = [key.id for key in ring.keys if ring.state(key, now) is State.EXPIRED]
    if gone:
        message = f"expired keys: {len(gone)}; 'flask fernet ring prune' removes them"
        yield Check("warn", name, message)
    if ring.retention < app.permanent_session_lifetime.total_seconds():
        message = "keeps replaced keys for less than PERMANENT_SESSION_LIFETIME"
        yield Check("fail", name, message)


def _wrapping(store: WrappedStore) -> Iterator[Check]:
    name = "SESSION_ENCRYPTION_KEYRING_WRAPPING"
    form, forms = wrapping_form(store.inner.load()), store.wrapping.forms
    rewrap = "'flask fernet ring rewrap' changes that"
    if form != forms[0]:
        yield Check("warn", name, f"the ring is still stored as {form!r}: {rewrap}")
    elif form != "plain" and store.opened_by > 0:
        yield Check("warn", name, f"the ring is still under an older secret: {rewrap}")
    for other in forms[1:]:
        if other != form:
            message = f"{other!r} is still accepted, but the ring is stored as {form!r}: remove it"
            yield Check("warn", name, message)


def _file(path: Path) -> Iterator[Check]:
    name = "SESSION_ENCRYPTION_KEYRING"
    mode = stat.S_IMODE(os.stat(path).st_mode)
    yield Check("ok", name, f"{path.name} has mode {mode:04o}")
    folder = os.stat(os.path.realpath(path.parent)).st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        message = "everybody may replace the file: its folder is writable for all"
        yield Check("fail", name, message)


def _guessable(secret: bytes) -> bool:
    """Whether a secret looks like one that a person chose, or copied from an example."""
    text = secret.lower()
    words = (b"secret", b"password", b"change", b"default", b"example", b"dev", b"test")
    repeats = text in (text + text)[1:-1]
    return repeats or len(set(text)) < _FEW_LETTERS or any(word in text for word in words)


def _cookie(app: Flask) -> Iterator[Check]:
    config = app.config
    if not config["SESSION_COOKIE_SECURE"]:
        message = "is off: browsers send the cookie over plain HTTP too"
        yield Check("warn", "SESSION_COOKIE_SECURE", message)
    if not config["SESSION_COOKIE_HTTPONLY"]:
        yield Check(
            "warn", "SESSION_COOKIE_HTTPONLY", "is off: scripts in the page can read the cookie"
        )
    if config["SESSION_COOKIE_SAMESITE"] is None:
        message = "is not set: with 'Lax' forms on other sites do not send the cookie"
        yield Check("warn", "SESSION_COOKIE_SAMESITE", message)
