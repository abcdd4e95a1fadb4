"""The sessions of a user: listed and ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..driver import Exchange, Operation
from ..errors import ConfigurationError, SessionRejected
from ..stores.protocol import OwnedSessions, Ownership, Revocations, SessionStore, version_of
from .exchange import Terms, follow_revocations, sessions_of
from .feed import EVERYBODY, KEPT_FOR, user_subject
from .records import Loaded, handle_of, tag_at, tags_to_find


@dataclass(frozen=True)
class SessionInfo:
    """A stored session, as a page of a user's sessions shows it. Times are in UTC."""

    #: Names the session, for :meth:`EncryptedSessionInterface.revoke`. It may be shown and sent in
    #: a form: it opens nothing.
    handle: str
    #: When the session began, or its user logged in.
    created: datetime
    #: When it was last refreshed: ``SESSION_REFRESH_AFTER`` is the grain.
    last_used: datetime
    #: When it ends, unless it is used before.
    expires: datetime
    #: Whether it is the session of the present request.
    is_current: bool
    #: What is in the session.
    data: dict[str, Any]


def require(store: SessionStore, kind: type, what: str) -> None:
    """Checks that a store can do something that not every store can.

    :raises ConfigurationError: if it cannot.
    """
    if not isinstance(store, kind):
        raise ConfigurationError(f"SESSION_STORE must be a store that {what}.")


def listed(terms: Terms, user: object, current: bytes | None) -> Exchange[list[SessionInfo]]:
    """The sessions of a user, the one used last first.

    :param current: the address of the present request's session.
    """
    yield from follow_revocations(terms, now=True)
    found = yield from sessions_of(terms, user)
    return [_info(terms, address, loaded, current) for _, address, loaded in reversed(found)]


def _info(terms: Terms, address: bytes, loaded: Loaded, current: bytes | None) -> SessionInfo:
    snapshot = loaded.snapshot
    return SessionInfo(
        handle_of(address),
        _utc(snapshot.created),
        _utc(snapshot.renewed_at),
        _utc(terms.expires(snapshot.renewed_at, snapshot.created)),
        address == current,
        loaded.data,
    )


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def ended(terms: Terms, address: bytes) -> Exchange[bool]:
    """Ends one session. Returns whether it was there."""
    record = yield Operation("read", (address,))
    if record is None:
        return False
    tag = None
    try:
        snapshot = terms.open(address, record)
        _, data = terms.read(snapshot.payload)
        tag = tag_at(terms.tags_of_read(data.get(terms.user_key)), snapshot.key)
    except SessionRejected:
        # It is of no use, and ends all the same.
        pass
    return (yield Operation("delete", (address, tag)))  # type: ignore[no-any-return]


def ended_of(
    terms: Terms, store: SessionStore, user: object, current: bytes | None
) -> Exchange[int]:
    """Ends the sessions of a user, but not the current one. Returns how many there were."""
    if isinstance(store, Revocations):
        # First: a session that begins meanwhile may not be in the index yet.
        for tag in tags_to_find(terms.keys, user):
            yield from _revoked(terms, user_subject(tag))
    if not isinstance(store, OwnedSessions):
        return 0
    count = 0
    for tag in tags_to_find(terms.keys, user):
        for address in (yield Operation("owned", ([tag],))):
            if address != current and (yield from _is_owned(terms, address, tag)):
                count += yield Operation("delete", (address, tag))
    return count


def _is_owned(terms: Terms, address: bytes, tag: bytes) -> Exchange[bool]:
    """Whether a record belongs to the owner of a tag, in whose index it is. One that does not open
    does.
    """
    record = yield Operation("read", (address,))
    if record is None:
        # It ended without leaving the index.
        yield Operation("delete", (address, tag))
        return False
    try:
        snapshot = terms.open(address, record)
        _, data = terms.read(snapshot.payload)
    except SessionRejected:
        return True
    return tag in terms.tags_of_read(data.get(terms.user_key))


def ended_for_all(terms: Terms) -> Exchange[None]:
    """Ends every session."""
    yield from _revoked(terms, EVERYBODY)


def _revoked(terms: Terms, subject: bytes) -> Exchange[None]:
    keep_for = max(terms.lifetime, KEPT_FOR)
    moment = yield Operation("revoke", (subject, int(terms.now), keep_for))
    if terms.feed is not None:
        terms.feed.learn([(subject, moment)])


def resealed(terms: Terms, address: bytes) -> Exchange[int | None]:
    """Seals a record under the newest key, unless it is.

    :returns: the position of the key under which it was; ``None`` if it has ended, or does not
        open.
    """
    position: int | None = None
    record = yield Operation("read", (address,))
    while isinstance(record, bytes):
        try:
            snapshot = terms.open(address, record)
            _, data = terms.read(snapshot.payload)
        except SessionRejected:
            return None
        position = snapshot.key if position is None else position
        if snapshot.key == 0:
            return position
        tags: Sequence[bytes] = terms.tags_of_read(data.get(terms.user_key))
        sealed = terms.keys.seal(
            address,
            snapshot.generation,
            snapshot.created,
            snapshot.renewed_at,
            snapshot.payload,
        )
        expires = terms.expires(snapshot.renewed_at, snapshot.created)
        ownership = Ownership(tag_at(tags, 0), tag_at(tags, snapshot.key))
        # Another request may write meanwhile: what it wrote is sealed then, if need be.
        record = yield Operation(
            "replace", (address, version_of(record), sealed, expires, ownership)
        )
    return position
