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
from .keys.following import require_newest
from .keys.ring import State
from .keys.ring_file import RingFile
from .keys.ring_store import newest_serial, where
from .keys.system_files import mode_of
from .keys.wrapping import WrappedStore, wrapping_form
from .sessions.configuration import (
    NO_KEY,
    cookie_attributes,
    missing_settings,
    misspelt,
    problems,
)
from .sessions.interface import EncryptedSessionInterface
from .sessions.key_sources import UsedKeys, app_secrets, configured_ring, ring_key_id
from .stores.protocol import Maintained, OwnedSessions

if TYPE_CHECKING:
    from flask import Flask

    from .keys.keyring import KeyRing
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
    """What the doctor says of an app. Nothing in it shows a key or a secret."""

    #: What is in force, for programs: times in seconds, sizes in bytes.
    in_force: dict[str, Any]
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
    sources = interface._sources
    try:
        keyring = configured_ring(app)
        sources.require_working_command(keyring)
        policy = interface._policy(app)
        keys = sources.used(app, interface.salt) if policy.keys is not None else UsedKeys()
    except ConfigurationError as error:
        return Examination({}, [Check("fail", "configuration", str(error))])
    with app.app_context():
        attributes = cookie_attributes(interface, app)
        in_force = _in_force(app, policy, keys, attributes)
        checks = [*_checks(app, policy, keys, attributes, keyring)]
    return Examination(in_force, checks)


def _checks(
    app: Flask,
    policy: Policy,
    keys: UsedKeys,
    attributes: dict[str, Any] | None,
    keyring: KeyRing | None,
) -> Iterator[Check]:
    if policy.writes_signed:
        message = "sessions are signed, not encrypted: this is only for the first of two deploys"
        yield Check("warn", "SESSION_ENCRYPTION_FORMAT", message)
    else:
        yield Check("ok", "session_interface", "encrypts sessions")
    if policy.is_null:
        yield Check("fail", "keys", NO_KEY)
    yield from _key_checks(app, policy, keys)
    yield from _accepted(policy, keys)
    if keyring is not None:
        yield from _ring(app, keyring)
    if policy.storage is not None:
        yield from _store(app, policy.storage.store.store)
    for name in missing_settings(app):
        yield Check("fail", name, "was removed from the configuration, and Flask reads it")
    for problem in (*problems(app, policy, attributes), *misspelt(app)):
        yield Check("fail", problem.name, problem.message)
    if attributes is not None:
        yield from _cookie(attributes)
    elif not missing_settings(app):
        message = "a hook of the cookie needs a request: the cookie was not checked"
        yield Check("warn", "session_interface", message)
    if time.time() < _EARLIEST:
        yield Check("fail", "clock", "is years behind: sessions will seem to be expired")
    else:
        yield Check("ok", "clock", "plausible")


def _key_checks(app: Flask, policy: Policy, keys: UsedKeys) -> Iterator[Check]:
    weak = False
    for name in policy.short_secrets:
        message = f"must have at least {settings.SHORT_SECRET} bytes, or it can be guessed offline"
        yield Check("fail", name, message)
        weak = True
    for check in _secrets(app, policy.short_secrets):
        yield check
        weak = True
    for same in keys.names:
        if len(same) > 1:
            yield Check("warn", "keys", f"{' and '.join(same)} are the same key: remove one")
    for source in policy.unused_sources:
        message = f"the source {source!r} is set but unused: it neither writes nor opens"
        yield Check("fail", "keys", message)
    if not weak and not policy.is_null:
        yield Check("ok", "keys", "long enough, and not obviously made up")


def _secrets(app: Flask, short: list[str]) -> Iterator[Check]:
    try:
        secrets = app_secrets(app)
    except ConfigurationError as error:
        # No key uses them, or resolving the policy would have raised.
        yield Check("warn", "SECRET_KEY", str(error))
        return
    for name, secret in secrets.items():
        if name != "SECRET_KEY" and secret == secrets["SECRET_KEY"]:
            yield Check("warn", name, "is SECRET_KEY itself: remove it")
        if name not in short and _guessable(secret):
            yield Check(
                "warn", name, "looks like a text that a person chose: use secrets.token_urlsafe(32)"
            )


def _accepted(policy: Policy, keys: UsedKeys) -> Iterator[Check]:
    name = "SESSION_ENCRYPTION_ACCEPT"
    for accepted in dict.fromkeys(policy.accepted):
        if accepted in (policy.format, keys.writer):
            message = f"{accepted!r} is what is written, which also opens: remove it here"
        elif policy.writes_signed and accepted in settings.ENCRYPTED_FORMATS:
            message = f"{accepted!r} opens everywhere: the next deploy may write it"
            yield Check("ok", name, message)
            continue
        else:
            message = (
                f"{accepted!r} opens and is not written. In the first step of a move, let it be "
                "written once every worker has this configuration; in the last step, remove it "
                "once no such session comes any more"
            )
        yield Check("warn", name, message)


