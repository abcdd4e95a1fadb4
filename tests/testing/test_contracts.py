"""The contract accepts a plain store of one's own, and refuses one that is wrong."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from flask_fernet.stores.protocol import Ownership, Replaced, version_of
from flask_fernet.testing import StoreContract


class DictStore:
    """A store as a user would write it."""

    def __init__(self) -> None:
        self.records: dict[bytes, tuple[bytes, int]] = {}
        self.lock = threading.Lock()

    def read(self, address: bytes) -> bytes | None:
        record, expires = self.records.get(address, (None, 0))
        return record if expires > time.time() else None

    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        with self.lock:
            if self.read(address) is not None:
                return False
            self.records[address] = (record, expires)
            return True

    def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        with self.lock:
            known = self.read(address)
            if known is None:
                return Replaced.GONE
            if version_of(known) not in (version, version_of(record)):
                return known
            self.records[address] = (record, expires or self.records[address][1])
            return Replaced.DONE

    def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        with self.lock:
            was_there = self.read(address) is not None
            self.records.pop(address, None)
            return was_there


class TestDictStore(StoreContract):
    @pytest.fixture
    def store(self) -> DictStore:
        return DictStore()


class Overwriting(DictStore):
    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        self.records[address] = (record, expires)
        return True


class Resurrecting(DictStore):
    def replace(self, *arguments: Any) -> Replaced | bytes:
        answer = super().replace(*arguments)
        if answer is Replaced.GONE:
            self.records[arguments[0]] = (arguments[2], int(time.time()) + 60)
        return answer


class Careless(DictStore):
    def replace(self, address: bytes, version: bytes, record: bytes, *_: Any) -> Replaced | bytes:
        self.records[address] = (record, int(time.time()) + 60)
        return Replaced.DONE


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Overwriting, "test_create_overwrites_nothing"),
        (Resurrecting, "test_replace_creates_nothing"),
        (Resurrecting, "test_a_deleted_record_stays_deleted"),
        (Careless, "test_replace_gives_the_newest_record_instead"),
        (Careless, "test_of_many_writers_each_is_either_first_or_told"),
    ],
)
def test_the_contract_refuses_a_store_that_is_wrong(
    wrong: type[DictStore], test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = wrong()
    if wrong is Careless:
        # Gives threads the time to get in between.
        read = store.read

        def slow(address: bytes) -> bytes | None:
            record = read(address)
            time.sleep(0.001)
            return record

        monkeypatch.setattr(store, "read", slow)
    with pytest.raises(AssertionError):
        getattr(StoreContract(), test)(store)
