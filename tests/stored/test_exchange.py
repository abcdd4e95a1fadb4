"""What is asked of a store in which order: driven asynchronously, and interleaved at will."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_fernet import Fernet, SessionRejected
from flask_fernet._core import RecordKeys, SessionKeys
from flask_fernet.driver import Methods, Operation, Wait, drive, drive_async
from flask_fernet.stored import changes, exchange
from flask_fernet.stored.changes import Change, Identity, Outcome
from flask_fernet.stored.exchange import Terms
from flask_fernet.stored.feed import Feed
from flask_fernet.stored.merging import merge
from flask_fernet.stored.records import Loaded, Snapshot, opened
from flask_fernet.stores.memory import AsyncMemoryStore, MemoryStore

ADDRESS = b"a" * 32
KEYS = RecordKeys(SessionKeys([("key", Fernet.generate_key())], "salt"))


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
