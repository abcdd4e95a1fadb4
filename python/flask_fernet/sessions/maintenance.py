"""What the command line does with a store as a whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ..driver import Exchange, Operation, drive
from ..errors import ConfigurationError, SessionRejected
from ..stored import exchange, owners
from ..stores.protocol import Maintained, StoreStatistics
from .interface import EncryptedSessionInterface
from .readiness import HasTables

if TYPE_CHECKING:
    from flask import Flask

T = TypeVar("T")

#: Shows how many of some addresses have been dealt with.
Progress = Callable[[Iterable[bytes]], Iterator[bytes]]

#: Seconds between two batches of a purge, for the requests that use the same table.
PAUSE = 0.05

#: The name under which records are counted that no key of the app opens.
UNREADABLE = "no key of the app"


class Maintenance:
    """The store of an app.

    :raises ConfigurationError: if the app's sessions are in cookies.
    """

    def __init__(self, interface: EncryptedSessionInterface, app: Flask) -> None:
        app, storage = interface._storage(app)
        self._interface = interface
        self._app = app
        self._storage = storage
        self._store: Any = storage.store.store

    def create_tables(self) -> list[str]:
        """Creates the tables that are missing. Returns their names."""
        if not isinstance(self._store, HasTables):
            raise ConfigurationError("SESSION_STORE is a store without tables.")
        return self._store.create_tables()

    def statistics(self) -> StoreStatistics:
        """How much the store holds."""
        return self._maintained().statistics()

    def purge(self, batch: int) -> Iterator[int]:
        """Removes expired records. Yields how many each batch has removed."""
        store = self._maintained()
        while removed := store.purge(batch):
            yield removed
            time.sleep(PAUSE)

    def by_key(self, progress: Progress) -> dict[str, int]:
        """The number of records under each key."""
        counts: Counter[str] = Counter()
        names = self._key_names()
        for address in progress(self._maintained().addresses()):
            key = self._drive(self._key_of(address))
            if key is not None:
                counts[names[key] if key >= 0 else UNREADABLE] += 1
        return dict(counts)

    def _key_of(self, address: bytes) -> Exchange[int | None]:
        record = yield Operation("read", (address,))
        if record is None:
            return None
        terms = self._terms()
        try:
            return terms.open(address, record).key
        except SessionRejected:
            return -1

    def delete_all(self, progress: Progress) -> int:
        """Removes every record. Returns how many there were."""
        addresses = self._maintained().addresses()
        return sum(self._drive(owners.ended(self._terms(), one)) for one in progress(addresses))

    def reencrypt(self, progress: Progress) -> dict[str, Any]:
        """Seals every record under the newest key. Returns how many were ``moved`` from each other
        key, were under the ``newest`` already, and are ``unreadable``.
        """
        moved: Counter[str] = Counter()
        newest = unreadable = 0
        names = self._key_names()
        for address in progress(self._maintained().addresses()):
            key = self._drive(self._resealed(address))
            if key == 0:
                newest += 1
            elif key is None:
                unreadable += 1
            elif key > 0:
                moved[names[key]] += 1
        return {"moved": dict(moved), "newest": newest, "unreadable": unreadable}

    def _resealed(self, address: bytes) -> Exchange[int | None]:
        """See :func:`owners.resealed`; a negative number for a record that has ended."""
        record = yield Operation("read", (address,))
        if record is None:
            return -1
        return (yield from owners.resealed(self._terms(), address))

    def _key_names(self) -> list[str]:
        used = self._interface._sources.used(self._app, self._interface.salt)
        return [" and ".join(names) for names in used.names]

    def _terms(self) -> exchange.Terms:
        policy = self._interface._policy(self._app)
        return self._interface._terms(self._app, policy, self._storage)

    def _drive(self, asked: Exchange[T]) -> T:
        return drive(asked, self._storage.store)

    def _maintained(self) -> Maintained:
        store = self._store
        if not isinstance(store, Maintained):
            raise ConfigurationError(
                "SESSION_STORE must be a store with the methods of Maintained, see docs/stores.md."
            )
        return store
