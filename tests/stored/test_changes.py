"""What is asked of a store to write a session, alone and together with other requests."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Generator
from typing import Any

import pytest

from flask_fernet import Fernet, SessionConflict
from flask_fernet._core import RecordKeys, SessionKeys
from flask_fernet.driver import Wait
from flask_fernet.stored import changes, exchange
from flask_fernet.stored.changes import Change, Identity, Outcome, Saved
from flask_fernet.stored.exchange import Terms
from flask_fernet.stored.feed import EVERYBODY, MARGIN
from flask_fernet.stored.records import Loaded, opened, owner_tags
from flask_fernet.stores.protocol import Ownership, Replaced, version_of
from tests.clock import Clock
from tests.stored.recorder import ADDRESS, KEYS, OTHERS, TAG, PlainTerms, Recorder


@pytest.fixture
def store() -> Recorder:
    return Recorder()


@pytest.fixture
def terms() -> PlainTerms:
    return PlainTerms()


def change_of(
    terms: Terms,
    before: Loaded,
    data: dict[str, Any],
    identity: Identity = Identity.SAME,
    renew: bool = False,
) -> Change:
    # As a request has it: a value that equals another is another object.
    data = json.loads(json.dumps(data))
    return Change(ADDRESS, before, data, terms.dump(data), identity, renew)


def saved(store: Recorder, terms: Terms, *changed: Any, **options: Any) -> Saved:
    """Saves a session, which must be in the store then as the result says."""
    change = change_of(terms, *changed, **options)
    result: Saved = store.carry_out(changes.save(terms, change))
    asked = store.asked
    if result.loaded is not None:
        assert result.loaded == store.carry_out(exchange.load(terms, ADDRESS, result.generation))
    store.asked = asked
    return result


def replaced(store: Recorder) -> tuple[Any, ...]:
    """The last arguments of ``replace`` after the record: the expiry and the ownership."""
    arguments = [rest for name, *rest in store.asked if name == "replace"][-1]
    return tuple(arguments[3:])


class TestCreating:
    def test_what_is_stored_is_what_was_created(self, store: Recorder, terms: PlainTerms) -> None:
        data = {"user": "1", "a": 1}
        made = store.carry_out(changes.create(terms, ADDRESS, data, terms.dump(data)))
        ((name, address, record, expires, tag),) = store.asked
        assert (name, address, tag) == ("create", ADDRESS, TAG)
        assert expires == int(terms.now) + terms.lifetime
        assert opened(KEYS, ADDRESS, record) == made.loaded.snapshot
        assert made.loaded == store.carry_out(exchange.load(terms, ADDRESS, made.generation))

    @pytest.mark.parametrize("there", ["ours", "less", "greater", "nothing"])
    def test_an_address_in_use_is_an_error_unless_the_record_is_ours(
        self,
        store: Recorder,
        terms: PlainTerms,
        there: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A driver may send a command twice, and hears of the second attempt."""
        create = store.store.create

        def twice(address: bytes, record: bytes, *rest: Any) -> bool:
            if there == "ours":
                create(address, record, *rest)
            while there in ("less", "greater"):
                # The version of a record is random.
                other = KEYS.seal(address, b"g" * 8, 1, 1, b"{}")
                if (version_of(other) > version_of(record)) == (there == "greater"):
                    create(address, other, *rest)
                    break
            return False

        monkeypatch.setattr(store.store, "create", twice)
        creating = changes.create(terms, ADDRESS, {"user": "1"}, b'{"user": "1"}')
        if there == "ours":
            assert store.carry_out(creating).outcome is Outcome.WRITTEN
            return
        with pytest.raises(SessionConflict, match="its address is in use"):
            store.carry_out(creating)

    @pytest.mark.parametrize(("ago", "expected"), [(None, 0), (10, -10), (0, 0), (-10, 0)])
    def test_a_session_that_began_elsewhere_keeps_its_beginning(
        self, store: Recorder, terms: PlainTerms, ago: int | None, expected: int
    ) -> None:
        began = None if ago is None else int(terms.now) - ago
        made = store.carry_out(changes.create(terms, ADDRESS, {}, b"{}", began))
        assert made.loaded.snapshot.created == int(terms.now) + expected

    def test_a_beginning_is_after_every_revocation(self, store: Recorder) -> None:
        terms = PlainTerms(with_feed=True)
        moment = store.store.revoke(EVERYBODY, int(terms.now) + 10, 100)
        made = store.carry_out(changes.create(terms, ADDRESS, {}, b"{}"))
        assert [name for name, *_ in store.asked] == ["revoked_since", "create"]
        assert made.loaded.snapshot.created == moment + MARGIN


