"""Sessions put into a store and changed there, together with what other requests have written."""

from __future__ import annotations

import enum
import itertools
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..driver import Exchange, Operation, Wait
from ..errors import SessionConflict
from ..stores.protocol import Ownership, Replaced, version_of
from .exchange import (
    Terms,
    follow_revocations,
    is_revoked,
    keep_to_limit,
    read_record,
)
from .records import GENERATION_BYTES, Loaded, Snapshot, tag_at

#: Seconds for which the changes of two requests are merged again and again.
MERGE_FOR = 3.0
#: Longest pause between two attempts, in seconds.
MAX_PAUSE = 0.05
#: Seconds for which the record of a session that became empty stays, for others that write to it.
EMPTY_FOR = 60


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
    #: The earliest time of a new beginning, in seconds since the epoch.
    begins: int = 0


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
    terms: Terms,
    address: bytes,
    data: Mapping[str, Any],
    payload: bytes,
    began: int | None = None,
) -> Exchange[Saved]:
    """Puts a new session into the store.

    :param began: when the session began, in seconds since the epoch, if it did so elsewhere.
    """
    user = data.get(terms.user_key)
    tags = terms.tags(user)
    generation = secrets.token_bytes(GENERATION_BYTES)
    created = yield from _beginning(terms, tags)
    if began is not None:
        created = min(began, created)
    renewed_at = int(terms.now)
    record = terms.keys.seal(address, generation, created, renewed_at, terms.pack(payload))
    expires = terms.expires(renewed_at, created)
    was_created = yield Operation("create", (address, record, expires, tag_at(tags, 0)))
    if not was_created:
        there = yield Operation("read", (address,))
        if there is None or version_of(there) != version_of(record):
            # An id is never drawn twice.
            raise SessionConflict("A new session could not be stored: its address is in use.")
    yield from keep_to_limit(terms, user, address)
    snapshot = Snapshot(generation, created, renewed_at, payload, 0, version_of(record))
    loaded = Loaded(snapshot, payload, dict(data), user)
    return Saved(Outcome.WRITTEN, generation, loaded)


def _beginning(terms: Terms, tags: Sequence[bytes]) -> Exchange[int]:
    """The creation time of a session that begins now: after every revocation so far, or it would be
    refused because of one that this worker does not know of yet.
    """
    if terms.feed is None:
        return int(terms.now)
    yield from follow_revocations(terms, now=True)
    return max(int(terms.now), terms.feed.not_before(tags))


def save(terms: Terms, change: Change) -> Exchange[Saved]:
    """Writes a changed session, together with what other requests have written meanwhile.

    :raises SessionConflict: if that cannot be done in three seconds.
    :raises SessionRejected: if the newest record does not open.
    """
    first = yield from _first_attempt(terms, change)
    if first is None:
        return Saved(Outcome.GONE)
    attempt = first
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
        theirs = read_record(terms, change.address, answer)
        merged = _next_attempt(terms, change, attempt, theirs)
        if merged is None:
            return Saved(Outcome.SUPERSEDED)
        attempt = merged
    if attempt.user is not None and attempt.user != change.before.user:
        yield from keep_to_limit(terms, attempt.user, change.address)
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

    @property
    def is_renewed(self) -> bool:
        """Whether the record's expiry begins again. That of an empty one is near."""
        return self.renew or not self.over.data

    def renewed_at(self, terms: Terms) -> int:
        """When the record's expiry was last set, in seconds since the epoch."""
        return int(terms.now) if self.is_renewed else self.over.snapshot.renewed_at

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
        if self.user is self.over.user and not self.is_renewed and over.key == 0 and self.data:
            # As most writes are.
            return address, over.version, record, None, None
        tag = tag_at(terms.tags(self.user), 0)
        former = tag_at(terms.tags_of_read(self.over.user), over.key)
        ownership, expires = None, None
        if self.is_renewed or tag != former:
            ownership = Ownership(tag, former)
            expires = terms.expires(renewed_at, self.created)
        if self.is_empty:
            # It is not deleted: another request may have read it, and put something in.
            ownership, expires = Ownership(None, former), int(terms.now) + EMPTY_FOR
        return address, over.version, record, expires, ownership


def _first_attempt(terms: Terms, change: Change) -> Exchange[_Attempt | None]:
    """The attempt to replace the record that was read; ``None`` if the session has been revoked
    meanwhile, which only a log-in outlives.
    """
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
    if change.identity is not Identity.LOGGED_IN and is_revoked(terms, change.before):
        return None
    generation = secrets.token_bytes(GENERATION_BYTES)
    created = max(created, change.begins)
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
    if not same_generation and change.identity is not Identity.LOGGED_IN:
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
