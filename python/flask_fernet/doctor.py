"""Checks of an app's sessions before they go to production, for ``flask fernet doctor``."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from . import settings
from ._core import MAX_CLOCK_SKEW, Policy
from .errors import ConfigurationError, KeyRingError
from .keys.following import newest_serial, require_newest
from .keys.ring import State
from .keys.ring_file import RingFile
from .keys.wrapping import WrappedStore, wrapping_form
from .sessions.configuration import NO_KEY, cookie_attributes, misspelt, problems
from .sessions.interface import EncryptedSessionInterface
from .sessions.key_sources import app_secrets, configured_ring

if TYPE_CHECKING:
    from flask import Flask

    from .keys.ring import Ring

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
    #: The id of the key of a ring that the message is about.
    key_id: str | None = None


class Examination(NamedTuple):
    """What the doctor says of an app."""

    #: What is in force, by name. Never shows a key or a secret.
    in_force: dict[str, str]
    #: The results of all checks, the good ones included.
    checks: list[Check]


def examine(app: Flask) -> Examination:
    """Says what is in force in ``app``, and runs all checks on it."""
    interface = app.session_interface
    if not isinstance(interface, EncryptedSessionInterface):
        message = (
            f"must be an EncryptedSessionInterface, not {type(interface).__name__}: sessions are "
            "not encrypted"
        )
        return Examination({}, [Check("fail", "session_interface", message)])
    try:
        policy = interface._policy(app)
    except ConfigurationError as error:
        return Examination({}, [Check("fail", "configuration", str(error))])
    names = interface._sources.names(app, interface.salt) if policy.keys is not None else {}
    with app.app_context():
        in_force = dict(_in_force(interface, app, policy, names))
        checks = [*_checks(interface, app, policy, names)]
    return Examination(in_force, checks)


def _checks(
    interface: EncryptedSessionInterface, app: Flask, policy: Policy, names: dict[str, list[str]]
) -> Iterator[Check]:
    if policy.writes_signed:
        message = "sessions are signed, not encrypted: this is only for the first of two deploys"
        yield Check("warn", "SESSION_ENCRYPTION_FORMAT", message)
    else:
        yield Check("ok", "session_interface", "encrypts sessions")
    if policy.is_null:
        yield Check("fail", "keys", NO_KEY)
    yield from _key_checks(app, policy, names)
    yield from _accepted(policy)
    yield from _ring(app)
    for problem in (*problems(interface, app, policy), *misspelt(app)):
        yield Check("fail", problem.name, problem.message)
    yield from _cookie(cookie_attributes(interface, app))
    if time.time() < _EARLIEST:
        yield Check("fail", "clock", "is years behind: sessions will seem to be expired")
    else:
        yield Check("ok", "clock", "plausible")


def _key_checks(app: Flask, policy: Policy, names: dict[str, list[str]]) -> Iterator[Check]:
    weak = False
    for name in policy.short_secrets:
        message = f"must have at least {settings.SHORT_SECRET} bytes, or it can be guessed offline"
        yield Check("fail", name, message)
        weak = True
    for check in _secrets(app, policy.short_secrets):
        yield check
        weak = True
    for same in names.values():
        if len(same) > 1:
            yield Check("warn", "keys", f"{' and '.join(same)} are the same key: remove one")
    for source in policy.unused_sources:
        message = f"the source {source!r} is set but unused: it neither writes nor opens"
        yield Check("fail", "keys", message)
    if not weak and not policy.is_null:
        yield Check("ok", "keys", "strong")


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
    name = "SESSION_ENCRYPTION_ACCEPT"
    for accepted in policy.accepted:
        if policy.writes_signed and accepted in settings.ENCRYPTED_FORMATS:
            message = f"{accepted!r} opens everywhere: the next deploy may write it"
            yield Check("ok", name, message)
        elif accepted in settings.KEY_SOURCES:
            message = (
                f"{accepted!r} opens and does not write. In the first step of a move, let it write "
                "once every worker has this configuration; in the last step, remove it once no "
                "such session comes any more"
            )
            yield Check("warn", name, message)
        else:
            message = (
                f"{accepted!r} is still accepted: remove it once no such session comes any more"
            )
            yield Check("warn", name, message)


def _in_force(
    interface: EncryptedSessionInterface, app: Flask, policy: Policy, names: dict[str, list[str]]
) -> Iterator[tuple[str, str]]:
    """What is in force, by name."""
    keys = [" = ".join(same) for same in names.values()]
    signed = [] if policy.signed is None else list(app_secrets(app))
    written, *others = [*signed, *keys] if policy.writes_signed else [*keys, *signed] or ["no key"]
    yield "written under", written
    if others:
        yield "also opens", ", ".join(dict.fromkeys(others))
    yield "format", policy.format
    if policy.accepted:
        yield "accepted too", ", ".join(policy.accepted)
    attributes = cookie_attributes(interface, app)
    shown = [f"{name}={value}" for name, value in attributes.items() if name != "name"]
    yield "cookie", f"{attributes['name']}; {'; '.join(shown)}"
    limit = app.config["MAX_COOKIE_SIZE"]
    yield "cookie limit", f"{limit} bytes, then {policy.overflow}" if limit else "none"
    yield "idle lifetime", str(policy.lifetime)
    absolute = policy.absolute_lifetime
    yield "absolute lifetime", "none" if absolute is None else f"{timedelta(seconds=absolute)}"
    yield "refreshed", _refreshed(app, policy)
    yield "compression", policy.compression
    if policy.ring is not None:
        now, ring = time.time(), cast("Ring", policy.ring.poll_now())
        counts = Counter(ring.state(key, now).value for key in ring.keys)
        states = ", ".join(f"{count} {state}" for state, count in counts.items())
        yield "key ring", f"serial {ring.serial}; {states}"


def _refreshed(app: Flask, policy: Policy) -> str:
    if not app.config["SESSION_REFRESH_EACH_REQUEST"]:
        return "only when changed"
    if policy.refresh_from:
        return f"when changed, or permanent and {timedelta(seconds=policy.refresh_from)} old"
    return "when changed, or permanent"


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
    message = f"the oldest key that opens, {oldest.id}, is {days:.0f} days old"
    yield Check("ok", name, message, oldest.id)
    age = now - primary.activates
    verdict = "warn" if age > _OLD else "ok"
    message = f"the primary, {primary.id}, is {max(0, age) / _DAY:.0f} days old"
    yield Check(verdict, name, message, primary.id)
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


def _cookie(attributes: dict[str, Any]) -> Iterator[Check]:
    if not attributes["secure"]:
        message = "is off: browsers send the cookie over plain HTTP too"
        yield Check("warn", "SESSION_COOKIE_SECURE", message)
    if not attributes["httponly"]:
        yield Check(
            "warn", "SESSION_COOKIE_HTTPONLY", "is off: scripts in the page can read the cookie"
        )
    if attributes["samesite"] is None:
        message = "is not set: with 'Lax' forms on other sites do not send the cookie"
        yield Check("warn", "SESSION_COOKIE_SAMESITE", message)
