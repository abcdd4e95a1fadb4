"""What is asked of the store, in which order, and what follows from the answers.

Loading, saving and ending a session are generators, which ``driver.py`` carries out: they do no
input or output themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._core import RecordKeys
from ..driver import Exchange, Operation, Wait
from ..errors import ConfigurationError, Reason, SessionRejected, StoreUnavailable
from .feed import KEPT_FOR, Feed
from .records import Loaded, Snapshot, owner_tags, tag_at, tags_to_find

#: Seconds for which a log-in waits before it ends another one of the same second. Two log-ins at
#: once must not end each other.
TIE_WAIT = 0.05


class Terms:
    """What the configuration says about stored sessions, for one exchange."""

    __slots__ = (
        "absolute_lifetime",
        "feed",
        "keys",
        "lifetime",
        "now",
        "user_key",
        "user_limit",
    )

    #: Replaced by newer ones if a record is under a key that the ring has received since.
    keys: RecordKeys
    #: Seconds since the epoch.
    now: float
    #: Seconds for which a record stays after it was renewed.
    lifetime: int
    #: Seconds for which a session stays after it began; ``None`` if there is no limit.
    absolute_lifetime: float | None
    user_key: str
    user_limit: int | None
    #: The revocations; ``None`` if the store passes none on.
    feed: Feed | None

    def open(self, address: bytes, record: bytes) -> Snapshot:
        """Opens a record, also under a key that the ring has received since.

        :raises SessionRejected: if it does not open.
        """
        raise NotImplementedError

    def read(self, payload: bytes) -> tuple[bytes, dict[str, Any]]:
        """A payload, not compressed, and the session in it.

        :raises SessionRejected: if the serializer does not read it.
        """
        raise NotImplementedError

    def dump(self, data: Mapping[str, Any]) -> bytes:
        """A session as bytes."""
        raise NotImplementedError

    def pack(self, payload: bytes) -> bytes:
        """A payload, compressed if the configuration says so."""
        raise NotImplementedError

    def merge(
        self, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[str]]:
        """The session with the changes of both, and the keys of which mine was kept."""
        raise NotImplementedError

    def expires(self, renewed_at: int, created: int) -> int:
        """When a record expires, in seconds since the epoch."""
        expires = renewed_at + self.lifetime
        if self.absolute_lifetime is not None:
            expires = min(expires, created + int(self.absolute_lifetime) + 1)
        return expires

    def tags(self, user: object) -> list[bytes]:
        """The tags of a user under each key; none for nobody.

        :raises ConfigurationError: if the user cannot be indexed.
        """
        return [] if user is None else owner_tags(self.keys, user)

    def tags_of_read(self, user: object) -> list[bytes]:
        """The same for a user that was read; none for one that cannot be indexed, because
        ``SESSION_USER_KEY`` was another one then.
        """
        try:
            return self.tags(user)
        except ConfigurationError:
            return []


class Superseded(SessionRejected):
    """The cookie refers to the session as it was before a log-in or a log-out.

    :param since: when that was, in seconds since the epoch.
    """

    def __init__(self, since: int) -> None:
        super().__init__(Reason.SUPERSEDED)
        self.since = since


def load(terms: Terms, address: bytes, generation: bytes) -> Exchange[Loaded]:
    """Reads a session.

    :raises SessionRejected: if it has gone, was superseded, expired or revoked, or does not open.
    """
    if terms.feed is not None and terms.feed.is_due():
        yield from follow_revocations(terms, now=True)
    record = yield Operation("read", (address,))
    if record is None:
        raise SessionRejected(Reason.GONE)
    loaded = read_record(terms, address, record)
    snapshot = loaded.snapshot
    if snapshot.generation != generation:
        raise Superseded(snapshot.created)
    if terms.now > terms.expires(snapshot.renewed_at, snapshot.created):
        raise SessionRejected(Reason.EXPIRED)
    if is_revoked(terms, loaded):
        raise SessionRejected(Reason.REVOKED)
    return loaded


def read_record(terms: Terms, address: bytes, record: bytes) -> Loaded:
    """The session in a record.

    :raises SessionRejected: if it does not open.
    """
    snapshot = terms.open(address, record)
    base, data = terms.read(snapshot.payload)
    return Loaded(snapshot, base, data, data.get(terms.user_key))


def is_revoked(terms: Terms, loaded: Loaded) -> bool:
    """Whether a session began before a revocation that is known and concerns it."""
    if terms.feed is None or terms.feed.is_empty:
        return False
    return loaded.snapshot.created < terms.feed.not_before(terms.tags_of_read(loaded.user))


def follow_revocations(terms: Terms, *, now: bool = False) -> Exchange[None]:
    """Asks the feed, if that is due or has to be done now."""
    feed = terms.feed
    if feed is None or not (feed.is_due() or now):
        return
    try:
        feed.learn((yield Operation("revoked_since", (feed.since,))))
        feed.forget(int(terms.now) - max(terms.lifetime, KEPT_FOR))
    except BaseException:
        # Also when a request is cancelled: nobody else would ask for a second.
        feed.ask_again()
        raise


def end(terms: Terms, address: bytes, before: Loaded | None) -> Exchange[bool]:
    """Ends a session. Returns whether it was there."""
    tag = None
    if before is not None:
        tag = tag_at(terms.tags_of_read(before.user), before.snapshot.key)
    return (yield Operation("delete", (address, tag)))  # type: ignore[no-any-return]


def sessions_of(terms: Terms, user: object) -> Exchange[list[tuple[bytes, bytes, Loaded]]]:
    """The sessions of a user: the tag under which each is found, its address, and its contents,
    those that were not renewed longest first. Entries of the index that lead nowhere are removed.
    """
    found: list[tuple[bytes, bytes, Loaded]] = []
    for tag in tags_to_find(terms.keys, user):
        for address in (yield Operation("owned", ([tag],))):
            record = yield Operation("read", (address,))
            if record is None:
                yield Operation("delete", (address, tag))
                continue
            try:
                loaded = read_record(terms, address, record)
            except SessionRejected:
                continue
            if tag in terms.tags_of_read(loaded.user) and not is_revoked(terms, loaded):
                found.append((tag, address, loaded))
    found.sort(key=_rank)
    return found


def keep_to_limit(terms: Terms, user: object, current: bytes) -> Exchange[None]:
    """Ends the sessions of a user that are too many, but not the current one. That one is stored by
    now: nothing that fails here is an error.
    """
    if terms.user_limit is None or user is None:
        return
    try:
        addresses = yield Operation("owned", (tags_to_find(terms.keys, user),))
        if len(addresses) <= terms.user_limit:
            return
        sessions = yield from sessions_of(terms, user)
        others = [one for one in sessions if one[1] != current]
        mine = next((one for one in sessions if one[1] == current), None)
        for other in others[: max(0, len(sessions) - terms.user_limit)]:
            if mine is not None and _rank(other) > _rank(mine):
                # It has begun in the same second, and may be about to end this one.
                yield Wait(TIE_WAIT)
                if (yield Operation("read", (current,))) is None:
                    return
                mine = None
            yield Operation("delete", (other[1], other[0]))
    except StoreUnavailable:
        return


def _rank(session: tuple[bytes, bytes, Loaded]) -> tuple[int, bytes]:
    """The place of a session in the order in which those of a user end, the same for everybody."""
    return session[2].snapshot.renewed_at, session[1]
