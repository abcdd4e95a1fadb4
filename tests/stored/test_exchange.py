"""What is asked of a store in which order: driven asynchronously, and interleaved at will."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_fernet import Reason, SessionRejected, StoreUnavailable
from flask_fernet.driver import Methods, Operation, Wait, drive, drive_async
from flask_fernet.stored import changes, exchange
from flask_fernet.stored.changes import Change, Identity, Outcome
from flask_fernet.stored.exchange import Terms
from flask_fernet.stored.feed import EVERYBODY, KEPT_FOR, Feed, user_subject
from flask_fernet.stored.records import Loaded, opened, owner_tags
from flask_fernet.stores.memory import AsyncMemoryStore, MemoryStore
from tests.clock import Clock
from tests.stored.recorder import ADDRESS, KEYS, OTHERS, TAG, PlainTerms, Recorder


def test_many_requests_of_one_event_loop_keep_their_changes() -> None:
    async def main() -> None:
        store, terms = Methods(AsyncMemoryStore()), PlainTerms(with_feed=True)
        data = {"user": "1", "a": 0}
        saved = await drive_async(changes.create(terms, ADDRESS, data, terms.dump(data)), store)
        generation = saved.generation

        async def add(key: str) -> Outcome:
            loaded = await drive_async(exchange.load(terms, ADDRESS, generation), store)
            mine = {**loaded.data, key: 1}
            change = Change(ADDRESS, loaded, mine, terms.dump(mine), Identity.SAME, False)
            outcome: Outcome = (await drive_async(changes.save(terms, change), store)).outcome
            return outcome

        outcomes = await asyncio.gather(*(add(f"k{number}") for number in range(12)))
        assert set(outcomes) <= {Outcome.WRITTEN, Outcome.MERGED}
        loaded = await drive_async(exchange.load(terms, ADDRESS, generation), store)
        assert len(loaded.data) == 14

    asyncio.run(main())


class Request:
    """One request, which advances by one operation of the store at a time."""

    def __init__(self, number: int, act: str, generation: bytes) -> None:
        self.number = number
        self.act = act
        self.terms = PlainTerms(with_feed=True)
        self.steps = self.run(generation)
        self.answer: Any = None
        self.result: Any = None
        self.done = False
        #: The session as this request has read it.
        self.seen: dict[str, Any] = {}

    def run(self, generation: bytes) -> Any:
        try:
            loaded = yield from exchange.load(self.terms, ADDRESS, generation)
        except SessionRejected as error:
            return error.reason
        if self.act == "revoke":
            return (yield from exchange.end(self.terms, ADDRESS, loaded))
        mine, identity = self.changed(loaded)
        change = Change(ADDRESS, loaded, mine, self.terms.dump(mine), identity, False)
        return (yield from changes.save(self.terms, change))

    def changed(self, loaded: Loaded) -> tuple[dict[str, Any], Identity]:
        self.seen = dict(loaded.data)
        mine = dict(loaded.data)
        if self.act == "log out":
            del mine["user"]
            return mine, Identity.LOGGED_OUT
        if self.act.startswith("log in"):
            # What a user writes carries the user's name.
            mine.update({"user": self.act[-1], f"of {self.act[-1]}": self.number})
            return mine, Identity.LOGGED_IN
        mine[f"k{self.number}"] = mine.get("user")
        if self.act == "regenerate":
            return mine, Identity.REGENERATED
        return mine, Identity.SAME

    def advance(self, store: MemoryStore) -> None:
        try:
            asked = self.steps.send(self.answer)
        except StopIteration as stop:
            self.result, self.done = stop.value, True
            return
        self.answer = None
        if isinstance(asked, Operation):
            self.answer = getattr(store, asked.name)(*asked.arguments)


ACTS = ["write", "write", "regenerate", "log out", "log in 2", "log in 3", "revoke"]


@given(
    acts=st.lists(st.sampled_from(ACTS), min_size=2, max_size=4),
    order=st.lists(st.integers(0, 3), max_size=40),
)
def test_no_interleaving_of_requests_breaks_a_rule(acts: list[str], order: list[int]) -> None:
    """However the operations of requests that came with one cookie are interleaved: a session that
    was ended stays so, nobody has what another user has written, and what was confirmed is there
    unless somebody logged in or out.
    """
    store, terms = MemoryStore(), PlainTerms()
    data = {"user": "1"}
    creation = changes.create(terms, ADDRESS, data, terms.dump(data))
    (asked,) = [next(creation)]
    assert isinstance(asked, Operation)
    store.create(*asked.arguments)
    generation = opened(KEYS, ADDRESS, store.read(ADDRESS) or b"").generation
    requests = [Request(number, act, generation) for number, act in enumerate(acts)]
    for number in [*order, *(n for n in range(len(acts)) for _ in range(50))]:
        request = requests[number % len(acts)]
        if not request.done:
            request.advance(store)
    assert all(request.done for request in requests)
    record = store.read(ADDRESS)
    ended = [request for request in requests if request.act == "revoke" and request.result is True]
    assert (record is None) == bool(ended)
    if record is None:
        return
    final = json.loads(opened(KEYS, ADDRESS, record).payload)
    user = final.get("user")
    for key, value in final.items():
        if key.startswith("of "):
            assert key == f"of {user}"
        if key.startswith("k") and user is not None and value != user:
            # The app put it into the session in which the other user then logged in.
            logged_in = [request for request in requests if request.act == f"log in {user}"]
            assert any(key in request.seen for request in logged_in)
    identities = {"log out", "log in 2", "log in 3", "regenerate"}
    if not identities & set(acts):
        confirmed = [one for one in requests if one.act == "write"]
        assert all(f"k{one.number}" in final for one in confirmed)
    for request in requests:
        is_lost = getattr(request.result, "outcome", None) in (Outcome.SUPERSEDED, Outcome.GONE)
        if is_lost and request.act == "write":
            assert f"k{request.number}" not in final


@pytest.mark.parametrize("identity", [Identity.SAME, Identity.REGENERATED, Identity.LOGGED_IN])
def test_a_renewal_does_not_revive_what_was_ended(identity: Identity) -> None:
    """The session is ended between the read and the write."""
    store, terms = MemoryStore(), PlainTerms(with_feed=True)
    data = {"user": "1"}

    def driven(asked: Any, meanwhile: Any = None) -> Any:
        answer = None
        while True:
            try:
                operation = asked.send(answer)
            except StopIteration as stop:
                return stop.value
            if operation.name == "replace" and meanwhile is not None:
                meanwhile()
            answer = getattr(store, operation.name)(*operation.arguments)

    saved = driven(changes.create(terms, ADDRESS, data, terms.dump(data)))
    loaded = driven(exchange.load(terms, ADDRESS, saved.generation))
    change = Change(ADDRESS, loaded, data, terms.dump(data), identity, True)
    result = driven(changes.save(terms, change), lambda: store.delete(ADDRESS))
    assert result.outcome is Outcome.GONE
    assert store.read(ADDRESS) is None
    assert store.owned(KEYS.owner_tags(ord("s"), b"1")) == []


@pytest.mark.parametrize(
    ("absolute", "expected"),
    [(None, 1100), (698, 1099), (698.9, 1099), (699, 1100), (700, 1100), (10**6, 1100)],
)
def test_a_record_expires_with_the_shorter_of_its_lifetimes(
    absolute: float | None, expected: int
) -> None:
    terms = PlainTerms()
    terms.lifetime, terms.absolute_lifetime = 100, absolute
    assert terms.expires(1000, 400) == expected


class TestLoading:
    def rejected(self, terms: Terms, store: Recorder, generation: bytes) -> SessionRejected:
        with pytest.raises(SessionRejected) as raised:
            store.carry_out(exchange.load(terms, ADDRESS, generation))
        return raised.value

    def test_a_session_of_another_generation_says_since_when(self) -> None:
        store, terms = Recorder(), PlainTerms()
        loaded = store.log_in(terms, ago=50)
        error = self.rejected(terms, store, b"another.")
        assert isinstance(error, exchange.Superseded)
        assert (error.reason, error.since) == (Reason.SUPERSEDED, loaded.snapshot.created)

    def test_a_session_is_read_until_its_last_second(self) -> None:
        store, terms = Recorder(), PlainTerms()
        snapshot = store.log_in(terms).snapshot
        terms.now = terms.expires(snapshot.renewed_at, snapshot.created)
        assert store.carry_out(exchange.load(terms, ADDRESS, snapshot.generation)).user == "1"
        terms.now += 0.5
        assert self.rejected(terms, store, snapshot.generation).reason is Reason.EXPIRED

    @pytest.mark.parametrize("subject", [EVERYBODY, user_subject(TAG)])
    def test_a_session_that_began_before_a_revocation_is_refused(
        self, subject: bytes, clock: Clock
    ) -> None:
        clock.freeze_monotonic()
        store, terms = Recorder(), PlainTerms(with_feed=True)
        loaded = store.log_in(terms, ago=5)
        moment = loaded.snapshot.created
        store.store.revoke(subject, moment, 60)
        assert terms.feed is not None
        terms.feed.ask_again()
        generation = loaded.snapshot.generation
        assert self.rejected(terms, store, generation).reason is Reason.REVOKED
        # The feed is asked before the record is read, and once in a second.
        assert [name for name, *_ in store.asked] == ["revoked_since", "read"]
        self.rejected(terms, store, generation)
        assert [name for name, *_ in store.asked] == ["read"]

    def test_a_revocation_of_another_user_ends_nothing(self) -> None:
        store, terms = Recorder(), PlainTerms(with_feed=True)
        loaded = store.log_in(terms)
        (other,) = owner_tags(KEYS, "2")
        assert terms.feed is not None
        terms.feed.learn([(user_subject(other), int(terms.now) + 100)])
        assert not exchange.is_revoked(terms, loaded)
        terms.feed.learn([(user_subject(TAG), int(terms.now) + 100)])
        assert exchange.is_revoked(terms, loaded)

    def test_a_user_of_another_kind_than_can_be_indexed_is_read(self) -> None:
        terms = PlainTerms(with_feed=True)
        assert terms.tags_of_read(1.5) == []
        assert terms.tags(None) == []


class TestFeed:
    class Watched(Feed):
        """Keeps before which moment it was told to forget."""

        before: int | None = None

        def forget(self, before: int) -> None:
            self.before = before

    def terms(self) -> tuple[PlainTerms, Watched]:
        terms, feed = PlainTerms(), self.Watched()
        terms.feed = feed
        return terms, feed

    @pytest.mark.parametrize(("lifetime", "kept"), [(3600, KEPT_FOR), (KEPT_FOR + 1, KEPT_FOR + 1)])
    def test_revocations_are_kept_as_long_as_a_session_may_last(
        self, lifetime: int, kept: int
    ) -> None:
        terms, feed = self.terms()
        terms.lifetime = lifetime
        Recorder().carry_out(exchange.follow_revocations(terms))
        assert feed.before == int(terms.now) - kept

    def test_it_is_asked_when_it_is_due_or_has_to_be(self, clock: Clock) -> None:
        clock.freeze_monotonic()
        store, (terms, _) = Recorder(), self.terms()
        for options, asked in [({}, 1), ({}, 0), ({"now": True}, 1), ({}, 0)]:
            store.carry_out(exchange.follow_revocations(terms, **options))
            assert len(store.asked) == asked
        terms.feed = None
        store.carry_out(exchange.follow_revocations(terms, now=True))
        assert store.asked == []

    def test_it_is_asked_again_at_once_after_a_failure(self) -> None:
        store, (terms, feed) = Recorder(), self.terms()
        store.failing = "revoked_since"
        with pytest.raises(StoreUnavailable):
            store.carry_out(exchange.follow_revocations(terms))
        assert feed.is_due()


class TestEnding:
    def test_the_index_of_the_user_loses_the_session(self) -> None:
        store, terms = Recorder(), PlainTerms()
        loaded = store.log_in(terms)
        assert store.carry_out(exchange.end(terms, ADDRESS, loaded)) is True
        assert store.asked == [("delete", ADDRESS, TAG)]
        assert store.carry_out(exchange.end(terms, ADDRESS, loaded)) is False

    def test_a_session_that_was_not_read_ends_too(self) -> None:
        store, terms = Recorder(), PlainTerms()
        store.log_in(terms)
        assert store.carry_out(exchange.end(terms, ADDRESS, None)) is True
        assert store.asked == [("delete", ADDRESS, None)]


class TestSessionsOfAUser:
    def test_those_that_were_not_renewed_longest_come_first(self) -> None:
        store, terms = Recorder(), PlainTerms()
        for address, ago in [(ADDRESS, 10), (OTHERS[0], 30), (OTHERS[1], 20), (OTHERS[2], 20)]:
            store.log_in(terms, address, ago=ago)
        found = store.carry_out(exchange.sessions_of(terms, "1"))
        assert [address for _, address, _ in found] == [OTHERS[0], OTHERS[1], OTHERS[2], ADDRESS]
        assert {tag for tag, *_ in found} == {TAG}

    def test_what_the_index_says_is_checked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store, terms = Recorder(), PlainTerms(with_feed=True)
        store.log_in(terms, OTHERS[0])
        mine = store.store.read(OTHERS[0])
        assert mine is not None
        later = int(terms.now) + 60
        # Entries that lead nowhere, to what no key opens, and to a session of another user.
        index = [ADDRESS, *reversed(OTHERS)]
        monkeypatch.setattr(store.store, "owned", lambda owners: index)
        store.store.create(OTHERS[1], b"unreadable", later, TAG)
        store.log_in(terms, OTHERS[2], user="2")
        found = store.carry_out(exchange.sessions_of(terms, "1"))
        assert [address for _, address, _ in found] == [OTHERS[0]]
        assert [asked for asked in store.asked if asked[0] == "delete"] == [
            ("delete", ADDRESS, TAG)
        ]
        assert terms.feed is not None
        terms.feed.learn([(user_subject(TAG), int(terms.now))])
        assert store.carry_out(exchange.sessions_of(terms, "1")) == []


class TestLimit:
    def kept(self, store: Recorder, terms: Terms, current: bytes = ADDRESS) -> set[bytes]:
        store.carry_out(exchange.keep_to_limit(terms, "1", current))
        return store.addresses()

    @pytest.mark.parametrize(
        ("limit", "ended"), [(None, ""), (5, ""), (4, ""), (3, "d"), (2, "cd"), (1, "bcd")]
    )
    @pytest.mark.parametrize("ago", [0, 25, 100])
    def test_the_ones_not_used_for_longest_end_but_not_the_current_one(
        self, limit: int | None, ended: str, ago: int
    ) -> None:
        store, terms = Recorder(), PlainTerms()
        store.log_in(terms, ADDRESS, ago=ago)
        for address, of_another in zip(OTHERS, [10, 20, 30], strict=True):
            store.log_in(terms, address, ago=of_another)
        store.log_in(terms, b"2" * 32, user="2", ago=1000)
        terms.user_limit = limit
        left = {one for one in OTHERS if one[:1] not in ended.encode()}
        assert self.kept(store, terms) == {ADDRESS} | left
        if limit is not None and limit >= len(OTHERS) + 1:
            assert [name for name, *_ in store.asked] == ["owned"]
        assert {owner for name, *_, owner in store.asked if name == "delete"} <= {TAG}
        assert store.store.read(b"2" * 32)

    @pytest.mark.parametrize(
        ("current", "ago", "looks"),
        [(ADDRESS, 0, 2), (ADDRESS, 1, 1), (OTHERS[-1], 0, 1), (OTHERS[-1], 1, 1)],
    )
    def test_a_log_in_looks_again_for_itself_only_if_one_of_its_second_may_end_it(
        self, current: bytes, ago: int, looks: int
    ) -> None:
        store, terms = Recorder(), PlainTerms()
        others = [address for address in (ADDRESS, *OTHERS) if address != current]
        for number, address in enumerate(others):
            store.log_in(terms, address, ago=number + ago)
        store.log_in(terms, current)
        terms.user_limit = 1
        # A store makes addresses of its own, which are equal and not the same.
        assert self.kept(store, terms, bytes(bytearray(current))) == {current}
        assert store.asked.count(("read", current)) == looks

    def test_entries_of_the_index_that_lead_nowhere_do_not_count(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, terms = Recorder(), PlainTerms()
        for address in (ADDRESS, *OTHERS[:2]):
            store.log_in(terms, address)
        index = [ADDRESS, *OTHERS, b"e" * 32]
        monkeypatch.setattr(store.store, "owned", lambda owners: index)
        terms.user_limit = 4
        assert self.kept(store, terms) == {ADDRESS, *OTHERS[:2]}

    def test_without_a_limit_or_a_user_nothing_is_asked(self) -> None:
        store, terms = Recorder(), PlainTerms()
        store.log_in(terms)
        assert self.kept(store, terms) == {ADDRESS}
        assert store.asked == []
        terms.user_limit = 0
        store.carry_out(exchange.keep_to_limit(terms, None, ADDRESS))
        assert store.asked == []

    @pytest.mark.parametrize("failing", ["owned", "read", "delete"])
    def test_a_store_that_fails_leaves_the_log_in_as_it_is(self, failing: str) -> None:
        store, terms = Recorder(), PlainTerms()
        for address in (ADDRESS, *OTHERS):
            store.log_in(terms, address, ago=address[0])
        terms.user_limit, store.failing = 1, failing
        assert self.kept(store, terms) == {ADDRESS, *OTHERS}

    def test_of_log_ins_of_one_second_one_is_left(self) -> None:
        """However the operations of two log-ins are interleaved, they do not end each other, if
        the one that waits does so until the other one is done.
        """
        for order in itertools.product([0, 1], repeat=10):
            store, terms = MemoryStore(), PlainTerms()
            for address in OTHERS[:2]:
                payload = b'{"user": "1"}'
                drive(changes.create(terms, address, {"user": "1"}, payload), Methods(store))
            terms.user_limit = 1
            running = [exchange.keep_to_limit(terms, "1", address) for address in OTHERS[:2]]
            pending: list[Any] = [next(one) for one in running]
            for number in (*order, *(0, 1) * 20):
                asked, answer = pending[number], None
                if isinstance(asked, Operation):
                    answer = getattr(store, asked.name)(*asked.arguments)
                elif asked is None or pending[1 - number] is not None:
                    # It is done, or waits while the other one ends what it is about to end.
                    continue
                try:
                    pending[number] = running[number].send(answer)
                except StopIteration:
                    pending[number] = None
            assert pending == [None, None]
            assert len([one for one in OTHERS if store.read(one)]) == 1, order


def test_what_a_pause_or_a_call_gives_reaches_the_exchange_in_both_drivers() -> None:
    class Methods_:
        def twice(self, number: int) -> int:
            return 2 * number

        def fail(self) -> None:
            raise KeyError("named")

    class Coroutines:
        async def twice(self, number: int) -> int:
            return 2 * number

        async def fail(self) -> None:
            raise KeyError("named")

    def asked() -> Any:
        yield Wait(0.001)
        try:
            yield Operation("fail", ())
        except KeyError as error:
            caught = error.args[0]
        return caught, (yield Operation("twice", (21,)))

    assert drive(asked(), Methods(Methods_())) == ("named", 42)
    assert asyncio.run(drive_async(asked(), Methods(Coroutines()))) == ("named", 42)
