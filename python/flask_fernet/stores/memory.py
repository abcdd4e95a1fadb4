"""A store in the memory of one process, for tests and examples."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .protocol import Check, Ownership, Replaced, StoreStatistics, version_of


@dataclass
class _Entry:
    record: bytes
    expires: int
    owner: bytes | None


class MemoryStore:
    """Keeps records in this process. Every worker has its own, so use it with one process only, for
    tests and examples.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._revoked: dict[bytes, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""
        with self._lock:
            entry = self._live(address)
            return None if entry is None else entry.record

    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        """See :meth:`SessionStore.create`."""
        with self._lock:
            if self._live(address) is not None:
                return False
            self._entries[address] = _Entry(record, expires, owner)
            return True

    def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """See :meth:`SessionStore.replace`."""
        with self._lock:
            entry = self._live(address)
            if entry is None:
                return Replaced.GONE
            if version_of(entry.record) == version_of(record):
                return Replaced.DONE
            if version_of(entry.record) != version:
                return entry.record
            entry.record = record
            if expires is not None:
                entry.expires = expires
            if ownership is not None:
                entry.owner = ownership.tag
            return Replaced.DONE

    def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """See :meth:`SessionStore.delete`."""
        with self._lock:
            was_there = self._live(address) is not None
            self._entries.pop(address, None)
            return was_there

    def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """See :meth:`OwnedSessions.owned`."""
        with self._lock:
            found = [
                (entry.expires, address)
                for address, entry in self._entries.items()
                if entry.owner in owners and entry.expires > time.time()
            ]
        return [address for _, address in sorted(found)]

    def revoke(self, subject: bytes, moment: int, keep_for: int) -> int:
        """See :meth:`Revocations.revoke`."""
        now = int(time.time())
        with self._lock:
            self._revoked = {
                known: times for known, times in self._revoked.items() if times[1] > now
            }
            former = self._revoked.get(subject, (0, 0))[0]
            moment = max(moment, now, former + 1)
            self._revoked[subject] = (moment, moment + keep_for)
        return moment

    def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """See :meth:`Revocations.revoked_since`."""
        with self._lock:
            return [
                (subject, changed)
                for subject, (changed, _) in self._revoked.items()
                if changed >= moment
            ]

    def statistics(self) -> StoreStatistics:
        """See :meth:`Maintained.statistics`."""
        now = time.time()
        with self._lock:
            live = sum(entry.expires > now for entry in self._entries.values())
            size = sum(len(entry.record) for entry in self._entries.values())
            return StoreStatistics(live, len(self._entries) - live, size)

    def addresses(self) -> Iterator[bytes]:
        """See :meth:`Maintained.addresses`."""
        with self._lock:
            return iter(list(self._entries))

    def purge(self, limit: int) -> int:
        """See :meth:`Maintained.purge`."""
        now = time.time()
        with self._lock:
            expired = [a for a, entry in self._entries.items() if entry.expires <= now][:limit]
            for address in expired:
                del self._entries[address]
        return len(expired)

    def check(self) -> Iterator[Check]:
        """See :meth:`Maintained.check`."""
        yield Check(False, "keeps sessions in one process: use it for tests only")

    def _live(self, address: bytes) -> _Entry | None:
        entry = self._entries.get(address)
        return entry if entry is not None and entry.expires > time.time() else None


class AsyncMemoryStore:
    """The same for apps whose views are coroutines.

    :param store: where the records are.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store: MemoryStore = MemoryStore() if store is None else store

    async def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""
        return self.store.read(address)

    async def create(
        self, address: bytes, record: bytes, expires: int, owner: bytes | None
    ) -> bool:
        """See :meth:`SessionStore.create`."""
        return self.store.create(address, record, expires, owner)

    async def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """See :meth:`SessionStore.replace`."""
        return self.store.replace(address, version, record, expires, ownership)

    async def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """See :meth:`SessionStore.delete`."""
        return self.store.delete(address, owner)

    async def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """See :meth:`OwnedSessions.owned`."""
        return self.store.owned(owners)

    async def revoke(self, subject: bytes, moment: int, keep_for: int) -> int:
        """See :meth:`Revocations.revoke`."""
        return self.store.revoke(subject, moment, keep_for)

    async def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """See :meth:`Revocations.revoked_since`."""
        return self.store.revoked_since(moment)
