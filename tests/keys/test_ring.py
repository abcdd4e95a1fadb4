"""The states of the keys of a ring, which depend only on the ring and the time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_fernet import Fernet, KeyRingError
from flask_fernet.keys.ring import SESSIONS, State, new_ring
from tests.clock import NOW
from tests.keys.rings import events, lived, lived_on


@given(happened=events, later=st.integers(-500, 1500))
def test_exactly_one_key_is_primary_at_any_time(
    happened: list[tuple[str, int, int]], later: int
) -> None:
    ring, now = lived(happened)
    states = [ring.state(key, now + later) for key in ring.keys]
    assert states.count(State.PRIMARY) == 1
    assert ring.primary(now + later).revoked is None
    assert ring.opening(now + later)[0] == ring.primary(now + later)
    usable = {State.PRIMARY, State.STAGED, State.RETIRED}
    assert len(ring.opening(now + later)) == sum(state in usable for state in states)


@example(happened=[("rotate", 0, 100), ("revoke", 5, 1), ("prune", 400, 0)])
@example(happened=[("rotate", 0, 0), ("rotate", 1000, 10), ("prune", 11, 0)])
@example(happened=[("rotate", 2, 1), ("force", 0, 0), ("rotate", 299, 0)])
@example(happened=[("rotate", 0, 10), ("force", 1, 10), ("revoke", 1, 2), ("rotate", 998, 10)])
@given(happened=events)
def test_what_was_written_opens_for_the_retention(happened: list[tuple[str, int, int]]) -> None:
    """A token opens for the retention after it was written, whichever second that was."""
    ring, now = lived([])
    wrote: dict[str, int] = {}
    for length in range(1, len(happened) + 1):
        changed, then = lived_on(ring, now, happened[length - 1])
        for second in range(now, then + 1):
            wrote[ring.primary(second).id] = second
        ring, now = changed, then
        revoked = {key.id for key in ring.keys if key.revoked is not None}
        opening = {key.id for key in ring.opening(now)}
        for key_id, last in wrote.items():
            if key_id not in revoked and now < last + ring.retention:
                assert key_id in opening


@given(happened=events)
def test_pruning_changes_nothing_that_is_used(happened: list[tuple[str, int, int]]) -> None:
    ring, now = lived(happened)
    assert ring.pruned(now).opening(now) == ring.opening(now)


def test_a_key_is_staged_first() -> None:
    ring = new_ring(SESSIONS, NOW, retention=300)
    (old,) = ring.keys
    ring = ring.rotated(NOW, activate_in=10)
    new = ring.keys[-1]
    for now, states in [
        (NOW, [State.PRIMARY, State.STAGED]),
        (NOW + 9.9, [State.PRIMARY, State.STAGED]),
        (NOW + 10, [State.RETIRED, State.PRIMARY]),
        (NOW + 309.9, [State.RETIRED, State.PRIMARY]),
        (NOW + 310, [State.EXPIRED, State.PRIMARY]),
    ]:
        assert [ring.state(key, now) for key in ring.keys] == states
    assert ring.next_change(NOW) == NOW + 10
    assert ring.next_change(NOW + 10) == NOW + 310
    assert ring.pruned(NOW + 310).keys == (new,)
    assert old.key not in repr(ring)


def test_a_second_rotation_waits() -> None:
    ring = new_ring(SESSIONS, NOW).rotated(NOW, activate_in=10)
    with pytest.raises(KeyRingError, match="still staged"):
        ring.rotated(NOW + 9)
    assert len(ring.rotated(NOW + 9, force=True).keys) == 3
    assert len(ring.rotated(NOW + 10).keys) == 3


@pytest.mark.parametrize(("activate_in", "last"), [(10, 10), (4, 4), (1, 4), (0, 4)])
@pytest.mark.parametrize("now", [NOW, NOW + 3])
def test_a_forced_key_is_activated_after_those_that_are_staged_in_their_order(
    now: int, activate_in: int, last: int
) -> None:
    ring = new_ring(SESSIONS, now, retention=300)
    for _ in range(3):
        ring = ring.rotated(now, activate_in=100, force=True)
    ids = [key.id for key in ring.keys]
    ring = ring.rotated(now, activate_in=activate_in, force=True)
    times = [now, *range(now + last - 3, now + last + 1)]
    assert [key.activates for key in ring.keys] == times
    assert [key.id for key in ring.keys[:4]] == ids
    assert [ring.primary(at) for at in times] == list(ring.keys)


def test_of_keys_that_are_activated_in_one_second_the_others_are_retired() -> None:
    ring = new_ring(SESSIONS, NOW, retention=300)
    (key,) = ring.keys
    other = replace(key, id="other")
    ring = replace(ring, keys=(key, other))
    assert ring.primary(NOW) == key
    assert ring.state(other, NOW) is State.RETIRED
    assert ring.state(other, NOW - 1) is State.STAGED


def test_keys_that_were_taken_over_stay_in_their_order() -> None:
    former = [Fernet.generate_key().decode() for _ in range(3)]
    ring = new_ring(SESSIONS, NOW, former=former)
    assert [key.key for key in ring.opening(NOW)] == former
    assert [key.activates - NOW for key in ring.opening(NOW)] == [0, -1, -2]
    assert {len(key.id) for key in ring.keys} == {8}


def test_revoking_with_a_clock_that_is_behind_makes_no_older_key_primary() -> None:
    ring, now = lived([])
    ring = ring.rotated(now, activate_in=0)
    now += 10
    new = ring.primary(now)
    revoked = ring.revoked(new.id, now - 5000)
    for at in (now, now - 4000):
        assert revoked.primary(at + 5000).id not in {key.id for key in ring.keys}
    assert revoked.state(revoked.keys[0], now) is not State.PRIMARY


def test_revoking_the_primary_puts_another_in_its_place() -> None:
    ring = new_ring(SESSIONS, NOW)
    (leaked,) = ring.keys
    # An id that somebody types is another object.
    ring = ring.revoked(leaked.id.encode().decode(), NOW + 5)
    assert ring.state(ring.keys[0], NOW + 5) is State.REVOKED
    assert ring.primary(NOW + 5).id != leaked.id
    assert ring.primary(NOW + 5).activates == NOW + 5
    with pytest.raises(KeyRingError, match="Unknown or revoked key"):
        ring.revoked(leaked.id, NOW + 6)


def test_a_rotation_by_a_clock_that_is_behind_is_refused_unless_forced() -> None:
    ring = new_ring(SESSIONS, NOW)
    assert len(ring.rotated(NOW - 60).keys) == 2
    with pytest.raises(KeyRingError, match="clock of this host is behind"):
        ring.rotated(NOW - 61)
    assert len(ring.rotated(NOW - 61, force=True).keys) == 2


def test_a_key_that_was_revoked_retires_the_one_before_only_if_it_was_active() -> None:
    ring = new_ring(SESSIONS, NOW).rotated(NOW, activate_in=100)
    old, new = ring.keys
    assert ring.retires(old) == NOW + 100
    # It never took over.
    assert ring.revoked(new.id, NOW + 5).retires(old) is None
    # It did.
    for revoked_at in (NOW + 100, NOW + 150):
        assert ring.revoked(new.id, revoked_at).retires(old) == NOW + 100


def test_a_revoked_key_is_kept_for_the_retention() -> None:
    ring = new_ring(SESSIONS, NOW, retention=300)
    (leaked,) = ring.keys
    ring = ring.revoked(leaked.id, NOW + 5)
    assert leaked.id in {key.id for key in ring.pruned(NOW + 304).keys}
    for now in (NOW + 305, NOW + 1000):
        assert leaked.id not in {key.id for key in ring.pruned(now).keys}


def test_the_keys_that_could_be_revoked_are_named() -> None:
    ring = new_ring(SESSIONS, NOW)
    (leaked,) = ring.keys
    ring = ring.revoked(leaked.id, NOW)
    with pytest.raises(KeyRingError, match=f"keys in use: {ring.keys[-1].id}\\.$"):
        ring.revoked("another", NOW)


def test_times_are_bounded() -> None:
    assert new_ring(SESSIONS, NOW).retention == 31 * 86400
    limit = 1000 * 365 * 86400
    for retention in (0, limit):
        assert new_ring(SESSIONS, NOW, retention=retention).retention == retention
    for retention in (-1, limit + 1, 2 * limit):
        with pytest.raises(KeyRingError, match="The retention must be from 0"):
            new_ring(SESSIONS, NOW, retention=retention)
    ring = new_ring(SESSIONS, NOW)
    assert ring.rotated(NOW, activate_in=limit).keys[-1].activates == NOW + limit
    for beyond in (limit + 1, 2 * limit):
        with pytest.raises(KeyRingError, match="The activation must be within"):
            ring.rotated(NOW, activate_in=beyond)


def test_a_state_is_its_name_as_text() -> None:
    assert f"{State.PRIMARY} {State.STAGED}" == "primary staged"


def test_a_ring_is_not_changed_in_place() -> None:
    ring = new_ring(SESSIONS, NOW)
    for one, name in ((ring, "serial"), (ring.keys[0], "activates")):
        with pytest.raises(AttributeError):
            setattr(one, name, 1)


def test_a_new_key_is_staged_for_ten_seconds() -> None:
    """By then every worker has read the ring."""
    ring = new_ring(SESSIONS, NOW).rotated(NOW)
    assert ring.keys[-1].activates == NOW + 10


@pytest.mark.parametrize("now", [NOW, NOW + 3])
def test_staged_keys_are_not_moved_to_a_time_before_the_present(now: int) -> None:
    ring = new_ring(SESSIONS, now - 100, retention=300)
    for _ in range(3):
        ring = ring.rotated(now, activate_in=100, force=True)
    ring = ring.rotated(now, activate_in=1, force=True)
    assert [key.activates - now for key in ring.keys] == [-100, 0, 1, 2, 3]


def test_a_key_that_has_expired_stays_so() -> None:
    ring = new_ring(SESSIONS, NOW, retention=300).rotated(NOW, activate_in=10)
    former = ring.keys[0]
    assert ring.state(former, NOW + 309) is State.RETIRED
    for later in (310, 311, 10**6):
        assert ring.state(former, NOW + later) is State.EXPIRED
        assert ring.opening(NOW + later) == [ring.keys[1]]


def test_revoking_a_key_that_was_staged_in_this_second_adds_no_other() -> None:
    ring = new_ring(SESSIONS, NOW, retention=300).rotated(NOW)
    staged = ring.keys[-1]
    ring = ring.revoked(staged.id, NOW)
    assert [ring.state(key, NOW) for key in ring.keys] == [State.PRIMARY, State.REVOKED]


def test_a_key_that_was_revoked_in_its_first_second_had_taken_over() -> None:
    ring = new_ring(SESSIONS, NOW, retention=300).rotated(NOW, activate_in=10)
    ring = ring.revoked(ring.keys[1].id, NOW + 10)
    assert ring.retires(ring.keys[0]) == NOW + 10
