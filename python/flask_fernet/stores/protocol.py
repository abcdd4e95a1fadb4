"""What a store of sessions must do."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

#: Where the version lies in a record: its nonce, which each write draws anew.
VERSION = slice(13, 37)


def version_of(record: bytes) -> bytes:
    """The version of a record, 24 bytes."""
    return record[VERSION]


class Replaced(enum.Enum):
    """What became of a record that was to be replaced."""

    #: It was replaced; or it had been already, by the first of two attempts.
    DONE = enum.auto()
    #: There is no record at this address. Nothing was written.
    GONE = enum.auto()


@dataclass(frozen=True)
class Ownership:
    """Whose a record is from now on."""

    #: The tag under which the record is found; ``None`` if it belongs to nobody.
    tag: bytes | None
    #: The tag under which it was found until now.
    former: bytes | None = None


@runtime_checkable
class SessionStore(Protocol):
    """A place for records, which are bytes that the store does not look into.

    The address of a record has 32 bytes, an owner tag has 16, and ``expires`` is in whole seconds
    since the epoch. A record that has expired is not found by any method.

    Every operation is atomic, and one that is made twice is the same as one that is made once. A
    store that cannot answer in time raises :class:`~flask_fernet.StoreUnavailable`, and nothing
    else that is not a bug.
    """

    def read(self, address: bytes) -> bytes | None:
        """The record at this address; ``None`` if there is none."""

    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        """Puts a record where none is. Returns whether it did: a record is never overwritten."""

    def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """Replaces the record at this address, if it still has this version. A record is never
        created.

        :param expires: when the record expires; ``None`` leaves that as it is.
        :param ownership: whose it is from now on; ``None`` leaves that as it is.
        :returns: the newest record, if it has another version.
        """

    def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """Removes a record. Returns whether there was one.

        :param owner: the tag under which it is found, if the caller knows it.
        """


class AsyncSessionStore(Protocol):
    """The same for apps whose views are coroutines: a store of Quart's sessions. It may also have
    the methods of :class:`OwnedSessions` and :class:`Revocations`, as coroutines too.
    """

    async def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""

    async def create(
        self, address: bytes, record: bytes, expires: int, owner: bytes | None
    ) -> bool:
        """See :meth:`SessionStore.create`."""

    async def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """See :meth:`SessionStore.replace`."""

    async def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """See :meth:`SessionStore.delete`."""


@runtime_checkable
class OwnedSessions(Protocol):
    """A store that finds the sessions of a user. ``SESSION_USER_LIMIT``, ``list`` and
    ``revoke_user`` need it.
    """

    def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """The addresses of the records with one of these tags, the first to expire first. Some may
        have gone meanwhile.
        """


@runtime_checkable
class Revocations(Protocol):
    """A store that passes revocations on to all workers."""

    def revoke(self, subject: bytes, moment: int, keep_for: int) -> int:
        """Notes that the sessions of a subject are revoked.

        :param moment: now by the caller's clock, in seconds since the epoch.
        :param keep_for: seconds for which the note is kept at least.
        :returns: the time of the revocation, in seconds since the epoch: ``moment``, or later if
            the store's clock is ahead; and later than any former revocation of the subject.
        """

    def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """The subjects that were revoked at or after a moment, each with the time of its last
        revocation, in seconds since the epoch.
        """


@dataclass(frozen=True)
class StoreStatistics:
    """How much a store holds."""

    #: Records that have not expired.
    live: int
    #: Records that have expired and have not been removed yet.
    expired: int
    #: Bytes of all records, or of the store as a whole; ``None`` if the store does not know.
    size: int | None


@dataclass(frozen=True)
class Check:
    """One finding about a store, for ``flask fernet doctor``."""

    #: Whether it is as it should be.
    ok: bool
    message: str


@runtime_checkable
class Maintained(Protocol):
    """A store that the command line looks after."""

    def statistics(self) -> StoreStatistics:
        """How much the store holds."""

    def addresses(self) -> Iterator[bytes]:
        """The addresses of all records, in no particular order. Records that come or go meanwhile
        may be missed.
        """

    def purge(self, limit: int) -> int:
        """Removes at most so many expired records. Returns how many it removed."""

    def check(self) -> Iterator[Check]:
        """What is wrong with the store, and what is not."""