class TestAlone:
    def test_most_writes_leave_expiry_and_index_alone(
        self, store: Recorder, terms: PlainTerms
    ) -> None:
        before = store.log_in(terms, ago=100)
        result = saved(store, terms, before, {**before.data, "a": 1})
        assert (result.outcome, result.conflicts) == (Outcome.WRITTEN, ())
        assert [name for name, *_ in store.asked] == ["replace"]
        assert replaced(store) == (None, None)
        assert result.loaded is not None
        assert result.loaded.snapshot.renewed_at == before.snapshot.renewed_at
        assert result.generation == before.snapshot.generation

    def test_a_user_that_equals_the_former_one_is_the_same(
        self, store: Recorder, terms: PlainTerms
    ) -> None:
        # Python has one object for each text of one letter.
        before = store.log_in(terms, user="user-1", ago=100)
        terms.user_limit = 1
        saved(store, terms, before, {"user": "user-1", "a": 1})
        assert [name for name, *_ in store.asked] == ["replace"]
        assert replaced(store) == (None, None)

    def test_a_renewal_sets_the_expiry_anew(self, store: Recorder, terms: PlainTerms) -> None:
        before = store.log_in(terms, ago=100)
        result = saved(store, terms, before, before.data, renew=True)
        assert replaced(store) == (int(terms.now) + terms.lifetime, Ownership(TAG, TAG))
        assert result.loaded is not None
        assert result.loaded.snapshot.renewed_at == int(terms.now)
        assert result.loaded.snapshot.created == before.snapshot.created

    @pytest.mark.parametrize("user", ["1", None])
    def test_a_write_under_a_newer_key_moves_the_entry(
        self, store: Recorder, terms: PlainTerms, user: str | None
    ) -> None:
        old, new = Fernet.generate_key(), Fernet.generate_key()
        terms.keys = RecordKeys(SessionKeys([("old", old)], "salt"))
        store.log_in(terms, user=user, ago=100)
        terms.keys = RecordKeys(SessionKeys([("new", new), ("old", old)], "salt"))
        record = store.store.read(ADDRESS) or b""
        before = exchange.read_record(terms, ADDRESS, record)
        saved(store, terms, before, {**before.data, "a": 1})
        tags = owner_tags(terms.keys, "1")
        expected = (None, None)
        if user:
            expires = before.snapshot.renewed_at + terms.lifetime
            expected = (expires, Ownership(tags[0], tags[1]))  # type: ignore[assignment]
        assert replaced(store) == expected

    def test_an_emptied_session_stays_for_a_minute(self, store: Recorder, clock: Clock) -> None:
        # A moment at which the bits of a minute are set too.
        clock.now = 1_790_000_063.5
        terms = PlainTerms()
        before = store.log_in(terms, ago=100)
        result = saved(store, terms, before, {}, Identity.LOGGED_OUT)
        assert result.loaded is None
        assert replaced(store) == (1_790_000_063 + 60, Ownership(None, TAG))

    def test_what_is_put_into_an_empty_one_renews_it(
        self, store: Recorder, terms: PlainTerms
    ) -> None:
        before = store.log_in(terms, user=None, ago=100)
        data: dict[str, Any] = {}
        empty = before._replace(base=b"{}", data=data)
        saved(store, terms, empty, {"a": 1})
        assert replaced(store) == (int(terms.now) + terms.lifetime, Ownership(None, None))

    @pytest.mark.parametrize(
        ("identity", "data"),
        [
            (Identity.LOGGED_IN, {"user": "2"}),
            (Identity.LOGGED_OUT, {"a": 1}),
            (Identity.REGENERATED, {"user": "1"}),
            (Identity.CLEARED, {"user": "1", "a": 1}),
        ],
    )
    def test_another_identity_begins_anew(
        self, store: Recorder, terms: PlainTerms, identity: Identity, data: dict[str, Any]
    ) -> None:
        before = store.log_in(terms, ago=100)
        result = saved(store, terms, before, data, identity)
        assert result.outcome is Outcome.WRITTEN
        assert result.generation != before.snapshot.generation
        assert result.loaded is not None
        created, renewed_at = result.loaded.snapshot[1:3]
        assert created == renewed_at == int(terms.now)
        tag = owner_tags(KEYS, data["user"])[0] if "user" in data else None
        assert replaced(store) == (int(terms.now) + terms.lifetime, Ownership(tag, TAG))

    def test_a_new_beginning_can_be_asked_for(self, store: Recorder, terms: PlainTerms) -> None:
        before = store.log_in(terms, ago=100)
        change = change_of(terms, before, before.data, Identity.REGENERATED)
        later = int(terms.now) + 5
        result = store.carry_out(changes.save(terms, change._replace(begins=later)))
        assert result.loaded.snapshot.created == later

    @pytest.mark.parametrize("identity", list(Identity))
    def test_only_a_log_in_outlives_a_revocation(self, store: Recorder, identity: Identity) -> None:
        terms = PlainTerms(with_feed=True)
        before = store.log_in(terms, ago=100)
        store.store.revoke(EVERYBODY, int(terms.now) - 50, 100)
        data = {"user": "1", "a": 1}
        result = store.carry_out(changes.save(terms, change_of(terms, before, data, identity)))
        # A plain write does not ask the feed: the record that is read next is refused.
        written = identity in (Identity.SAME, Identity.LOGGED_IN)
        assert result.outcome is (Outcome.WRITTEN if written else Outcome.GONE)

    @pytest.mark.parametrize(
        ("former", "user", "is_limited"),
        [("1", "1", False), ("1", "2", True), (None, "2", True), ("1", None, False)],
    )
    def test_a_log_in_is_held_to_the_limit(
        self,
        store: Recorder,
        terms: PlainTerms,
        former: str | None,
        user: str | None,
        is_limited: bool,
    ) -> None:
        for number, address in enumerate(OTHERS):
            store.log_in(terms, address, user=user or "1", ago=1000 - number)
        before = store.log_in(terms, user=former)
        terms.user_limit = 1
        data = {"user": user} if user else {"a": 1}
        saved(store, terms, before, data, Identity.LOGGED_IN if user else Identity.LOGGED_OUT)
        assert store.addresses() == ({ADDRESS} if is_limited else {ADDRESS, *OTHERS})
        assert ("owned" in [name for name, *_ in store.asked]) == is_limited


