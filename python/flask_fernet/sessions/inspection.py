"""The properties of a session cookie, for people who have the app's keys."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._core import MAX_CLOCK_SKEW, Policy, SessionKeys, is_reference, read_reference
from ..driver import drive
from ..errors import Reason, SessionRejected, UnreadablePayload
from ..settings import SIGNED_FORMAT
from ..stored import exchange
from ..stored.records import handle_of
from ..times import FOREVER, LATEST, to_text
from .key_sources import ring_key_id
from .lifetimes import take_creation

if TYPE_CHECKING:
    from flask import Flask

    from .interface import EncryptedSessionInterface


def inspect(
    interface: EncryptedSessionInterface, app: Flask, token: str, show: bool = False
) -> dict[str, Any]:
    """The format, key, issue time, age and end of a cookie, and its contents if ``show`` is true.

    For a cookie that no key opens the result holds only the reason, as ``refused``.
    """
    try:
        properties, payload = _open(interface, app, token)
    except SessionRejected as error:
        return {"refused": error.reason.value}
    policy = interface._policy(app)
    now, issued_at = time.time(), properties["issued_at"]
    lifetime = int(policy.lifetime.total_seconds())
    expires = issued_at + lifetime
    found: dict[str, Any] = {
        "format": properties["format"],
        "key": properties["key"],
        "key_id": properties["key_id"],
        "issued": to_text(issued_at),
        "age": int(now) - issued_at,
        "expires": to_text(min(expires, LATEST)),
        "size": properties["size"],
    }
    if is_reference(payload) and properties["format"] != SIGNED_FORMAT:
        return {**found, **_stored(interface, app, policy, payload, show)}
    readable, contents, created = _read(interface, app, payload, issued_at)
    absolute = policy.absolute_lifetime
    if absolute is not None:
        found["created"] = to_text(created)
        found["expires"] = to_text(int(min(expires, created + absolute, LATEST)))
    reason = _refusal(policy, properties["format"], found["age"], now - created, readable)
    if reason is not None:
        found["refused"] = reason
    if show and readable:
        found["contents"] = contents
    return found


def _stored(
    interface: EncryptedSessionInterface, app: Flask, policy: Policy, payload: bytes, show: bool
) -> dict[str, Any]:
    """What the store has of the session to which a cookie refers.

    :raises StoreUnavailable: if the store does not answer.
    """
    reference, storage = read_reference(payload), policy.storage
    if reference is None or storage is None:
        return {"refused": Reason.MALFORMED.value}
    id, generation = reference
    address = storage.records.address(id)
    found: dict[str, Any] = {"handle": handle_of(address)}
    terms = interface._terms(app, policy, storage)
    try:
        loaded = drive(exchange.load(terms, address, generation), storage.store)
    except SessionRejected as error:
        return {**found, "refused": error.reason.value}
    snapshot = loaded.snapshot
    names = interface._sources.used(app, interface.salt).names
    found["record key"] = " and ".join(names[snapshot.key])
    found["created"] = to_text(snapshot.created)
    ends = terms.expires(snapshot.renewed_at, snapshot.created)
    found["record expires"] = to_text(min(ends, LATEST))
    found["record size"] = len(snapshot.payload)
    if show:
        found["contents"] = loaded.data
    return found


def pasted(text: str, name: str) -> list[str]:
    """The values of the session cookie in what people copy: a ``Cookie`` or ``Set-Cookie`` line, a
    command of curl, a row of a browser's tools, JSON, or the value itself. Empty if there is none.
    """
    named = re.findall(rf"(?<![\w.-]){re.escape(name)}[\"']?\s*[=:\t]\s*[\"']?([\w.%=\\-]+)", text)
    if named:
        return named
    bare = text.strip().strip("'\"`").partition(";")[0].strip().strip("'\"")
    is_another = not bare or re.search(r"[\s:{]|^[^=]+=[^=]", bare) is not None
    return [] if is_another else [bare]


def tagged(interface: EncryptedSessionInterface, app: Flask, contents: Any) -> Any:
    """The contents as tagged JSON, or, if the serializer writes anything else, as text."""
    with app.app_context():
        payload = interface._dump(app, contents)
    try:
        return json.loads(payload)
    except ValueError:
        return repr(contents)


def _refusal(
    policy: Policy, token_format: str, age: int, since_creation: float, readable: bool
) -> str | None:
    """Why the app refuses an authentic cookie; ``None`` if it opens it."""
    absolute = policy.absolute_lifetime
    is_listed = token_format in (policy.format, *policy.accepted)
    if not is_listed or (token_format != SIGNED_FORMAT and not policy.opens_data):
        return "not accepted"
    if age > int(policy.lifetime.total_seconds()):
        return Reason.EXPIRED.value
    if absolute is not None and since_creation > absolute:
        return Reason.EXPIRED.value
    if age < -MAX_CLOCK_SKEW:
        return Reason.FROM_FUTURE.value
    return None if readable else Reason.UNDECODABLE.value


def _read(
    interface: EncryptedSessionInterface, app: Flask, payload: bytes, issued_at: int
) -> tuple[bool, Any, int]:
    """Whether an authentic payload can be read, its contents, and when the session was created."""
    try:
        data = interface._load(app, payload)
    except UnreadablePayload:
        return False, None, issued_at
    return isinstance(data, Mapping), *take_creation(data, issued_at)


def has_made(keys: SessionKeys, cookie: str, token: str) -> bool:
    """Whether one of these keys made a token of the session cookie."""
    try:
        keys.inspect(token, cookie)
    except SessionRejected as error:
        return error.reason is Reason.UNDECODABLE
    return True


def _open(
    interface: EncryptedSessionInterface, app: Flask, token: str
) -> tuple[dict[str, Any], bytes]:
    """The properties and the payload of a cookie of any age.

    :raises SessionRejected: if no key opens it.
    """
    if "." in token:
        payload, issued_at = interface._signed_cookies(app).open(token, FOREVER, FOREVER)
        properties = {
            "format": SIGNED_FORMAT,
            "key": "SECRET_KEY or a fallback",
            "key_id": None,
            "issued_at": issued_at,
            "size": len(payload),
        }
        return properties, payload
    reason = Reason.UNAUTHENTIC
    cookie = interface.get_cookie_name(app)
    for name, keys in interface._sources.each(app, interface.salt):
        try:
            inspected = keys.inspect(token, cookie)
            found: dict[str, Any] = {
                "format": inspected["format"],
                "key": name,
                "key_id": ring_key_id(name),
                "issued_at": inspected["issued_at"],
                "size": inspected["size"],
            }
            return found, keys.open(token, FOREVER, FOREVER, cookie)[0]
        except SessionRejected as error:
            reason = error.reason
    raise SessionRejected(reason)
