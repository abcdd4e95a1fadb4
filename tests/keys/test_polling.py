"""When a followed ring is looked at, and when it is read: counted, on a clock that stands still."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from flask_fernet import KeyRingError, keyring_unreadable
from flask_fernet.keys import fork_safe_lock
from flask_fernet.keys.document import encode
from flask_fernet.keys.following import (
    FollowedRing,
    require_newest,
    valid_for,
)
from flask_fernet.keys.ring import SESSIONS, Ring, new_ring
from tests.clock import NOW, Clock

FIRST = new_ring(SESSIONS, NOW, retention=300)


class CountedStore:
    """A ring in memory that counts what it is asked."""

    def __init__(self, ring: Ring = FIRST) -> None:
        self.put(ring)
        self.looks = self.reads = 0
        #: Seconds that a read takes.
        self.slowness = 0.0
        self.clock: Clock | None = None

    def put(self, ring: Ring) -> None:
        self.document = encode(ring).encode()

    def load(self) -> bytes:
        self.reads += 1
        if self.clock is not None:
            self.clock.monotonic += self.slowness
        return self.document

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        raise NotImplementedError

    def fingerprint(self) -> object:
        self.looks += 1
        # An equal value, and not the same one; None for a document that is gone.
        return bytearray(self.document) if self.document else None

    def counts(self) -> tuple[int, int]:
        """How often it was looked at and read since the last call."""
        counts = self.looks, self.reads
        self.looks = self.reads = 0
        return counts


@pytest.fixture
def monotonic(clock: Clock) -> Clock:
    clock.freeze_monotonic()
    # The machine has just been started.
    clock.monotonic = 0.5
    return clock


@pytest.fixture
def store(monotonic: Clock) -> CountedStore:
    store = CountedStore()
    store.clock = monotonic
    return store


@pytest.fixture
def followed(store: CountedStore) -> FollowedRing:
    followed = FollowedRing(store, "sender")
    assert store.counts() == (1, 1)
    return followed


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What is signalled of rings that cannot be read."""
    found: list[str] = []

    def hear(sender: object, error: KeyRingError) -> None:
        assert sender == "sender"
        found.append(str(error))

    with keyring_unreadable.connected_to(hear):
        yield found


def test_an_unchanged_ring_is_looked_at_once_a_second_and_never_read(
    store: CountedStore, followed: FollowedRing, monotonic: Clock
) -> None:
    for _ in range(3):
        monotonic.monotonic += 0.75
        assert followed.current() == FIRST
        assert store.counts() == (0, 0)
        monotonic.monotonic += 0.25
        followed.current()
        followed.current()
        assert store.counts() == (1, 0)


def test_a_changed_ring_is_read_once(
    store: CountedStore, followed: FollowedRing, monotonic: Clock
) -> None:
    second = FIRST.rotated(NOW)
    store.put(second)
    assert followed.current() == FIRST
    monotonic.monotonic += 1
    assert followed.current() == second
    assert store.counts() == (1, 1)
    # Reading it took a second: the next look is a second after that.
    store.put(third := second.rotated(NOW, force=True))
    store.slowness = 1.0
    monotonic.monotonic += 1
    assert followed.current() == third
    assert followed.current() == third
    assert store.counts() == (1, 1)


def test_a_look_out_of_turn_leaves_the_next_one_when_it_was(
    store: CountedStore, followed: FollowedRing, monotonic: Clock
) -> None:
    monotonic.monotonic += 0.75
    assert followed.poll_now() == FIRST
    assert store.counts() == (1, 0)
    monotonic.monotonic += 0.25
    followed.current()
    assert store.counts() == (1, 0)


def test_no_request_waits_for_a_look_in_its_turn_and_none_long_for_another(
    followed: FollowedRing, monotonic: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float] = []

    def acquire(timeout: float) -> bool:
        timeouts.append(timeout)
        return False

    monkeypatch.setattr(followed._lock, "acquire", acquire)
    monotonic.monotonic += 1
    assert followed.current() == followed.poll_now() == FIRST
    assert timeouts == [0, 0.5]


