"""The sessions of a user: listed, limited, and ended everywhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from flask import Flask, session

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet, StoreUnavailable
from flask_fernet.stored.feed import INTERVAL
from tests.apps import encrypted_app
from tests.clock import Clock
from tests.storing import MakeStoring, RecordingStore, act, cookie_of, storing_app, with_cookie

DAY = 24 * 3600


@pytest.fixture
def app(storing: Flask) -> Flask:
    """An app with stored sessions, in place of the one that the other tests have."""
    return storing


def sessions_of(app: Flask) -> EncryptedSessionInterface:
    found = app.session_interface
    assert isinstance(found, EncryptedSessionInterface)
    return found


def logged_in(app: Flask, user: str) -> Any:
    client = app.test_client()
    assert client.get(f"/login/{user}").status_code == 200
    return client


def is_in(client: Any) -> bool:
    return "_user_id" in client.get("/read").text


def test_a_list_shows_every_session_of_one_user(
    app: Flask, store: RecordingStore, clock: Clock
) -> None:
    first = logged_in(app, "1")
    clock.now += 100
    second = logged_in(app, "1")
    logged_in(app, "2")
    second.post("/write", json={"agent": "phone"})
    with app.app_context():
        found = sessions_of(app).list("1")
    assert [one.is_current for one in found] == [False, False]
    assert [one.data.get("agent") for one in found] == ["phone", None]
    newest, oldest = found
    assert newest.created == newest.last_used == datetime.fromtimestamp(clock.now, timezone.utc)
    assert (newest.created - oldest.created).total_seconds() == 100
    assert (newest.expires - newest.created).days == 31
    listed = act(first, lambda: [one.is_current for one in sessions_of(app).list("1")])
    assert listed.text == "[False, True]"
    assert sessions_of(app).list("3", app=app) == []
    assert sessions_of(app).list(1, app=app)[0].handle == newest.handle


def test_a_handle_names_a_session_and_opens_nothing(app: Flask) -> None:
    client = app.test_client()
    before = act(client, lambda: session.handle)  # type: ignore[attr-defined]
    assert "Set-Cookie" not in before.headers

    def log_in() -> object:
        handle = session.handle  # type: ignore[attr-defined]
        session.update(_user_id="1", kept=1)
        return handle

    handle = act(client, log_in).text
    assert act(client, lambda: session.handle).text == handle  # type: ignore[attr-defined]
    assert [one.handle for one in sessions_of(app).list("1", app=app)] == [handle]
    client.get("/regenerate")
    client.get("/logout")
    assert act(client, lambda: session.handle).text == handle  # type: ignore[attr-defined]
    assert not is_in(with_cookie(app, handle))


def test_one_session_is_ended_and_no_other(app: Flask) -> None:
    first, second = logged_in(app, "1"), logged_in(app, "1")
    handle = act(first, lambda: session.handle).text  # type: ignore[attr-defined]
    assert sessions_of(app).revoke(handle, app=app) is True
    assert sessions_of(app).store_events["ended"] == 1
    assert sessions_of(app).revoke(handle, app=app) is False
    assert sessions_of(app).revoke("nonsense", app=app) is False
    assert sessions_of(app).store_events["ended"] == 1
    assert first.get("/rejected").text == "gone"
    assert is_in(second)
    assert len(sessions_of(app).list("1", app=app)) == 1


def test_a_session_ends_itself(app: Flask, store: RecordingStore) -> None:
    for use in (lambda: None, lambda: session.get("_user_id")):
        client = logged_in(app, "1")
        former = cookie_of(client)

        def leave(use: Callable[[], object] = use) -> tuple[object, ...]:
            use()
            return session.revoke(), dict(session), session.revoke()  # type: ignore[attr-defined]

        response = act(client, leave)
        assert response.text == "(True, {}, False)"
        assert "Max-Age=0" in response.headers["Set-Cookie"]
        assert store.statistics().live == 0
        assert not is_in(with_cookie(app, former))

    def anew() -> None:
        session.revoke()  # type: ignore[attr-defined]
        session["a"] = 1

    client = logged_in(app, "1")
    former = cookie_of(client)
    act(client, anew)
    assert client.get("/read").text == "{'a': 1}"
    assert cookie_of(client) != former
    # A session that was never stored.
    assert act(app.test_client(), lambda: session.revoke()).text == "False"  # type: ignore[attr-defined]


def test_a_superseded_cookie_leads_to_no_handle_and_ends_nothing(
    app: Flask, store: RecordingStore
) -> None:
    """Otherwise a session that was planted before a log-in would do both after it."""
    planted = app.test_client()
    planted.post("/write", json={"a": 1})
    victim = with_cookie(app, cookie_of(planted))
    victim.get("/login/1")
    handle = act(victim, lambda: session.handle).text  # type: ignore[attr-defined]
    assert act(planted, lambda: session.handle).text != handle  # type: ignore[attr-defined]
    response = act(planted, lambda: session.revoke())  # type: ignore[attr-defined]
    assert response.text == "False"
    assert "Set-Cookie" not in response.headers
    assert is_in(victim)
    victim.get("/clear")
    gone = with_cookie(app, cookie_of(planted))
    assert "Set-Cookie" not in act(gone, lambda: session.revoke()).headers  # type: ignore[attr-defined]


def test_all_sessions_of_a_user_are_ended(app: Flask, store: RecordingStore) -> None:
    clients = [logged_in(app, "1") for _ in range(3)]
    other = logged_in(app, "2")
    assert sessions_of(app).revoke_user("1", app=app) == 3
    assert not any(is_in(client) for client in clients)
    assert is_in(other)
    assert sessions_of(app).list("1", app=app) == []
    # Whoever logs in now is in, and stays so.
    again = logged_in(app, "1")
    assert is_in(again)
    assert len(sessions_of(app).list("1", app=app)) == 1


def test_the_present_session_may_go_on(app: Flask) -> None:
    client, others = logged_in(app, "1"), [logged_in(app, "1") for _ in range(2)]
    former = cookie_of(client)
    ended = act(client, lambda: sessions_of(app).revoke_user("1", keep_current=True))
    assert ended.text == "2"
    assert cookie_of(client) != former
    for _ in range(2):
        assert is_in(client)
    assert not any(is_in(other) for other in others)
    assert not is_in(with_cookie(app, former))


def test_the_present_session_goes_on_at_once(app: Flask) -> None:
    """Another request of the same browser may be under way."""
    client = logged_in(app, "1")
    other = with_cookie(app, cookie_of(client))
    seen: list[Any] = []

    def keep() -> None:
        sessions_of(app).revoke_user("1", keep_current=True)
        response = other.post("/write", json={"a": 1})
        seen.append((response.status_code, response.headers.get("Set-Cookie")))
        session["kept"] = 1

    act(client, keep)
    # The request with the former cookie is refused, and leaves the browser alone.
    assert seen == [(200, None)]
    assert "'kept': 1" in client.get("/read").text
    # A view that dies does not end it either.
    former = cookie_of(client)

    def die() -> None:
        sessions_of(app).revoke_user("1", keep_current=True)
        raise LookupError

    assert act(client, die).status_code == 500
    assert cookie_of(client) != former
    assert is_in(client)


def test_a_session_that_was_lost_is_not_the_present_one(app: Flask, store: RecordingStore) -> None:
    client = logged_in(app, "1")
    former = cookie_of(client)
    client.get("/regenerate")
    superseded = with_cookie(app, former)
    listed = act(superseded, lambda: [one.is_current for one in sessions_of(app).list("1")])
    assert listed.text == "[False]"
    assert act(superseded, lambda: sessions_of(app).revoke_user("1", keep_current=True)).text == "1"


def test_a_user_is_found_in_any_type(make: MakeStoring) -> None:
    app = make(SESSION_USER_KEY="uid")
    client = app.test_client()
    client.post("/write", json={"uid": 42})
    assert len(sessions_of(app).list(42, app=app)) == 1
    assert sessions_of(app).list("42", app=app) == []
    assert sessions_of(app).revoke_user(42, app=app) == 1
    assert client.get("/read").text == "{}"
    for wrong in (None, 1.5, ["42"]):
        with pytest.raises(ConfigurationError, match="str, int or UUID"):
            sessions_of(app).list(wrong, app=app)
    # What cannot be indexed is refused, or it could not be found either.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ConfigurationError, match="str, int or UUID, not list"):
        app.test_client().post("/write", json={"uid": [42]})


class TestFeed:
    """A revocation reaches every worker, whether or not the index was complete."""

    def test_sessions_that_left_the_index_are_refused(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        clock.freeze_monotonic()
        worker, other = make(), make()
        client = logged_in(worker, "1")
        assert is_in(with_cookie(other, cookie_of(client)))
        (entry,) = store._entries.values()
        entry.owner = None
        clock.now += 5
        assert sessions_of(worker).revoke_user("1", app=worker) == 0
        assert client.get("/rejected").text == "revoked"
        # The other worker asks once a second.
        clock.monotonic += INTERVAL
        assert with_cookie(other, cookie_of(client)).get("/rejected").text == "revoked"
        assert sessions_of(worker).list("1", app=worker) == []

    def test_everybody_is_logged_out(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        clock.freeze_monotonic()
        worker, other = make(), make()
        clients = [logged_in(worker, "1"), logged_in(other, "2")]
        anonymous = worker.test_client()
        anonymous.post("/write", json={"a": 1})
        clock.now += 5
        sessions_of(worker).revoke_all(app=worker)
        clock.monotonic += INTERVAL
        for client in (*clients, anonymous):
            assert client.get("/rejected").text == "revoked"
        # Also at a worker whose clock is a second behind, and which has just asked the feed.
        clock.now -= 1
        again = logged_in(other, "1")
        clock.now += 3
        clock.monotonic += INTERVAL
        assert is_in(again)
        assert is_in(with_cookie(worker, cookie_of(again)))
        assert len(sessions_of(worker).list("1", app=worker)) == 1

    def test_a_worker_ahead_of_the_others_does_not_miss_a_revocation(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        clock.freeze_monotonic()
        worker, ahead = make(), make()
        with clock.at(clock.now + 1):
            client = logged_in(ahead, "1")
        sessions_of(worker).revoke_user("1", app=worker)
        clock.monotonic += INTERVAL
        assert not is_in(with_cookie(ahead, cookie_of(client)))

    def test_a_list_knows_the_latest_revocations(self, make: MakeStoring, clock: Clock) -> None:
        clock.freeze_monotonic()
        worker, other = make(), make()
        logged_in(worker, "1")
        assert len(sessions_of(other).list("1", app=other)) == 1
        clock.now += 5
        sessions_of(worker).revoke_all(app=worker)
        assert sessions_of(other).list("1", app=other) == []

    def test_two_revocations_within_a_second_spare_nobody_between_them(
        self, app: Flask, clock: Clock
    ) -> None:
        sessions_of(app).revoke_all(app=app)
        between = logged_in(app, "1")
        assert is_in(between)
        sessions_of(app).revoke_all(app=app)
        assert not is_in(between)
        assert is_in(logged_in(app, "1"))

    def test_a_request_under_way_does_not_lift_a_revocation(self, app: Flask, clock: Clock) -> None:
        client = logged_in(app, "1")
        clock.now += 5

        def regenerate() -> None:
            dict(session)
            sessions_of(app).revoke_all()
            session.regenerate()  # type: ignore[attr-defined]

        assert "Set-Cookie" not in act(client, regenerate).headers
        assert not is_in(client)

    def test_a_store_whose_clock_is_behind_revokes_all_the_same(
        self, app: Flask, store: RecordingStore, clock: Clock
    ) -> None:
        client = logged_in(app, "1")
        clock.now += 5
        revoke = store.revoke

        def slow(subject: bytes, moment: int, keep_for: int) -> int:
            with clock.at(clock.now - 30):
                return revoke(subject, moment, keep_for)

        store.revoke = slow  # type: ignore[method-assign]
        sessions_of(app).revoke_all(app=app)
        assert not is_in(client)

    def test_a_visitor_after_a_revocation_keeps_the_session(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        clock.freeze_monotonic()
        worker, other = make(), make()
        # The other worker has just asked the feed.
        other.test_client().post("/write", json={"a": 1})
        sessions_of(worker).revoke_all(app=worker)
        visitor = other.test_client()
        visitor.post("/write", json={"csrf_token": "x"})
        clock.now += 1
        clock.monotonic += INTERVAL
        assert "csrf_token" in visitor.get("/read").text

    def test_the_feed_is_asked_once_a_second_and_not_by_untouched_requests(
        self, app: Flask, store: RecordingStore, clock: Clock
    ) -> None:
        clock.freeze_monotonic()
        client = logged_in(app, "1")
        asked: list[int] = []
        since = store.revoked_since
        store.revoked_since = lambda moment: asked.append(moment) or since(moment)  # type: ignore[method-assign, func-returns-value]
        clock.monotonic += INTERVAL
        for _ in range(5):
            client.get("/nothing")
        assert asked == []
        for _ in range(5):
            assert is_in(client)
        assert len(asked) == 1
        clock.monotonic += INTERVAL
        assert is_in(client)
        assert len(asked) == 2


class TestLimit:
    def test_the_session_that_was_not_used_for_longest_ends(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        app = make(SESSION_USER_LIMIT=2, PERMANENT_SESSION_LIFETIME=10 * DAY)
        first = logged_in(app, "1")
        clock.now += 2 * DAY
        second = logged_in(app, "1")
        clock.now += 2 * DAY
        # This one is used, and so renewed.
        assert is_in(first)
        clock.now += DAY
        third = logged_in(app, "1")
        other = logged_in(app, "2")
        assert [is_in(one) for one in (first, second, third, other)] == [True, False, True, True]

    def test_two_log_ins_at_once_do_not_end_each_other(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        app = make(SESSION_USER_LIMIT=1)
        owned = store.owned
        inner: list[Any] = []

        def between(owners: Any) -> Any:
            # The other one has stored its session when this one looks, and the other way round.
            if not inner:
                inner.append(None)
                inner[0] = logged_in(app, "1")
            return owned(owners)

        store.owned = between  # type: ignore[method-assign]
        outer = logged_in(app, "1")
        assert [is_in(outer), is_in(inner[0])].count(True) == 1

    def test_a_failure_after_the_log_in_is_no_error(
        self, make: MakeStoring, store: RecordingStore
    ) -> None:
        app = make(SESSION_USER_LIMIT=1)

        def away(owners: Any) -> Any:
            raise StoreUnavailable("owned", "it is away")

        store.owned = away  # type: ignore[method-assign]
        assert is_in_later(app, logged_in(app, "1"))

    def test_entries_that_lead_nowhere_do_not_count(
        self, make: MakeStoring, store: RecordingStore
    ) -> None:
        app = make(SESSION_USER_LIMIT=1)
        first = logged_in(app, "1")
        (gone,) = store._entries
        owned = store.owned
        store.owned = lambda owners: [b"x" * 32, *owned(owners)]  # type: ignore[method-assign]
        second = logged_in(app, "1")
        assert not is_in(first)
        assert is_in(second)
        assert gone not in store._entries


def is_in_later(app: Flask, client: Any) -> bool:
    """Whether a client is in once the store is asked again."""
    storage = sessions_of(app)._policy(app).storage
    assert storage is not None
    storage.store._closed_until = 0
    return is_in(client)


class TestKeys:
    def test_sessions_under_an_older_key_are_found(self, make: MakeStoring) -> None:
        old, new = Fernet.generate_key(), Fernet.generate_key()
        before = make(EncryptedSessionInterface(keys=[old]))
        clients = [logged_in(before, "1") for _ in range(2)]
        rotated = make(EncryptedSessionInterface(keys=[new, old]))
        moved = with_cookie(rotated, cookie_of(clients[0]))
        assert is_in(moved)
        third = logged_in(rotated, "1")
        assert len(sessions_of(rotated).list("1", app=rotated)) == 3
        assert sessions_of(rotated).revoke_user("1", app=rotated) == 3
        assert not is_in(third)
        assert not is_in(with_cookie(rotated, cookie_of(clients[1])))

    def test_a_write_under_a_newer_key_moves_the_entry(
        self, make: MakeStoring, store: RecordingStore
    ) -> None:
        old, new = Fernet.generate_key(), Fernet.generate_key()
        client = logged_in(make(EncryptedSessionInterface(keys=[old])), "1")
        rotated = make(EncryptedSessionInterface(keys=[new, old]))
        moved = with_cookie(rotated, cookie_of(client))
        moved.post("/write", json={"a": 1})
        newest = make(EncryptedSessionInterface(keys=[new]))
        assert len(sessions_of(newest).list("1", app=newest)) == 1


class TestOutage:
    @pytest.mark.parametrize("errors", ["raise", "readonly"])
    def test_a_revocation_that_cannot_be_made_raises(
        self, make: MakeStoring, store: RecordingStore, errors: str
    ) -> None:
        app = make(SESSION_STORE_ERRORS=errors)
        logged_in(app, "1")
        store.is_away = True
        sessions = sessions_of(app)
        for revoke in (
            lambda: sessions.revoke_user("1", app=app),
            lambda: sessions.revoke("A" * 43, app=app),
            lambda: sessions.revoke_all(app=app),
            lambda: sessions.list("1", app=app),
        ):
            with pytest.raises(StoreUnavailable):
                revoke()

        def leave() -> str:
            with pytest.raises(StoreUnavailable):
                session.revoke()  # type: ignore[attr-defined]
            return "raised"

        assert act(logged_in_before(app, store), leave).text == "raised"


def logged_in_before(app: Flask, store: RecordingStore) -> Any:
    """A client that logged in before the store went away."""
    store.is_away = False
    guarded = sessions_of(app)._policy(app).storage
    assert guarded is not None
    guarded.store._closed_until = 0
    client = logged_in(app, "1")
    store.is_away = True
    return client


def test_sessions_in_cookies_can_be_neither_listed_nor_ended() -> None:
    app = encrypted_app()
    sessions = sessions_of(app)
    for use in (
        lambda: sessions.list("1", app=app),
        lambda: sessions.revoke("A" * 43, app=app),
        lambda: sessions.revoke_user("1", app=app),
        lambda: sessions.revoke_all(app=app),
    ):
        with pytest.raises(ConfigurationError, match="set SESSION_STORE"):
            use()
    with app.test_request_context():
        assert session.handle is None  # type: ignore[attr-defined]
        with pytest.raises(ConfigurationError, match="set SESSION_STORE"):
            session.revoke()  # type: ignore[attr-defined]


class Plain:
    """A store that does no more than it must."""

    def __init__(self, store: RecordingStore) -> None:
        self.read, self.create = store.read, store.create
        self.replace, self.delete = store.replace, store.delete


def test_a_store_that_finds_no_users_says_so(store: RecordingStore, implementation: str) -> None:
    app = storing_app(Plain(store), implementation)
    client = logged_in(app, "1")
    assert is_in(client)
    sessions = sessions_of(app)
    for use, what in (
        (lambda: sessions.list("1", app=app), "finds the sessions of a user"),
        (lambda: sessions.revoke_user("1", app=app), "finds the sessions of a user"),
        (lambda: sessions.revoke_all(app=app), "passes revocations on"),
    ):
        with pytest.raises(ConfigurationError, match=what):
            use()
    handle = act(client, lambda: session.handle).text  # type: ignore[attr-defined]
    assert sessions.revoke(handle, app=app)
    with pytest.raises(ConfigurationError, match=r"SESSION_USER_LIMIT needs .* owned\(\)"):
        storing_app(Plain(store), implementation, SESSION_USER_LIMIT=2)


@pytest.mark.parametrize(
    ("ended_by", "comes_back"),
    [("log-in", True), ("log-out", True), ("revoke", True), ("revoke_user", False)],
)
def test_a_store_that_is_rolled_back_brings_back_sessions_of_former_cookies(
    app: Flask, store: RecordingStore, clock: Clock, ended_by: str, comes_back: bool
) -> None:
    """What somebody can do who writes to the store and has a session's former cookie: the record
    and the cookie fit together again. The list of revocations is not put back here.
    """
    clock.freeze_monotonic()
    client = logged_in(app, "alice")
    former, records = cookie_of(client), copy.deepcopy(store._entries)
    with app.app_context():
        (found,) = sessions_of(app).list("alice")
    clock.now += 10
    if ended_by == "revoke":
        with app.app_context():
            sessions_of(app).revoke(found.handle)
    elif ended_by == "revoke_user":
        with app.app_context():
            sessions_of(app).revoke_user("alice")
        clock.monotonic += INTERVAL + 1
    else:
        client.get("/logout" if ended_by == "log-out" else "/login/bob")
    assert not is_in(with_cookie(app, former))
    store._entries.clear()
    store._entries.update(records)
    assert is_in(with_cookie(app, former)) == comes_back
