"""What is asked of the store, in which order, and what follows from the answers.

Loading, saving and ending a session are generators. They yield operations and are sent what came
back, so that they do no input or output themselves: :func:`drive` carries the operations out on a
store, and an asynchronous driver can do the same with ``await``.
"""

from __future__ import annotations

import enum
import itertools
import random
import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from .._core import RecordKeys
from ..errors import Reason, SessionConflict, SessionRejected, StoreUnavailable
from ..stores.protocol import Ownership, Replaced, version_of
from .feed import Feed
from .outage import GuardedStore
from .records import GENERATION_BYTES, Loaded, Snapshot, owner_tags, tag_at, tags_to_find

T = TypeVar("T")

#: Seconds for which the changes of two requests are merged again and again.
MERGE_FOR = 3.0
#: Longest pause between two attempts, in seconds.
MAX_PAUSE = 0.05
#: Seconds for which the record of a session that became empty stays, for others that write to it.
EMPTY_FOR = 60


class Operation(NamedTuple):
    """One call of a store's method."""

    name: str
    arguments: tuple[Any, ...]


class Wait(NamedTuple):
    """A pause, in seconds."""

    seconds: float


#: Yields operations, is sent their results, and returns a ``T``.
Exchange = Generator[Operation | Wait, Any, T]


def drive(exchange: Exchange[T], store: GuardedStore) -> T:
    """Carries an exchange out.

    :raises StoreUnavailable: if the store does not answer.
    """
    try:
        asked = next(exchange)
        while True:
            if isinstance(asked, Wait):
                time.sleep(asked.seconds)
                asked = exchange.send(None)
                continue
            try:
                answer = store.call(*asked)
            except StoreUnavailable as error:
                asked = exchange.throw(error)
            else:
                asked = exchange.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


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
        """The tags of a user under each key; none for nobody."""
        return [] if user is None else owner_tags(self.keys, user)


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
    yield from _follow_revocations(terms)
    record = yield Operation("read", (address,))
    if record is None:
        raise SessionRejected(Reason.GONE)
    loaded = _loaded(terms, address, record)
    snapshot = loaded.snapshot
    if snapshot.generation != generation:
        raise Superseded(snapshot.created)
    if terms.now > terms.expires(snapshot.renewed_at, snapshot.created):
        raise SessionRejected(Reason.EXPIRED)
    if _is_revoked(terms, loaded):
        raise SessionRejected(Reason.REVOKED)
    return loaded


def _loaded(terms: Terms, address: bytes, record: bytes) -> Loaded:
    snapshot = terms.open(address, record)
    base, data = terms.read(snapshot.payload)
    return Loaded(snapshot, base, data, data.get(terms.user_key))


def _is_revoked(terms: Terms, loaded: Loaded) -> bool:
    if terms.feed is None or terms.feed.is_empty:
        return False
    return loaded.snapshot.created < terms.feed.not_before(terms.tags(loaded.user))


def _follow_revocations(terms: Terms, *, now: bool = False) -> Exchange[None]:
    """Asks the feed, if that is due or has to be done now."""
    feed = terms.feed
    if feed is None or not (feed.is_due() or now):
        return
    try:
        feed.learn((yield Operation("revoked_since", (feed.since,))))
    except StoreUnavailable:
        feed.ask_again()
        raise


class Identity(enum.Enum):
    """What a request did to whose session it is."""

    SAME = enum.auto()
    #: The user is another one than the session had: a log-in.
    LOGGED_IN = enum.auto()
    #: The session has no user any more.
    LOGGED_OUT = enum.auto()
    #: ``regenerate()`` was called.
    REGENERATED = enum.auto()
    #: ``clear()`` was called.
    CLEARED = enum.auto()


class Change(NamedTuple):
    """A session as a request wants it to be."""

    address: bytes
    #: The session as this request has read it.
    before: Loaded
    data: dict[str, Any]
    #: The data, serialised and not compressed.
    payload: bytes
    identity: Identity
    #: Whether the record's expiry begins again.
    renew: bool


class Outcome(enum.Enum):
    """What became of a change."""

    WRITTEN = "written"
    #: Another request had written too, and both changes are in the record.
    MERGED = "merged"
    #: Another request has logged in or out meanwhile. Nothing was written.
    SUPERSEDED = "superseded"
    #: The session was ended meanwhile. Nothing was written.
    GONE = "gone"