def test_a_look_that_began_after_the_call_is_shared(
    store: CountedStore, followed: FollowedRing, monotonic: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = followed._lock.acquire

    def late(timeout: float) -> bool:
        # Another thread has looked while this one waited.
        followed._poll_began = time.monotonic() + 0.25
        return acquire(timeout)

    monkeypatch.setattr(followed._lock, "acquire", late)
    followed.poll_now()
    assert store.counts() == (0, 0)


def test_a_forked_child_looks_once_at_once(store: CountedStore, followed: FollowedRing) -> None:
    fork_safe_lock._after_fork_in_child()
    followed.current()
    followed.current()
    assert store.counts() == (1, 0)


class TestUnreadable:
    @pytest.mark.parametrize("damage", [b"damaged", b""])
    def test_the_pauses_between_reads_double_up_to_half_a_minute(
        self,
        store: CountedStore,
        followed: FollowedRing,
        monotonic: Clock,
        errors: list[str],
        damage: bytes,
    ) -> None:
        store.document = damage
        began, read_at = monotonic.monotonic, []
        for _ in range(350):
            monotonic.monotonic += 0.3
            assert followed.current() == FIRST
            # Anybody can make this happen.
            assert followed.poll_now() == FIRST
            if store.counts()[1]:
                read_at.append(monotonic.monotonic - began)
        assert round(read_at[0], 1) == 0.3
        pauses = [later - earlier for earlier, later in itertools.pairwise(read_at)]
        # A look out of turn finds the damage, and does not move the looks of each second.
        expected = [1, 2, 4, 8, 16, 30, 30]
        # Looks are a second apart, and every step of this test is one of 0.3 seconds.
        assert len(pauses) == len(expected)
        assert all(0 <= pause - least < 1.3 for pause, least in zip(pauses, expected, strict=True))
        assert len(errors) == len(read_at)

    def test_other_damage_is_read_at_once_and_the_pauses_begin_again(
        self, store: CountedStore, followed: FollowedRing, monotonic: Clock
    ) -> None:
        store.document = b"damaged"
        for _ in range(20):
            monotonic.monotonic += 1
            followed.current()
        store.counts()
        store.document = b"other damage"
        followed.poll_now()
        assert store.counts() == (1, 1)
        reads = []
        for _ in range(4):
            monotonic.monotonic += 1
            followed.current()
            reads.append(store.counts()[1])
        assert reads == [1, 0, 1, 0]

    def test_a_ring_that_is_mended_is_read_at_once(
        self, store: CountedStore, followed: FollowedRing, monotonic: Clock, errors: list[str]
    ) -> None:
        store.document = b"damaged"
        monotonic.monotonic += 1
        followed.current()
        second = FIRST.rotated(NOW)
        store.put(second)
        assert followed.poll_now() == second
        # The same damage again is new damage.
        store.document = b"damaged"
        followed.poll_now()
        assert len(errors) == 2

    def test_a_read_that_takes_long_does_not_count_as_a_pause(
        self, store: CountedStore, followed: FollowedRing, monotonic: Clock
    ) -> None:
        store.document = b"damaged"
        store.slowness = 5.0
        monotonic.monotonic += 1
        followed.current()
        store.counts()
        monotonic.monotonic += 0.75
        followed.current()
        assert store.counts() == (0, 0)
        monotonic.monotonic += 0.25
        followed.current()
        assert store.counts() == (1, 1)


@pytest.mark.parametrize("of", ["a purpose", "sessions"])
def test_a_ring_for_another_purpose_does_not_take_the_place(
    of: str, monotonic: Clock, errors: list[str]
) -> None:
    store = CountedStore(ring := new_ring(of, NOW, retention=300))
    followed = FollowedRing(store, "sender")
    other = "quotas"
    store.put(new_ring(other, NOW, retention=300))
    assert followed.poll_now() == ring
    assert errors == [f"The purpose of the key ring must be {of!r}, not {other!r}."]


def test_an_older_copy_does_not_take_the_place_and_an_equal_serial_does(
    store: CountedStore, followed: FollowedRing, errors: list[str]
) -> None:
    store.put(equal := FIRST.rotated(NOW))
    assert followed.poll_now() == equal
    store.put(second := replace(equal, serial=FIRST.serial + 1))
    assert followed.poll_now() == second
    store.put(equal)
    assert followed.poll_now() == second
    assert len(errors) == 1
    assert f"its serial is {FIRST.serial}, and a ring with serial {second.serial}" in errors[0]
    require_newest(second, second.serial)
    with pytest.raises(KeyRingError, match="ring here is an older copy"):
        require_newest(FIRST, second.serial, " here")


@pytest.mark.parametrize(
    ("ahead", "expected"), [(100, 1.0), (1.5, 1.0), (1, 1.0), (0.75, 0.75), (0.25, 0.25)]
)
def test_the_states_of_keys_are_good_until_one_changes(ahead: float, expected: float) -> None:
    ring = FIRST.rotated(NOW, activate_in=100)
    assert valid_for(ring, NOW + 100 - ahead) == expected


def test_without_a_change_to_come_the_states_are_good_for_a_second() -> None:
    assert FIRST.next_change(NOW) is None
    assert valid_for(FIRST, NOW) == 1.0