class TestTogether:
    """Two requests that came with one cookie, of which the other was faster."""

    def test_both_changes_are_written_and_conflicts_are_named(
        self, store: Recorder, terms: PlainTerms
    ) -> None:
        before = store.log_in(terms, ago=100)
        saved(store, terms, before, {"user": "1", "theirs": 1, "both": 1})
        result = saved(store, terms, before, {"user": "1", "mine": 1, "both": 2})
        assert (result.outcome, list(result.conflicts)) == (Outcome.MERGED, ["both"])
        assert result.loaded is not None
        assert result.loaded.data == {"user": "1", "theirs": 1, "mine": 1, "both": 2}
        assert result.loaded.snapshot.created == before.snapshot.created
        assert replaced(store) == (None, None)

    @pytest.mark.parametrize("identity", [Identity.LOGGED_OUT, Identity.CLEARED])
    def test_a_log_out_or_clear_discards_concurrent_changes(
        self, store: Recorder, terms: PlainTerms, identity: Identity
    ) -> None:
        before = store.log_in(terms, ago=100)
        saved(store, terms, before, {"user": "1", "theirs": 1})
        result = saved(store, terms, before, {"mine": 1}, identity)
        assert result.outcome is Outcome.MERGED
        assert result.loaded is not None
        assert result.loaded.data == {"mine": 1}
        assert result.generation != before.snapshot.generation

    @pytest.mark.parametrize("mine", ["2", "3", "4"])
    def test_of_two_log_ins_the_second_wins_or_joins(
        self, store: Recorder, terms: PlainTerms, mine: str
    ) -> None:
        before = store.log_in(terms, user=None, ago=100)
        first = saved(store, terms, before, {"user": "3", "theirs": 1}, Identity.LOGGED_IN)
        second = saved(store, terms, before, {"user": mine, "mine": 1}, Identity.LOGGED_IN)
        assert second.outcome is Outcome.MERGED
        assert second.loaded is not None
        if mine == "3":
            assert second.loaded.data == {"user": "3", "theirs": 1, "mine": 1}
            assert second.generation == first.generation
        else:
            assert second.loaded.data == {"user": mine, "mine": 1}
            assert second.generation != first.generation

    @pytest.mark.parametrize("theirs", ["0", "1", "2", None])
    @pytest.mark.parametrize("identity", [Identity.SAME, Identity.REGENERATED])
    def test_who_does_not_log_in_loses_against_another_identity(
        self, store: Recorder, terms: PlainTerms, theirs: str | None, identity: Identity
    ) -> None:
        before = store.log_in(terms, ago=100)
        data = {"user": theirs} if theirs else {"a": 1}
        became = Identity.LOGGED_IN if theirs else Identity.LOGGED_OUT
        saved(store, terms, before, data, became)
        result = saved(store, terms, before, {"user": "1", "mine": 1}, identity)
        assert result == Saved(Outcome.SUPERSEDED)
        record = opened(KEYS, ADDRESS, store.store.read(ADDRESS) or b"")
        assert json.loads(record.payload) == data

    def test_a_merge_that_changes_the_user_moves_the_entry(self, store: Recorder) -> None:
        class Merging(PlainTerms):
            __slots__ = ()

            def merge(self, base: Any, mine: Any, theirs: Any) -> Any:
                return {**theirs, **mine, "user": "user-2"}, ()

        terms = Merging()
        before = store.log_in(terms, user="user-1", ago=100)
        saved(store, terms, before, {"user": "user-1", "theirs": 1})
        result = saved(store, terms, before, {"user": "user-1", "mine": 1})
        assert result.loaded is not None
        assert result.loaded.user == "user-2"
        former, new = (owner_tags(KEYS, user)[0] for user in ("user-1", "user-2"))
        expires = before.snapshot.renewed_at + terms.lifetime
        assert replaced(store) == (expires, Ownership(new, former))

    def test_a_log_in_after_their_log_out_keeps_nothing_of_the_former_session(
        self, store: Recorder, terms: PlainTerms
    ) -> None:
        before = store.log_in(terms, ago=100)
        saved(store, terms, before, {"theirs": 1}, Identity.LOGGED_OUT)
        result = saved(store, terms, before, {"user": "2", "mine": 1}, Identity.LOGGED_IN)
        assert result.loaded is not None
        assert result.loaded.data == {"user": "2", "mine": 1}


