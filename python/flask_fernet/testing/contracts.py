"""The tests that a store of sessions must pass.

A store that implements :class:`~flask_fernet.SessionStore` passes :class:`StoreContract`::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self):
            return MyStore()

One that also finds the sessions of a user, passes revocations on, or is looked after by the command
line passes :class:`OwnedSessionsContract`, :class:`RevocationsContract` or
:class:`MaintainedContract` in the same way.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from ..stores.protocol import (
    Maintained,
    OwnedSessions,
    Ownership,
    Replaced,
    Revocations,
    SessionStore,
    version_of,
)

_OWNER = b"o" * 16


def new_record(length: int = 100) -> bytes:
    """A record of random bytes, with a version of its own."""
    return b"\xa3" + os.urandom(length - 1)


def _address() -> bytes:
    return os.urandom(32)


def _soon() -> int:
    """A time at least a second ahead, in seconds since the epoch."""
    return int(time.time() + 1) + 1


def _wait_until(moment: int) -> None:
    time.sleep(max(0, moment - time.time()) + 0.1)


def _later(seconds: int = 3600) -> int:
    return int(time.time()) + seconds


class BlockingStore:
    """A store whose methods are coroutines, with ordinary methods: the contracts test both kinds::

        class TestMyStore(StoreContract):
            @pytest.fixture
            def store(self):
                with BlockingStore(MyAsyncStore()) as store:
                    yield store

    The coroutines run in an event loop of a thread of its own, in which the store is closed at the
    end, if it has the method ``close``.

    :param store: a store with the methods of :class:`~flask_fernet.AsyncSessionStore`.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> BlockingStore:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self._store, "close"):
            self._wait(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return lambda *arguments: self._wait(method(*arguments))


class StoreContract:
    """What every store must do. Give it a fixture ``store``."""

    def test_a_store_has_the_methods(self, store: SessionStore) -> None:
        assert isinstance(store, SessionStore)

    def test_reads_what_was_created(self, store: SessionStore) -> None:
        address, record = _address(), new_record()
        assert store.read(address) is None
        assert store.create(address, record, _later(), None) is True
        assert store.read(address) == record
        assert store.read(_address()) is None

    def test_keeps_any_bytes_of_any_length(self, store: SessionStore) -> None:
        all_bytes = bytes(range(256))
        for length in (69, 2000, 2048, 2049, 70_000, 1_048_645):
            address = _address()
            record = (new_record(69) + all_bytes * (length // 256 + 1))[:length]
            assert store.create(address, record, _later(), None)
            assert store.read(address) == record
            changed = (new_record(69) + all_bytes * (length // 256 + 1))[:length]
            assert store.replace(address, version_of(record), changed, None) is Replaced.DONE
            assert store.read(address) == changed

    def test_tells_similar_addresses_apart(self, store: SessionStore) -> None:
        # A store that compared them as text would not.
        addresses = [letter * 31 + last for letter in (b"a", b"A") for last in (b"\0", b" ", b"z")]
        records = [new_record() for _ in addresses]
        for address, record in zip(addresses, records, strict=True):
            store.delete(address)
            assert store.create(address, record, _later(), None)
        assert [store.read(address) for address in addresses] == records

    def test_create_overwrites_nothing(self, store: SessionStore) -> None:
        address, record = _address(), new_record()
        assert store.create(address, record, _later(), None)
        assert store.create(address, new_record(), _later(), None) is False
        assert store.read(address) == record

    def test_replace_creates_nothing(self, store: SessionStore) -> None:
        for length in (100, 5000):
            address, record = _address(), new_record(length)
            answer = store.replace(address, version_of(record), new_record(length), _later())
            assert answer is Replaced.GONE
            assert store.read(address) is None

    def test_replace_gives_the_newest_record_instead(self, store: SessionStore) -> None:
        for length in (100, 5000):
            address, first, second = _address(), new_record(length), new_record(length)
            store.create(address, first, _later(), None)
            assert store.replace(address, version_of(first), second, None) is Replaced.DONE
            # Another request had read the first one.
            assert store.replace(address, version_of(first), new_record(length), None) == second
            assert store.read(address) == second

    def test_replace_may_be_sent_twice(self, store: SessionStore) -> None:
        for length in (100, 5000):
            address, first, second = _address(), new_record(length), new_record(length)
            store.create(address, first, _later(), None)
            for _ in range(2):
                assert store.replace(address, version_of(first), second, None) is Replaced.DONE
            assert store.read(address) == second

    def test_a_deleted_record_stays_deleted(self, store: SessionStore) -> None:
        for length in (100, 5000):
            address, record = _address(), new_record(length)
            store.create(address, record, _later(), None)
            assert store.delete(address) is True
            assert store.delete(address) is False
            assert store.read(address) is None
            answer = store.replace(address, version_of(record), new_record(length), None)
            assert answer is Replaced.GONE
            assert store.read(address) is None

    def test_an_expired_record_is_not_there(self, store: SessionStore) -> None:
        address, record, soon = _address(), new_record(), _soon()
        store.create(address, record, soon, None)
        kept, other = _address(), new_record()
        store.create(kept, other, soon, None)
        renewed = new_record()
        assert store.replace(kept, version_of(other), renewed, _later()) is Replaced.DONE
        _wait_until(soon)
        assert store.read(address) is None
        assert store.replace(address, version_of(record), new_record(), None) is Replaced.GONE
        assert store.delete(address) is False
        assert store.read(kept) == renewed

    def test_replace_leaves_the_expiry_unless_told(self, store: SessionStore) -> None:
        soon, addresses = _soon(), [_address(), _address()]
        for address, length in zip(addresses, (100, 5000), strict=True):
            record = new_record(length)
            store.create(address, record, soon, None)
            newer = new_record(length)
            assert store.replace(address, version_of(record), newer, None) is Replaced.DONE
            assert store.read(address) == newer
        _wait_until(soon)
        assert [store.read(address) for address in addresses] == [None, None]

    def test_of_many_writers_each_is_either_first_or_told(self, store: SessionStore) -> None:
        address, record = _address(), b"\xa3" + bytes(36) + (0).to_bytes(8, "big")
        store.create(address, record, _later(), None)

        def count() -> None:
            for _ in range(10):
                known = store.read(address)
                while True:
                    assert known is not None
                    number = int.from_bytes(known[37:], "big") + 1
                    mine = new_record(37) + number.to_bytes(8, "big")
                    answer = store.replace(address, version_of(known), mine, None)
                    if answer is Replaced.DONE:
                        break
                    assert isinstance(answer, bytes)
                    known = answer

        _in_threads(8, count)
        last = store.read(address)
        assert last is not None
        assert int.from_bytes(last[37:], "big") == 80

    def test_of_many_creators_one_succeeds(self, store: SessionStore) -> None:
        address, created = _address(), []

        def create() -> None:
            record = new_record()
            if store.create(address, record, _later(), None):
                created.append(record)

        _in_threads(8, create)
        assert created == [store.read(address)]

    def test_a_delete_ends_writing(self, store: SessionStore) -> None:
        address, record = _address(), new_record()
        store.create(address, record, _later(), None)
        gone = threading.Event()

        def write() -> None:
            known = store.read(address) or record
            while not gone.is_set():
                mine = new_record()
                answer = store.replace(address, version_of(known), mine, None)
                known = answer if isinstance(answer, bytes) else mine

        def delete() -> None:
            time.sleep(0.05)
            assert store.delete(address)
            time.sleep(0.05)
            gone.set()

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        delete()
        for thread in threads:
            thread.join()
        assert store.read(address) is None


class OwnedSessionsContract:
    """What a store that finds the sessions of a user must do. Give it a fixture ``store``."""

    def test_finds_the_records_of_an_owner(self, store: Any) -> None:
        has_methods = isinstance(store, OwnedSessions)
        assert has_methods
        owners = [os.urandom(16) for _ in range(3)]
        mine, theirs, nobodys = _address(), _address(), _address()
        store.create(mine, new_record(), _later(), owners[0])
        store.create(theirs, new_record(), _later(), owners[1])
        store.create(nobodys, new_record(), _later(), None)
        assert store.owned([owners[0]]) == [mine]
        assert store.owned([owners[2]]) == []
        assert store.owned([]) == []
        assert set(store.owned(owners)) == {mine, theirs}

    def test_the_first_to_expire_comes_first(self, store: Any) -> None:
        owner = os.urandom(16)
        addresses = [_address() for _ in range(3)]
        for address, seconds in zip(addresses, (3000, 1000, 2000), strict=True):
            store.create(address, new_record(), _later(seconds), owner)
        assert store.owned([owner]) == [addresses[1], addresses[2], addresses[0]]

    def test_a_record_changes_its_owner(self, store: Any) -> None:
        before, after = os.urandom(16), os.urandom(16)
        address, records = _address(), [new_record() for _ in range(5)]
        store.create(address, records[0], _later(), None)
        for number, (ownership, found) in enumerate(
            [
                (Ownership(before), [before]),
                (None, [before]),
                (Ownership(after, before), [after]),
                (Ownership(None, after), []),
            ]
        ):
            version = version_of(records[number])
            answer = store.replace(address, version, records[number + 1], _later(), ownership)
            assert answer is Replaced.DONE
            for owner in (before, after):
                assert store.owned([owner]) == ([address] if owner in found else [])

    def test_a_write_that_loses_changes_no_owner(self, store: Any) -> None:
        owner, other = os.urandom(16), os.urandom(16)
        address, first, second = _address(), new_record(), new_record()
        store.create(address, first, _later(), owner)
        store.replace(address, version_of(first), second, None)
        answer = store.replace(
            address, version_of(first), new_record(), _later(), Ownership(other, owner)
        )
        assert answer == second
        assert store.owned([owner]) == [address]

    def test_a_deleted_record_is_not_found(self, store: Any) -> None:
        owner = os.urandom(16)
        kept, known, unknown = _address(), _address(), _address()
        for address in (kept, known, unknown):
            store.create(address, new_record(), _later(), owner)
        store.delete(known, owner)
        store.delete(unknown)
        # A store may find it still, if it was not told whose it was; but then it reads nothing.
        found = [address for address in store.owned([owner]) if store.read(address) is not None]
        assert found == [kept]
        assert known not in store.owned([owner])

    def test_all_of_many_log_ins_at_once_are_found(self, store: Any) -> None:
        owner, created = os.urandom(16), []

        def create() -> None:
            for _ in range(4):
                address = _address()
                store.create(address, new_record(), _later(), owner)
                created.append(address)

        _in_threads(4, create)
        assert sorted(store.owned([owner])) == sorted(created)
        assert len(created) == 16


class RevocationsContract:
    """What a store that passes revocations on must do. Give it a fixture ``store``."""

    def test_a_revocation_is_passed_on(self, store: Any) -> None:
        assert isinstance(store, Revocations)
        subject = b"u" + os.urandom(16)
        now = int(time.time())
        moment = store.revoke(subject, now, 3600)
        assert abs(moment - now) < 30
        assert (subject, moment) in store.revoked_since(0)
        assert (subject, moment) in store.revoked_since(moment)
        assert (subject, moment) not in store.revoked_since(moment + 1)

    def test_the_last_revocation_of_a_subject_counts(self, store: Any) -> None:
        subject = b"*"
        now = int(time.time())
        first = store.revoke(subject, now, 3600)
        # Within the same second, and by a caller whose clock is behind.
        for caller in (now, now - 20):
            second = store.revoke(subject, caller, 3600)
            assert second > first
            first = second
        assert [moment for known, moment in store.revoked_since(0) if known == subject] == [second]


class MaintainedContract:
    """What a store that the command line looks after must do. Give it a fixture ``store`` that is
    empty.
    """

    def test_tells_what_it_holds(self, store: Any) -> None:
        has_methods = isinstance(store, Maintained)
        assert has_methods
        assert store.statistics().live == 0
        addresses = [_address() for _ in range(3)]
        for address in addresses:
            store.create(address, new_record(), _later(), _OWNER)
        assert store.statistics().live == 3
        assert sorted(store.addresses()) == sorted(addresses)

    def test_purges_what_has_expired(self, store: Any) -> None:
        kept = _address()
        store.create(kept, new_record(), _later(), None)
        soon = _soon()
        for _ in range(3):
            store.create(_address(), new_record(), soon, None)
        _wait_until(soon)
        removed = store.purge(2) + store.purge(100)
        # A store that removes expired records by itself has nothing left to purge.
        assert removed in (0, 3)
        assert store.purge(100) == 0
        assert store.statistics().live == 1
        assert store.statistics().expired == 0
        assert list(store.addresses()) == [kept]

    def test_checks_itself(self, store: Any) -> None:
        assert all(check.message for check in store.check())


def _in_threads(number: int, act: Callable[[], None]) -> None:
    """Does something in several threads at once, and raises what one of them raises."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