def _in_force(
    app: Flask, policy: Policy, keys: UsedKeys, attributes: dict[str, Any] | None
) -> dict[str, Any]:
    """What is in force, for programs."""
    encrypted = [{"name": " = ".join(same), "key_id": ring_key_id(same[0])} for same in keys.names]
    signed = []
    if policy.signed is not None:
        signed = [{"name": name, "key_id": None} for name in app_secrets(app)]
    used = [*signed, *encrypted] if policy.writes_signed else [*encrypted, *signed]
    found: dict[str, Any] = {
        "written_under": used[0] if used else None,
        "also_opens": [one for one in used[1:] if one != used[0]],
        "format": policy.format,
        "accepted": list(dict.fromkeys(policy.accepted)),
        "cookie": attributes,
        "cookie_limit": app.config.get("MAX_COOKIE_SIZE") or None,
        "overflow": policy.overflow,
        "idle_lifetime": policy.lifetime.total_seconds(),
        "absolute_lifetime": policy.absolute_lifetime,
        "refreshes": bool(app.config.get("SESSION_REFRESH_EACH_REQUEST")),
        "refreshed_from": policy.stored_refresh_from if policy.stores else policy.refresh_from,
        "compression": policy.compression,
        "ring": None,
        "store": None,
    }
    if policy.storage is not None:
        storage = policy.storage
        found["store"] = {
            "kind": _kind(storage.store.store),
            "holds_new_sessions": policy.stores,
            "user_key": storage.user_key,
            "user_limit": storage.user_limit,
            "when_away": "readonly" if storage.is_readonly else "raise",
        }
    if policy.ring is not None:
        now, ring = time.time(), cast("Ring", policy.ring.poll_now())
        states = Counter(ring.state(key, now).value for key in ring.keys)
        found["ring"] = {"serial": ring.serial, "states": dict(states)}
    return found


def shown_in_force(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is in force, for people: names and values."""
    written, cookie, limit = found["written_under"], found["cookie"], found["cookie_limit"]
    yield "written under", "no key" if written is None else written["name"]
    if found["also_opens"]:
        yield "also opens", ", ".join(dict.fromkeys(one["name"] for one in found["also_opens"]))
    yield "format", found["format"]
    if found["accepted"]:
        yield "accepted too", ", ".join(found["accepted"])
    if cookie is None:
        yield "cookie", "decided at each request"
    else:
        shown = [f"{name}={value}" for name, value in cookie.items() if name != "name"]
        yield "cookie", f"{cookie['name']}; {'; '.join(shown)}"
    yield "cookie limit", "none" if limit is None else f"{limit} bytes, then {found['overflow']}"
    yield "idle lifetime", _duration(found["idle_lifetime"])
    yield "absolute lifetime", _duration(found["absolute_lifetime"])
    refreshed = "when changed"
    if found["refreshes"]:
        refreshed += ", or permanent"
        if found["refreshed_from"]:
            refreshed += f" and {_duration(found['refreshed_from'])} old"
    yield "refreshed", refreshed
    yield "compression", found["compression"]
    if found["store"] is not None:
        place = "" if found["store"]["holds_new_sessions"] else "; new sessions are in cookies"
        yield "store", found["store"]["kind"] + place
    if found["ring"] is not None:
        states = ", ".join(f"{count} {state}" for state, count in found["ring"]["states"].items())
        yield "key ring", f"serial {found['ring']['serial']}; {states}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "none"
    try:
        return str(timedelta(seconds=seconds))
    except OverflowError:
        return f"{seconds:g} seconds"


def _ring(app: Flask, keyring: KeyRing) -> Iterator[Check]:
    name = "SESSION_ENCRYPTION_KEYRING"
    try:
        newest, ring, now = newest_serial(keyring.store), keyring.load(), time.time()
    except ConfigurationError as error:
        yield Check("fail", name, str(error))
        return
    yield from _wrapping(keyring.store)
    try:
        require_newest(ring, newest, where(keyring.store))
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


def _kind(store: object) -> str:
    """The kind of a store, for people."""
    database = getattr(store, "database", None)
    return f"{type(store).__name__} ({database})" if database else type(store).__name__


def _store(app: Flask, store: object) -> Iterator[Check]:
    name = "SESSION_STORE"
    if isinstance(store, Maintained):
        for check in store.check():
            yield Check("ok" if check.ok else "fail", name, check.message)
    else:
        yield Check("ok", name, f"a {type(store).__name__}, which has no checks of its own")
    if not isinstance(store, OwnedSessions):
        message = "does not find the sessions of a user: nobody can be logged out everywhere"
        yield Check("warn", name, message)
    shared = app.config.get("SQLALCHEMY_DATABASE_URI")
    own = getattr(getattr(store, "url", None), "database", None)
    if getattr(store, "database", None) == "sqlite" and own and shared:
        scheme, _, path = str(shared).partition(":///")
        same = Path(app.instance_path, path.partition("?")[0]).resolve() == Path(own).resolve()
        if scheme.startswith("sqlite") and same:
            message = (
                "is the SQLite file of SQLALCHEMY_DATABASE_URI: a view whose own transaction is "
                "open makes saving its session wait for itself. Give sessions a file of their own"
            )
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
    mode = mode_of(os.stat(path))
    if mode is None:
        yield Check("ok", name, f"{path.name}: who may read it is not looked at on this system")
        return
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
        message = "is not set: with 'Lax', forms on other sites do not send the cookie"
        yield Check("warn", "SESSION_COOKIE_SAMESITE", message)