class TestPauses:
    """A store in which another request is always faster."""

    def faster(self, terms: Terms, before: Loaded, number: int) -> bytes:
        payload = terms.dump({**before.data, "theirs": number})
        snapshot = before.snapshot
        return KEYS.seal(
            ADDRESS, snapshot.generation, snapshot.created, snapshot.renewed_at, payload
        )

    def test_they_double_from_two_milliseconds_to_fifty(
        self,
        store: Recorder,
        terms: PlainTerms,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        clock.freeze_monotonic()
        bounds = []

        def longest(low: float, high: float) -> float:
            bounds.append(low)
            return high

        monkeypatch.setattr(random, "uniform", longest)
        before = store.log_in(terms)
        saving = changes.save(terms, change_of(terms, before, {"user": "1", "mine": 1}))
        pauses: list[float] = []
        began, records = clock.monotonic, iter(range(1000))

        def beaten() -> None:
            asked = next(saving)
            while True:
                if isinstance(asked, Wait):
                    pauses.append(round(asked.seconds, 6))
                    clock.monotonic += asked.seconds
                    asked = saving.send(None)
                else:
                    asked = saving.send(self.faster(terms, before, next(records)))

        with pytest.raises(SessionConflict, match="faster than changes can be merged"):
            beaten()
        assert set(bounds) == {0}
        assert pauses[:6] == [0.002, 0.004, 0.008, 0.016, 0.032, 0.05]
        assert set(pauses[5:]) == {0.05}
        # No pause before the second attempt.
        assert next(records) == len(pauses) + 2
        assert 3 < time.monotonic() - began <= 3.05

    @pytest.mark.parametrize(("after", "is_error"), [(0, False), (3, False), (3.001, True)])
    def test_the_last_attempt_is_after_three_seconds(
        self, store: Recorder, terms: PlainTerms, clock: Clock, after: float, is_error: bool
    ) -> None:
        clock.freeze_monotonic()
        clock.monotonic = 1000.0
        before = store.log_in(terms)
        change = change_of(terms, before, {"user": "1", "mine": 1})
        saving: Generator[Any, Any, Saved] = changes.save(terms, change)
        next(saving)
        # The time until the first answer does not count.
        clock.monotonic += 10
        assert saving.send(self.faster(terms, before, 1)).name == "replace"
        clock.monotonic += after
        if is_error:
            with pytest.raises(SessionConflict):
                saving.send(self.faster(terms, before, 2))
            return
        assert isinstance(saving.send(self.faster(terms, before, 2)), Wait)
        asked = saving.send(None)
        with pytest.raises(StopIteration) as stop:
            saving.send(Replaced.DONE)
        result = stop.value.value
        assert result.loaded.data == {"user": "1", "mine": 1, "theirs": 2}
        assert result.loaded.snapshot.version == version_of(asked.arguments[2])
