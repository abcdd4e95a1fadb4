"""Exchanges with a store in memory that keeps what it was asked."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from flask_fernet import Fernet, StoreUnavailable
from flask_fernet._core import RecordKeys, SessionKeys
from flask_fernet.driver import Methods, drive
from flask_fernet.stored import changes, exchange
from flask_fernet.stored.exchange import Terms
from flask_fernet.stored.feed import Feed
from flask_fernet.stored.merging import merge
from flask_fernet.stored.records import Loaded, Snapshot, opened, owner_tags
from flask_fernet.stores.memory import MemoryStore

ADDRESS = b"a" * 32
OTHERS = [bytes([letter]) * 32 for letter in b"bcd"]
KEYS = RecordKeys(SessionKeys([("key", Fernet.generate_key())], "salt"))
(TAG,) = owner_tags(KEYS, "1")


class PlainTerms(Terms):
    """What an app would say, with plain JSON for a serializer."""

    __slots__ = ()

    def __init__(self, *, with_feed: bool = False) -> None:
        self.keys = KEYS
        self.now = time.time()
        self.lifetime = 3600
        self.absolute_lifetime = None
        self.user_key = "user"
        self.user_limit = None
        self.feed = Feed() if with_feed else None

    def open(self, address: bytes, record: bytes) -> Snapshot:
        return opened(self.keys, address, record)

    def read(self, payload: bytes) -> tuple[bytes, dict[str, Any]]:
        return payload, json.loads(payload)

    def dump(self, data: Mapping[str, Any]) -> bytes:
        return json.dumps(data, sort_keys=True).encode()

    def pack(self, payload: bytes) -> bytes:
        return payload

    def merge(
        self, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[str]]:
        return merge(base, mine, theirs, lambda value: json.dumps(value).encode())


class Recorder:
    """A store in memory that keeps what it was asked, and fails when it is told to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.asked: list[tuple[Any, ...]] = []
        self.failing = ""

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            if name == self.failing:
                raise StoreUnavailable(name, "fails")
            return getattr(self.store, name)(*arguments)

        return call

    def carry_out(self, asked: Any) -> Any:
        """Carries an exchange out, and keeps only what this one has asked."""
        self.asked = []
        return drive(asked, Methods(self))

    def log_in(
        self, terms: Terms, address: bytes = ADDRESS, user: object = "1", ago: int = 0
    ) -> Loaded:
        """Stores a session that began some seconds ago, and reads it."""
        data, now = {"user": user}, terms.now
        terms.now -= ago
        saved = self.carry_out(changes.create(terms, address, data, terms.dump(data)))
        terms.now = now
        loaded: Loaded = self.carry_out(exchange.load(terms, address, saved.generation))
        return loaded

    def addresses(self) -> set[bytes]:
        return {address for address in (ADDRESS, *OTHERS) if self.store.read(address)}