class Saved(NamedTuple):
    """What became of a change, and of the session."""

    outcome: Outcome
    generation: bytes = b""
    #: The session as it is in the store; ``None`` if nothing was written, or nothing is left.
    loaded: Loaded | None = None
    #: Keys that both requests had changed.
    conflicts: Sequence[str] = ()


def create(
    terms: Terms, address: bytes, data: Mapping[str, Any], payload: bytes
) -> Exchange[Saved]:
    """Puts a new session into the store."""
    user = data.get(terms.user_key)
    tags = terms.tags(user)
    generation = secrets.token_bytes(GENERATION_BYTES)
    created = yield from _beginning(terms, tags)
    renewed_at = int(terms.now)
    record = terms.keys.seal(address, generation, created, renewed_at, terms.pack(payload))
    expires = terms.expires(renewed_at, created)
    was_created = yield Operation("create", (address, record, expires, tag_at(tags, 0)))
    if not was_created:
        there = yield Operation("read", (address,))
        if there is None or version_of(there) != version_of(record):
            # An id is never drawn twice.
            raise SessionConflict("A new session could not be stored: its address is in use.")
    yield from _keep_to_limit(terms, user, address)
    snapshot = Snapshot(generation, created, renewed_at, payload, 0, version_of(record))
    loaded = Loaded(snapshot, payload, dict(data), user)
    return Saved(Outcome.WRITTEN, generation, loaded)


def _beginning(terms: Terms, tags: Sequence[bytes]) -> Exchange[int]:
    """The creation time of a session that begins now: after every revocation so far."""
    if terms.feed is None:
        return int(terms.now)
    # A log-in must not be refused because of a revocation that this worker does not know of yet.
    yield from _follow_revocations(terms, now=bool(tags))
    return max(int(terms.now), terms.feed.not_before(tags))


def save(terms: Terms, change: Change) -> Exchange[Saved]:
    """Writes a changed session, together with what other requests have written meanwhile.

    :raises SessionConflict: if that cannot be done in three seconds.
    :raises SessionRejected: if the newest record does not open.
    """
    attempt = yield from _first_attempt(terms, change)
    deadline: float | None = None
    for number in itertools.count():
        arguments = attempt.arguments(terms, change.address)
        answer = yield Operation("replace", arguments)
        if answer is Replaced.DONE:
            break
        if answer is Replaced.GONE:
            return Saved(Outcome.GONE)
        if deadline is None:
            deadline = time.monotonic() + MERGE_FOR
        elif time.monotonic() > deadline:
            raise SessionConflict("The session is written to faster than changes can be merged.")
        if number:
            yield Wait(random.uniform(0, min(MAX_PAUSE, 0.001 * 2**number)))  # noqa: S311
        theirs = _loaded(terms, change.address, answer)
        merged = _next_attempt(terms, change, attempt, theirs)
        if merged is None:
            return Saved(Outcome.SUPERSEDED)
        attempt = merged
    if attempt.is_empty:
        # Only now: another request may have put something in.
        yield Operation("delete", (change.address, None))
    elif attempt.user is not None and attempt.user != change.before.user:
        yield from _keep_to_limit(terms, attempt.user, change.address)
    outcome = Outcome.MERGED if attempt.is_merged else Outcome.WRITTEN
    loaded = None if attempt.is_empty else attempt.written(terms, version_of(arguments[2]))
    return Saved(outcome, attempt.generation, loaded, attempt.conflicts)


class _Attempt(NamedTuple):
    """One attempt to write a session over a record."""

    #: The record that is replaced.
    over: Loaded
    data: dict[str, Any]
    payload: bytes
    generation: bytes
    created: int
    renew: bool
    user: object
    is_merged: bool = False
    conflicts: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        return not self.data

    def renewed_at(self, terms: Terms) -> int:
        """When the record's expiry was last set, in seconds since the epoch."""
        return int(terms.now) if self.renew else self.over.snapshot.renewed_at

    def written(self, terms: Terms, version: bytes) -> Loaded:
        """The session as this attempt has written it."""
        renewed_at = self.renewed_at(terms)
        snapshot = Snapshot(self.generation, self.created, renewed_at, self.payload, 0, version)
        return Loaded(snapshot, self.payload, self.data, self.user)

    def arguments(self, terms: Terms, address: bytes) -> tuple[Any, ...]:
        """The arguments of ``replace``."""
        over = self.over.snapshot
        renewed_at = self.renewed_at(terms)
        payload = terms.pack(self.payload)
        record = terms.keys.seal(address, self.generation, self.created, renewed_at, payload)
        if self.user is self.over.user and not self.renew and over.key == 0 and self.data:
            # As most writes are.
            return address, over.version, record, None, None
        tag = tag_at(terms.tags(self.user), 0)
        former = tag_at(terms.tags(self.over.user), over.key)
        ownership, expires = None, None
        if self.renew or tag != former:
            ownership = Ownership(tag, former)
            expires = terms.expires(renewed_at, self.created)
        if self.is_empty:
            ownership, expires = Ownership(None, former), int(terms.now) + EMPTY_FOR
        return address, over.version, record, expires, ownership


def _first_attempt(terms: Terms, change: Change) -> Exchange[_Attempt]:
    before = change.before.snapshot
    user = change.data.get(terms.user_key)
    attempt = _Attempt(
        change.before,
        change.data,
        change.payload,
        before.generation,
        before.created,
        change.renew,
        user,
    )
    if change.identity is Identity.SAME:
        return attempt
    created = yield from _beginning(terms, terms.tags(user))
    generation = secrets.token_bytes(GENERATION_BYTES)
    return attempt._replace(generation=generation, created=created, renew=True)


def _next_attempt(
    terms: Terms, change: Change, attempt: _Attempt, theirs: Loaded
) -> _Attempt | None:
    """An attempt that replaces the newest record; ``None`` if this request's changes are dropped.

    See section "Two requests at once" of ``docs/stores.md``.
    """
    before, newest = change.before.snapshot, theirs.snapshot
    mine_wholly = attempt._replace(over=theirs, is_merged=True)
    if change.identity in (Identity.LOGGED_OUT, Identity.CLEARED):
        # Nothing of the former session survives.
        return mine_wholly
    user = change.data.get(terms.user_key)
    same_generation = newest.generation == before.generation
    if change.identity is Identity.LOGGED_IN and theirs.user not in (None, user):
        return mine_wholly
    if change.identity is Identity.LOGGED_IN and not same_generation and theirs.user is None:
        # They logged out, or cleared the session.
        return mine_wholly
    if not same_generation and (change.identity is Identity.SAME or theirs.user != user):
        return None
    # Read once more: nested data of the first reading may have been changed in place.
    _, base = terms.read(change.before.base)
    data, conflicts = terms.merge(base, dict(change.data), dict(theirs.data))
    generation, created = attempt.generation, attempt.created
    if not same_generation or change.identity is Identity.SAME:
        # The second click on "log in" adopts what the first has done.
        generation, created = newest.generation, newest.created
    return attempt._replace(
        over=theirs,
        data=data,
        payload=terms.dump(data),
        generation=generation,
        created=created,
        user=data.get(terms.user_key),
        is_merged=True,
        conflicts=conflicts,
    )


def end(terms: Terms, address: bytes, before: Loaded | None) -> Exchange[bool]:
    """Ends a session. Returns whether it was there."""
    tag = None
    if before is not None:
        tag = tag_at(terms.tags(before.user), before.snapshot.key)
    return (yield Operation("delete", (address, tag)))  # type: ignore[no-any-return]


def sessions_of(terms: Terms, user: object) -> Exchange[list[tuple[bytes, bytes, Loaded]]]:
    """The sessions of a user: the tag under which each is found, its address, and its contents,
    those that were not renewed longest first. Entries of the index that lead nowhere are removed.
    """
    found: list[tuple[bytes, bytes, Loaded]] = []
    for tag in tags_to_find(terms.keys, user):
        for address in (yield Operation("owned", ([tag],))):
            record = yield Operation("read", (address,))
            try:
                loaded = None if record is None else _loaded(terms, address, record)
            except SessionRejected:
                loaded = None
            if loaded is None:
                continue
            if tag in terms.tags(loaded.user) and not _is_revoked(terms, loaded):
                found.append((tag, address, loaded))
    found.sort(key=lambda one: one[2].snapshot.renewed_at)
    return found


def _keep_to_limit(terms: Terms, user: object, current: bytes) -> Exchange[None]:
    """Ends the sessions of a user that are too many, but not the current one."""
    if terms.user_limit is None or user is None:
        return
    addresses = yield Operation("owned", (tags_to_find(terms.keys, user),))
    if len(addresses) <= terms.user_limit:
        return
    sessions = yield from sessions_of(terms, user)
    others = [one for one in sessions if one[1] != current]
    for tag, address, _ in others[: max(0, len(others) + 1 - terms.user_limit)]:
        yield Operation("delete", (address, tag))
