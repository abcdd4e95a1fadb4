"""Stored sessions: what is asked of the store, and what the browser gets."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask, session
from flask.testing import FlaskClient

from flask_fernet import (
    EncryptedSession,
    EncryptedSessionInterface,
    Fernet,
    SessionConflict,
    SessionTooLarge,
    StoreUnavailable,
    session_conflict,
    session_migrated,
    session_rejected,
    store_unavailable,
)
from flask_fernet._core import SessionKeys, read_reference
from flask_fernet.errors import Reason
from tests.apps import SECRET, encrypted_app, expiry_of, opened, signed_app, token_of
from tests.clock import Clock
from tests.storing import (
    MakeStoring,
    RecordingStore,
    act,
    add_storing_views,
    cookie_of,
    failing_once_saved,
    storing_app,
    with_cookie,
)

DAY = 24 * 3600
OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


@pytest.fixture
def app(storing: Flask) -> Flask:
    """An app with stored sessions, in place of the one that the other tests have."""
    return storing


def write(client: FlaskClient, **data: Any) -> Any:
    return client.post("/write", json=data)


def publish(response: Any) -> Any:
    response.cache_control.public = True
    return response


def text(client: FlaskClient, path: str = "/read") -> str:
    return client.get(path).text


def test_the_cookie_holds_a_reference_and_the_store_a_record(
    app: Flask, store: RecordingStore
) -> None:
    client = app.test_client()
    response = write(client, a=1)
    payload, _ = opened(app, token_of(response.headers["Set-Cookie"]))
    assert len(payload) == 80
    assert list(json.loads(payload)) == ["flask-fernet:stored"]
    (record,) = (entry.record for entry in store._entries.values())
    assert record[0] == 0xA3
    assert b'"a"' not in record
    assert text(client) == "{'a': 1}"


def test_each_request_asks_no_more_than_it_must(app: Flask, store: RecordingStore) -> None:
    client = app.test_client()
    expected: list[tuple[Callable[[], Any], list[str], bool]] = [
        # Without a session nothing is asked.
        (lambda: client.get("/nothing"), [], False),
        (lambda: client.get("/read"), [], False),
        (lambda: write(client, a=1), ["create"], True),
        (lambda: client.get("/nothing"), [], False),
        (lambda: client.get("/read"), ["read"], False),
        (lambda: write(client, a=2), ["read", "replace"], False),
        # The same value again, and a list that was not changed.
        (lambda: write(client, a=2), ["read"], False),
        (lambda: client.get("/append/x"), ["read", "replace"], False),
        # Nested: Flask does not notice it, a store must.
        (lambda: client.get("/append/y"), ["read", "replace"], False),
        (lambda: client.get("/regenerate"), ["read", "replace"], True),
        (lambda: client.get("/clear"), ["read", "delete"], True),
        (lambda: client.get("/nothing"), [], False),
    ]
    for request, asked, sets_cookie in expected:
        response = request()
        assert response.status_code == 200
        assert store.taken() == asked
        assert ("Set-Cookie" in response.headers) == sets_cookie
    assert store.statistics().live == 0
    assert cookie_of(client) is None


def test_vary_is_as_for_any_session(app: Flask) -> None:
    client = app.test_client()
    assert "Vary" not in client.get("/nothing").headers
    for response in (write(client, a=1), write(client, a=2), client.get("/read")):
        assert response.headers["Vary"] == "Cookie"
    assert "Vary" not in client.get("/nothing").headers


def test_what_is_no_reference_never_reaches_the_store(app: Flask, store: RecordingStore) -> None:
    written = write(app.test_client(), a=1)
    token = token_of(written.headers["Set-Cookie"])
    flipped = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    foreign = storing_app(RecordingStore(), SECRET_KEY="another secret of many bytes")
    others = [
        "x" * 43,
        flipped,
        token_of(write(foreign.test_client(), a=1).headers["Set-Cookie"]),
        "",
        token[:-1],
    ]
    store.taken()
    for value in others[:4]:
        assert text(with_cookie(app, value)) == "{}"
    assert store.taken() == []
    # Lost padding is restored.
    assert text(with_cookie(app, token.rstrip("="))) == "{'a': 1}"


def test_data_in_a_cookie_is_refused_unless_it_is_accepted(
    make: MakeStoring, store: RecordingStore
) -> None:
    app = make(PERMANENT_SESSION_LIFETIME=DAY)
    cookie = cookie_written(encrypted_app(SECRET_KEY=SECRET))
    client = with_cookie(app, cookie)
    assert text(client) == "{}"
    assert app.session_interface.rejections["malformed"] == 1  # type: ignore[attr-defined]
    accepting = make(SESSION_ENCRYPTION_ACCEPT="cookie")
    client = with_cookie(accepting, cookie)
    migrated: list[str] = []
    with session_migrated.connected_to(lambda _, format: migrated.append(format)):
        response = client.get("/read")
    assert response.text == "{'a': 1}"
    assert "Set-Cookie" in response.headers
    assert migrated == ["cookie"]
    assert store.taken() == ["create"]
    assert text(with_cookie(app, cookie_of(client))) == "{'a': 1}"
    assert accepting.session_interface.migrations["cookie"].count == 1  # type: ignore[attr-defined]


def cookie_written(app: Flask, **data: Any) -> str:
    client = add_storing_views(app).test_client()
    write(client, **(data or {"a": 1}))
    value = cookie_of(client)
    assert value is not None
    return value


def test_a_cookie_session_that_nobody_touches_is_not_moved(
    make: MakeStoring, store: RecordingStore
) -> None:
    app = make(SESSION_ENCRYPTION_ACCEPT=["cookie"])
    client = with_cookie(app, cookie_written(encrypted_app()))
    assert "Set-Cookie" not in client.get("/nothing").headers
    assert store.taken() == []


def test_a_signed_session_moves_to_the_store(make: MakeStoring, store: RecordingStore) -> None:
    signed = signed_app()
    client = signed.test_client()
    write(client, a=1)
    app = make(SESSION_ENCRYPTION_ACCEPT=["flask-signed"])
    moved = with_cookie(app, cookie_of(client))
    assert text(moved) == "{'a': 1}"
    assert store.taken() == ["create"]
    assert text(moved) == "{'a': 1}"
    store.taken()
    # A reference is always encrypted: signed, it is data like any other, and refused at saving.
    forged = signed.test_client()
    write(forged, **{"flask-fernet:stored": "A" * 54})
    assert text(with_cookie(app, cookie_of(forged)), "/nothing") == "nothing"
    assert store.taken() == []


@pytest.mark.parametrize("stores", [False, True])
@pytest.mark.parametrize("written", ["fernet", "xaes-256-gcm"])
@pytest.mark.parametrize("sent", ["flask-signed", "fernet", "xaes-256-gcm"])
def test_a_migration_is_counted_by_the_format_or_the_place_that_a_session_leaves(
    make: MakeStoring, sent: str, written: str, stores: bool
) -> None:
    config: dict[str, Any]
    is_signed = sent == "flask-signed"
    sender = signed_app()
    if not is_signed:
        config = {"SECRET_KEY": SECRET, "SESSION_ENCRYPTION_FORMAT": sent}
        sender = add_storing_views(encrypted_app(**config))
    client = sender.test_client()
    write(client, a=1)
    accepted = [*([] if sent == written else [sent]), *(["cookie"] if stores else [])]
    config = {} if stores else {"SESSION_STORE": None}
    app = make(SESSION_ENCRYPTION_FORMAT=written, SESSION_ENCRYPTION_ACCEPT=accepted, **config)
    assert text(with_cookie(app, cookie_of(client))) == "{'a': 1}"
    left = "cookie" if stores and not is_signed else sent
    expected = {} if left == written else {left: 1}
    migrations = EncryptedSessionInterface.of(app).migrations
    assert {name: one.count for name, one in migrations.items() if one.count} == expected


@pytest.mark.parametrize("sent", ["fernet", "xaes-256-gcm"])
def test_a_reference_in_another_format_is_written_anew(make: MakeStoring, sent: str) -> None:
    (written,) = {"fernet", "xaes-256-gcm"} - {sent}
    client = make(SESSION_ENCRYPTION_FORMAT=sent).test_client()
    write(client, a=1)
    accepting = make(SESSION_ENCRYPTION_FORMAT=written, SESSION_ENCRYPTION_ACCEPT=[sent])
    client = with_cookie(accepting, cookie_of(client))
    assert "Set-Cookie" in client.get("/read").headers
    assert "Set-Cookie" not in client.get("/read").headers
    app = make(SESSION_ENCRYPTION_FORMAT=written)
    assert text(with_cookie(app, cookie_of(client))) == "{'a': 1}"


def test_two_deploys_move_an_app_to_a_store_and_back(
    make: MakeStoring, store: RecordingStore, implementation: str
) -> None:
    workers = [
        make(SESSION_STORE=None),
        make(SESSION_ENCRYPTION_ACCEPT=["store"]),
        make(SESSION_ENCRYPTION_ACCEPT=["cookie"]),
        make(),
        make(SESSION_ENCRYPTION_ACCEPT=["cookie"]),
        make(SESSION_ENCRYPTION_ACCEPT=["store"]),
    ]
    client = workers[0].test_client()
    write(client, count=0)
    cookie, count = cookie_of(client), 0
    for before, after in itertools.pairwise(workers):
        for worker in (before, after, before, after, after):
            client = with_cookie(worker, cookie)
            assert text(client) == f"{{'count': {count}}}"
            count += 1
            write(client, count=count)
            cookie = cookie_of(client)
    # It stays in the store while it lives, at the cost that it had; a new one is in its cookie.
    store.taken()
    client = with_cookie(workers[-1], cookie)
    client.get("/nothing")
    assert store.taken() == []
    assert text(client) == f"{{'count': {count}}}"
    assert store.taken() == ["read"]
    store._entries.clear()
    write(client, a=1)
    assert store.taken() == ["read"]
    payload, _ = opened(workers[-1], cookie_of(client) or "")
    assert payload == b'{"a":1}'
    new = workers[-1].test_client()
    write(new, a=1)
    assert store.taken() == []
    payload, _ = opened(workers[-1], cookie_of(new) or "")
    assert payload == b'{"a":1}'


def test_a_reference_is_refused_where_there_is_no_store(make: MakeStoring) -> None:
    client = make().test_client()
    write(client, a=1)
    without = make(SESSION_STORE=None)
    assert text(with_cookie(without, cookie_of(client))) == "{}"
    assert without.session_interface.rejections["malformed"] == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", ["stored", "cookie"])
def test_an_app_cannot_set_a_reserved_key(
    make: MakeStoring, place: str, implementation: str
) -> None:
    app = make(PROPAGATE_EXCEPTIONS=True, **({"SESSION_STORE": None} if place == "cookie" else {}))
    with pytest.raises(ValueError, match="must not have a key that begins with 'flask-fernet:'"):
        write(app.test_client(), **{"flask-fernet:stored": "A" * 54})


class TestIdentity:
    """The former cookie is refused after a log-in, a log-out and ``regenerate()``."""

    @pytest.mark.parametrize("user_key", ["_user_id", "uid"])
    def test_a_planted_session_is_refused_after_the_log_in(
        self, make: MakeStoring, user_key: str, store: RecordingStore, clock: Clock
    ) -> None:
        app = make(SESSION_USER_KEY=user_key)
        attacker = app.test_client()
        write(attacker, cart=1)
        planted = cookie_of(attacker)
        victim = with_cookie(app, planted)
        write(victim, **{user_key: "victim"})
        assert cookie_of(victim) != planted
        assert text(victim) == f"{{'{user_key}': 'victim', 'cart': 1}}" or "victim" in text(victim)
        seen: list[Reason] = []
        with session_rejected.connected_to(lambda _, reason: seen.append(reason)):
            assert text(attacker) == "{}"
            assert text(attacker, "/rejected") == "superseded"
        assert seen == [Reason.SUPERSEDED] * 2
        # One record: nothing moved.
        assert store.statistics().live == 1

    def test_logging_in_again_refuses_the_former_cookie(self, make: MakeStoring) -> None:
        from flask_login import LoginManager, UserMixin, login_user

        class User(UserMixin):  # type: ignore[misc]
            id = "1"

        app = make()
        LoginManager(app).user_loader(lambda _: User())
        client = app.test_client()
        act(client, lambda: login_user(User()))
        stolen = cookie_of(client)
        act(client, lambda: login_user(User()))
        assert cookie_of(client) != stolen
        assert text(with_cookie(app, stolen)) == "{}"
        assert "'_user_id': '1'" in text(client)

    @pytest.mark.parametrize("path", ["/login/2", "/logout", "/regenerate"])
    def test_each_change_of_identity_refuses_the_former_cookie(self, app: Flask, path: str) -> None:
        client = app.test_client()
        write(client, a=1)
        client.get("/login/1")
        former = cookie_of(client)
        client.get(path)
        assert cookie_of(client) != former
        assert text(with_cookie(app, former)) == "{}"
        assert "'a': 1" in text(client)

    def test_a_log_in_of_the_same_user_changes_nothing(self, app: Flask) -> None:
        client = app.test_client()
        client.get("/login/user-1")
        former = cookie_of(client)
        client.get("/login/user-1")
        assert cookie_of(client) == former

    def test_a_request_with_the_former_cookie_leaves_the_browser_alone(
        self, app: Flask, clock: Clock
    ) -> None:
        client = app.test_client()
        write(client, a=1)
        beacon, later = (with_cookie(app, cookie_of(client)) for _ in range(2))
        client.get("/login/1")
        outcomes: list[str] = []
        with session_conflict.connected_to(lambda _, outcome, keys: outcomes.append(outcome)):
            for response in (beacon.get("/read"), write(beacon, b=1), beacon.get("/clear")):
                assert "Set-Cookie" not in response.headers
        assert outcomes == ["superseded"]
        # But a log-in counts, and so does a browser that never got the new cookie.
        assert "Set-Cookie" in with_cookie(app, cookie_of(beacon)).get("/login/2").headers
        clock.now += 9
        assert "Set-Cookie" not in write(beacon, b=1).headers
        clock.now += 1
        assert "Set-Cookie" in write(beacon, b=1).headers
        assert text(beacon) == "{'b': 1}"
        clock.now += 1
        assert "Set-Cookie" in write(later, b=1).headers
        assert "'_user_id': '1'" in text(client)


class TestEnd:
    """A session that has ended does not come back."""

    def test_a_session_that_is_gone_is_a_new_one(self, app: Flask, store: RecordingStore) -> None:
        client = app.test_client()
        write(client, a=1)
        former = cookie_of(client)
        store._entries.clear()
        response = client.get("/read")
        assert response.text == "{}"
        assert "Set-Cookie" not in response.headers
        assert text(client, "/rejected") == "gone"
        write(client, b=1)
        assert cookie_of(client) != former
        assert text(client) == "{'b': 1}"
        assert text(with_cookie(app, former)) == "{}"

    def test_a_slow_request_does_not_bring_a_session_back(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = app.test_client()
        client.get("/login/1")
        other = with_cookie(app, cookie_of(client))

        def slow() -> None:
            session["slow"] = 1
            assert other.get("/clear").status_code == 200

        response = act(with_cookie(app, cookie_of(client)), slow)
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers
        assert store.statistics().live == 0

    def test_of_two_log_outs_the_second_leaves_the_browser_alone(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = app.test_client()
        client.get("/login/1")
        first, second = (with_cookie(app, cookie_of(client)) for _ in range(2))
        assert "Set-Cookie" in first.get("/clear").headers
        assert "Set-Cookie" not in second.get("/clear").headers

    def test_what_is_popped_empty_is_removed(self, app: Flask, store: RecordingStore) -> None:
        client = app.test_client()
        write(client, a=1)
        response = client.get("/pop/a")
        assert "Max-Age=0" in response.headers["Set-Cookie"]
        # For a minute, because another request may have read it.
        (entry,) = store._entries.values()
        assert entry.expires <= time.time() + 60

    def test_what_another_request_puts_into_an_emptied_session_stays(
        self, app: Flask, store: RecordingStore, clock: Clock
    ) -> None:
        client = app.test_client()
        write(client, a=1)
        other = with_cookie(app, cookie_of(client))

        def late() -> None:
            dict(session)
            client.get("/pop/a")
            session["b"] = 1

        assert act(other, late).status_code == 200
        clock.now += 600
        assert text(other) == "{'b': 1}"

    def test_who_pops_the_last_key_does_not_end_what_another_has_written(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = app.test_client()
        write(client, a=1)
        other = with_cookie(app, cookie_of(client))

        def slow() -> None:
            session.pop("a")
            write(other, b=1)

        response = act(client, slow)
        assert "Set-Cookie" not in response.headers
        assert text(client) == "{'b': 1}"


class TestTogether:
    """Two requests at once."""

    def run(self, app: Flask, client: FlaskClient, mine: Any, theirs: Any) -> Any:
        """Lets another request do ``theirs`` after this one has read, and before it writes."""
        cookie = cookie_of(client)

        def view() -> None:
            dict(session)
            theirs(with_cookie(app, cookie))
            mine()

        return act(client, view)

    def test_both_changes_are_kept(self, app: Flask) -> None:
        client = app.test_client()
        write(client, a=1, list=[1])
        conflicts: list[Any] = []
        with session_conflict.connected_to(
            lambda _, outcome, keys: conflicts.append((outcome, keys))
        ):
            self.run(app, client, lambda: session.update(b=2), lambda other: write(other, c=3))
            self.run(app, client, lambda: session.update(a=2), lambda other: write(other, a=3))
            self.run(app, client, lambda: session["list"].append(2), lambda o: write(o, d=4))
        assert json.loads(text(client).replace("'", '"')) == {
            "a": 2, "b": 2, "c": 3, "d": 4, "list": [1, 2],
        }  # fmt: skip
        assert conflicts == [("merged", []), ("merged", ["a"]), ("merged", [])]
        events = app.session_interface.store_events  # type: ignore[attr-defined]
        assert events["merged"] == 3

    def test_a_log_out_wins_over_everything(self, app: Flask) -> None:
        client = app.test_client()
        client.get("/login/1")
        write(client, secret=1)
        response = self.run(
            app, client, lambda: session.update(b=2), lambda other: other.get("/logout")
        )
        assert "Set-Cookie" not in response.headers
        assert text(client) == "{}"

    def test_who_logs_out_keeps_nothing_of_the_others(self, app: Flask) -> None:
        client = app.test_client()
        client.get("/login/1")
        self.run(app, client, lambda: session.pop("_user_id"), lambda other: write(other, secret=1))
        assert text(client) == "{'_permanent': True}"

    def test_a_double_click_on_log_in(self, app: Flask) -> None:
        client = app.test_client()
        write(client, a=1)
        first: list[FlaskClient] = []

        def theirs(other: FlaskClient) -> None:
            other.get("/login/1")
            first.append(other)

        self.run(app, client, lambda: session.update(_user_id="1", b=2), theirs)
        # The second adopts what the first has done, so that either cookie is good.
        for one in (client, first[0]):
            assert "'_user_id': '1'" in text(one)
            assert "'b': 2" in text(one)

    def test_two_users_are_never_mixed(self, app: Flask) -> None:
        client = app.test_client()
        write(client, a=1)

        def theirs(other: FlaskClient) -> None:
            other.get("/login/1")
            write(other, secret="of 1")

        self.run(app, client, lambda: session.update(_user_id="2"), theirs)
        assert "'_user_id': '2'" in text(client)
        assert "secret" not in text(client)

    def test_clear_keeps_nothing_of_the_others(self, app: Flask) -> None:
        def cleared() -> None:
            session.clear()
            session["b"] = 2

        client = app.test_client()
        write(client, a=1)
        self.run(
            app,
            client,
            cleared,
            lambda other: write(other, c=3),
        )
        assert text(client) == "{'b': 2}"

    def test_a_request_with_the_former_cookie_does_not_get_the_new_one_by_regenerating(
        self, app: Flask
    ) -> None:
        client = app.test_client()
        client.get("/login/1")
        response = self.run(
            app,
            client,
            lambda: session.regenerate(),  # type: ignore[attr-defined]
            lambda other: other.get("/regenerate"),
        )
        assert "Set-Cookie" not in response.headers
        assert text(client) == "{}"

    def test_regenerate_keeps_both_changes(self, app: Flask) -> None:
        client = app.test_client()
        client.get("/login/1")
        former = cookie_of(client)
        self.run(
            app,
            client,
            lambda: session.regenerate(),  # type: ignore[attr-defined]
            lambda other: write(other, c=3),
        )
        assert "'c': 3" in text(client)
        assert text(with_cookie(app, former)) == "{}"

    def test_an_own_merge_decides(self, make: MakeStoring) -> None:
        class LastWins(EncryptedSessionInterface):
            def merge_sessions(self, app: Flask, base: Any, mine: Any, theirs: Any) -> Any:
                return mine

        app = make(LastWins())
        client = app.test_client()
        write(client, a=1)
        self.run(app, client, lambda: session.update(b=2), lambda other: write(other, c=3))
        assert text(client) == "{'a': 1, 'b': 2}"

        class Refuses(EncryptedSessionInterface):
            def merge_sessions(self, app: Flask, base: Any, mine: Any, theirs: Any) -> Any:
                raise SessionConflict("no")

        app = make(Refuses())
        client = app.test_client()
        write(client, a=1)
        response = self.run(
            app, client, lambda: session.update(b=2), lambda other: write(other, c=3)
        )
        assert response.status_code == 500
        assert text(client) == "{'a': 1, 'c': 3}"


class TestReceivers:
    """Receivers of signals that use the session, as audit logs do."""

    def test_of_a_refused_session(self, app: Flask, store: RecordingStore) -> None:
        client = app.test_client()
        write(client, a=1)
        store._entries.clear()
        seen: list[object] = []

        def receive(_: object, reason: Reason) -> None:
            seen.append((reason, session.get("_user_id"), session.rejected))  # type: ignore[attr-defined]

        with session_rejected.connected_to(receive):
            assert text(client) == "{}"
        assert seen == [(Reason.GONE, None, Reason.GONE)]

    def test_of_an_outage(self, app: Flask, store: RecordingStore) -> None:
        client = app.test_client()
        write(client, a=1)
        store.is_away = True
        seen: list[object] = []

        def receive(_: object, operation: str, error: object) -> None:
            with pytest.raises(StoreUnavailable):
                session.get("_user_id")
            seen.append(operation)

        with store_unavailable.connected_to(receive):
            assert client.get("/read").status_code == 503
        assert seen == ["read"]


class TestLifetimes:
    def test_a_hook_that_sends_each_cookie_renews_the_record_too(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        class Sends(EncryptedSessionInterface):
            def should_set_cookie(self, app: Flask, session: Any) -> bool:
                return True

        client = make(Sends(), PERMANENT_SESSION_LIFETIME=1000).test_client()
        client.get("/login/1")
        for _ in range(60):
            clock.now += 50
            assert "'_user_id'" in text(client)

    def test_a_session_that_moves_keeps_its_beginning(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        lifetimes: dict[str, Any] = {
            "SESSION_ABSOLUTE_LIFETIME": 100,
            "PERMANENT_SESSION_LIFETIME": 1000,
        }
        cookie = cookie_written(encrypted_app(**lifetimes), _user_id="user-1")
        clock.now += 80
        app = make(SESSION_ENCRYPTION_ACCEPT=["cookie"], **lifetimes)
        client = with_cookie(app, cookie)
        assert "'_user_id': 'user-1'" in text(client)
        clock.now += 40
        assert text(client) == "{}"
        # A log-in begins anew, also in the request that moves it.
        cookie = cookie_written(encrypted_app(**lifetimes), a=1)
        clock.now += 80
        client = with_cookie(app, cookie)
        client.get("/login/2")
        clock.now += 40
        assert "'_user_id': '2'" in text(client)

    def test_a_permanent_session_slides_without_being_touched(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        app = make(PERMANENT_SESSION_LIFETIME=10 * DAY)
        client = app.test_client()
        client.get("/login/1")
        store.taken()
        clock.now += DAY - 1
        assert "Set-Cookie" not in client.get("/nothing").headers
        assert store.taken() == []
        clock.now += 1
        assert "Set-Cookie" in client.get("/nothing").headers
        assert store.taken() == ["read", "replace"]
        for _ in range(5):
            clock.now += 9 * DAY
            client.get("/nothing")
        assert "'_user_id': '1'" in text(client)
        clock.now += 10 * DAY + 2
        assert text(client) == "{}"

    def test_a_cookie_from_a_host_whose_clock_is_ahead_is_not_old(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        client = make(PERMANENT_SESSION_LIFETIME=10 * DAY).test_client()
        with clock.at(clock.now + 5):
            client.get("/login/1")
        store.taken()
        assert "Set-Cookie" not in client.get("/nothing").headers
        assert store.taken() == []
        assert "Set-Cookie" not in write(client, a=1).headers
        assert store.taken() == ["read", "replace"]

    def test_a_browser_learns_that_a_session_is_permanent(self, app: Flask) -> None:
        client = app.test_client()
        assert "Expires" not in write(client, a=1).headers["Set-Cookie"]
        for flag in (True, False):
            response = act(client, partial(setattr, session, "permanent", flag))
            assert ("Expires" in response.headers["Set-Cookie"]) == flag
            assert "Set-Cookie" not in client.get("/read").headers

    def test_a_session_that_is_not_permanent_does_not_slide(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        app = make(PERMANENT_SESSION_LIFETIME=10 * DAY)
        client = app.test_client()
        write(client, a=1)
        clock.now += 6 * DAY
        assert "Set-Cookie" not in client.get("/read").headers
        # A change issues it anew, as Flask does.
        assert "Set-Cookie" in write(client, a=2).headers
        clock.now += 6 * DAY
        assert text(client) == "{'a': 2}"
        clock.now += 5 * DAY
        assert text(client) == "{}"

    def test_an_untouched_session_that_is_not_permanent_is_looked_at_rarely(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        client = make(PERMANENT_SESSION_LIFETIME=10 * DAY).test_client()
        write(client, a=1)
        clock.now += 2 * DAY
        store.taken()
        for _ in range(5):
            client.get("/nothing")
        assert store.taken() == ["read"]
        # It does not live longer for that.
        clock.now += 7 * DAY
        assert text(client) == "{'a': 1}"
        clock.now += DAY + 2
        assert text(client) == "{}"

    @pytest.mark.parametrize(("after", "is_looked_at"), [(0, False), (0.1, True)])
    def test_an_untouched_session_is_looked_at_only_if_time_must_pass_before(
        self, make: MakeStoring, clock: Clock, after: float, is_looked_at: bool
    ) -> None:
        app = make(SESSION_REFRESH_AFTER=after, PERMANENT_SESSION_LIFETIME=10)
        client = app.test_client()
        write(client, a=1)
        clock.now += 1
        assert ("Set-Cookie" in client.get("/nothing").headers) == is_looked_at

    @pytest.mark.parametrize(
        ("path", "again", "contents"),
        # Data that Flask does not see to have changed; a key that is set to what it was.
        [("/append/1", "/append/2", "2"), ("/login/1", "/login/1", "'_user_id': '1'")],
    )
    def test_a_change_of_any_kind_renews_a_session_that_is_old(
        self, make: MakeStoring, clock: Clock, path: str, again: str, contents: str
    ) -> None:
        app = make(SESSION_REFRESH_EACH_REQUEST=False, PERMANENT_SESSION_LIFETIME=10 * DAY)
        client = app.test_client()
        client.get(path)
        clock.now += 6 * DAY
        assert "Set-Cookie" in client.get(again).headers
        clock.now += 6 * DAY
        assert contents in text(client)

    def test_without_refreshing_nothing_is_renewed_that_was_not_changed(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        app = make(SESSION_REFRESH_EACH_REQUEST=False, PERMANENT_SESSION_LIFETIME=10 * DAY)
        client = app.test_client()
        client.get("/login/1")
        clock.now += 5 * DAY
        store.taken()
        for path in ("/nothing", "/read"):
            assert "Set-Cookie" not in client.get(path).headers
        assert store.taken() == ["read"]
        clock.now += 5 * DAY + 2
        assert text(client) == "{}"

    def test_a_public_response_renews_nothing(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        app = make(PERMANENT_SESSION_LIFETIME=10 * DAY)
        client = app.test_client()
        client.get("/login/1")
        clock.now += 5 * DAY
        store.taken()
        assert "Set-Cookie" not in client.get("/public").headers
        assert store.taken() == ["read"]

        def change() -> Any:
            session["a"] = 1
            return ""

        app.extensions["act"] = change
        app.after_request_funcs.setdefault(None, []).append(publish)
        assert "Set-Cookie" not in client.get("/act").headers
        assert store.taken() == ["read", "replace"]

    def test_the_absolute_lifetime_begins_at_the_log_in(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        app = make(PERMANENT_SESSION_LIFETIME=30 * DAY, SESSION_ABSOLUTE_LIFETIME=10 * DAY)
        client = app.test_client()
        write(client, a=1)
        clock.now += 9 * DAY
        client.get("/login/1")
        for _ in range(9):
            clock.now += DAY
            assert "'_user_id': '1'" in text(client)
        clock.now += DAY + 2
        assert text(client) == "{}"
        assert store.statistics().live == 0

    def test_a_record_older_than_the_lifetime_is_refused(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        client = make(PERMANENT_SESSION_LIFETIME=10 * DAY).test_client()
        client.get("/login/1")
        clock.now += 2 * DAY
        # The cookie is renewed, but the lifetime was shortened.
        client.get("/nothing")
        shorter = make(PERMANENT_SESSION_LIFETIME=DAY)
        clock.now += DAY + 2
        assert text(with_cookie(shorter, cookie_of(client))) == "{}"


class TestKeys:
    def test_a_session_moves_to_the_newest_key_when_it_is_used(
        self, make: MakeStoring, store: RecordingStore
    ) -> None:
        old, new = Fernet.generate_key(), Fernet.generate_key()
        client = make(EncryptedSessionInterface(keys=[old])).test_client()
        client.get("/login/1")
        rotated = make(EncryptedSessionInterface(keys=[new, old]))
        client = with_cookie(rotated, cookie_of(client))
        store.taken()
        response = client.get("/read")
        assert "Set-Cookie" in response.headers
        assert store.taken() == ["read", "replace"]
        assert "Set-Cookie" not in client.get("/read").headers
        newest = make(EncryptedSessionInterface(keys=[new]))
        assert "'_user_id': '1'" in text(with_cookie(newest, cookie_of(client)))

    def test_what_is_under_a_revoked_key_does_not_open(self, make: MakeStoring) -> None:
        """Neither the cookie, nor the record for a cookie that is under the new key."""
        old, new = Fernet.generate_key(), Fernet.generate_key()
        new_keys = SessionKeys([("new", new)], EncryptedSessionInterface.salt)

        def logged_in() -> tuple[str, str]:
            """The cookie of a session under the old key, and one for its record under the new."""
            app = make(EncryptedSessionInterface(keys=[old]))
            client = app.test_client()
            client.get("/login/1")
            cookie = cookie_of(client) or ""
            return cookie, new_keys.seal(*opened(app, cookie), "session")

        rotated = make(EncryptedSessionInterface(keys=[new, old]))
        for cookie in logged_in():
            assert "'_user_id': '1'" in text(with_cookie(rotated, cookie))
        revoked = make(EncryptedSessionInterface(keys=[new]))
        for cookie in logged_in():
            assert text(with_cookie(revoked, cookie)) == "{}"

    def test_a_record_that_does_not_open_is_never_overwritten(
        self, app: Flask, store: RecordingStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = app.test_client()
        write(client, a=1)
        (entry,) = store._entries.values()
        broken = entry.record[:-1] + bytes([entry.record[-1] ^ 1])
        entry.record = broken
        with caplog.at_level(logging.WARNING):
            assert text(client, "/rejected") == "unauthentic"
        assert "Refused a session cookie: unauthentic" in caplog.text
        former = cookie_of(client)
        write(client, b=1)
        assert cookie_of(client) != former
        assert entry.record == broken
        assert text(client) == "{'b': 1}"

    def test_a_record_of_another_session_is_refused(
        self, app: Flask, store: RecordingStore
    ) -> None:
        one, other = app.test_client(), app.test_client()
        write(one, a=1)
        write(other, b=1)
        first, second = store._entries.values()
        first.record = second.record
        assert text(one, "/rejected") == "unauthentic"

    @pytest.mark.parametrize("compression", [None, "always", "never"])
    def test_records_are_compressed_only_always(
        self, make: MakeStoring, store: RecordingStore, compression: str | None
    ) -> None:
        client = make(SESSION_COMPRESSION=compression).test_client()
        write(client, a="x" * 5000)
        (entry,) = store._entries.values()
        assert (len(entry.record) < 1000) == (compression == "always")
        store.taken()
        assert "xxx" in text(client)
        assert write(client, a="x" * 5000).status_code == 200
        assert store.taken() == ["read", "read"]

    def test_a_reissued_cookie_is_not_sent_again_with_the_response_to_an_error(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        """The next request gets it: a new one would begin its time again."""

        client = make(EncryptedSessionInterface(keys=[OLD])).test_client()
        client.get("/login/1")
        clock.now += 10 * DAY
        config = {"SESSION_REFRESH_EACH_REQUEST": False}
        app = make(EncryptedSessionInterface(keys=[NEW, OLD]), **config)
        client = with_cookie(app, cookie_of(client))
        with failing_once_saved(app):
            assert "Set-Cookie" not in client.get("/read").headers
        assert "Set-Cookie" in client.get("/read").headers

    @pytest.mark.parametrize("ahead", [-1000, 0, 5])
    def test_a_cookie_under_the_newest_key_ends_when_the_former_one_did(
        self, make: MakeStoring, clock: Clock, ahead: int
    ) -> None:
        """The former cookie may be from a host whose clock is ahead."""
        clock.freeze_flask()
        former = make(EncryptedSessionInterface(keys=[OLD]), PERMANENT_SESSION_LIFETIME=10 * DAY)
        with clock.at(clock.now + ahead):
            client = former.test_client()
            client.get("/login/1")
        issued_at = min(clock.now, clock.now + ahead)
        app = make(EncryptedSessionInterface(keys=[NEW, OLD]), PERMANENT_SESSION_LIFETIME=10 * DAY)
        client = with_cookie(app, cookie_of(client))
        # Shared caches may keep this response: it has no cookie.
        assert "Set-Cookie" not in client.get("/public").headers
        assert "Set-Cookie" in client.get("/read").headers
        assert expiry_of(client) == issued_at + 10 * DAY
        assert "Set-Cookie" not in client.get("/read").headers


class TestOutage:
    def test_a_request_that_touches_its_session_is_answered_with_503(
        self, app: Flask, store: RecordingStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = app.test_client()
        client.get("/login/1")
        former = cookie_of(client)
        store.is_away = True
        failures: list[Any] = []
        with store_unavailable.connected_to(
            lambda sender, operation, error: failures.append((sender, operation))
        ):
            for _ in range(3):
                for response in (client.get("/read"), write(client, a=1)):
                    assert response.status_code == 503
                    assert int(response.headers["Retry-After"]) > 0
                    assert "away" not in response.text
                    assert "Set-Cookie" not in response.headers
        assert failures == [(app, "read")] * 6
        assert client.get("/nothing").status_code == 200
        assert caplog.text.count("The session store does not answer (read: it is away).") == 1
        events = app.session_interface.store_events  # type: ignore[attr-defined]
        assert (events["unavailable"], events["breaker"]) == (1, 5)
        store.is_away = False
        app.session_interface._policy(app).storage.store._closed_until = 0  # type: ignore[attr-defined]
        assert cookie_of(client) == former
        assert "'_user_id': '1'" in text(client)

    def test_each_touch_of_a_request_gets_the_error_and_one_waits(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = app.test_client()
        write(client, a=1)
        store.is_away = True

        def twice() -> str:
            for at_once in (False, True):
                with pytest.raises(StoreUnavailable, match="does not answer") as raised:
                    session["a"]
                assert raised.value.at_once is at_once
            return "served"

        store.taken()
        assert act(client, twice).text == "served"
        assert store.taken() == ["read"]

    def test_a_write_that_fails_is_an_error_and_is_not_tried_again(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = app.test_client()
        store.is_away = True
        assert write(client, a=1).status_code == 500
        # The look at the revocations has failed already, which is not counted here.
        assert store.taken() == []
        assert cookie_of(client) is None
        store.is_away = False
        app.session_interface._policy(app).storage.store._closed_until = 0  # type: ignore[attr-defined]
        write(client, a=1)

        def away() -> None:
            session["a"] = 2
            store.is_away = True

        store.taken()
        assert act(client, away).status_code == 500
        assert store.taken() == ["read", "replace"]

    def test_a_refresh_that_fails_is_no_error(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        app = make(PERMANENT_SESSION_LIFETIME=10 * DAY)
        client = app.test_client()
        client.get("/login/1")
        clock.now += 5 * DAY
        store.is_away = True
        response = client.get("/nothing")
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers

    def test_readonly_gives_an_empty_session_that_is_never_written(
        self, make: MakeStoring, store: RecordingStore
    ) -> None:
        app = make(SESSION_STORE_ERRORS="readonly")
        client = app.test_client()
        client.get("/login/1")
        former = cookie_of(client)
        store.is_away = True
        store.taken()
        assert text(client) == "{}"
        response = write(client, a=1)
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers
        assert "create" not in store.taken()
        assert cookie_of(client) == former
        # A new visitor's session is not written either.
        response = write(app.test_client(), a=1)
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers
        store.is_away = False
        app.session_interface._policy(app).storage.store._closed_until = 0  # type: ignore[attr-defined]
        assert "'_user_id': '1'" in text(client)

    def test_readonly_does_not_hide_a_log_out_that_was_not_made(
        self, make: MakeStoring, store: RecordingStore
    ) -> None:
        app = make(SESSION_STORE_ERRORS="readonly")
        client = app.test_client()
        client.get("/login/1")

        def leave() -> None:
            session.pop("_user_id")
            store.is_away = True

        assert act(client, leave).status_code == 500

    @pytest.mark.parametrize("change", ["another user", "regenerate"])
    def test_readonly_does_not_hide_that_a_user_stays_another(
        self, make: MakeStoring, store: RecordingStore, change: str
    ) -> None:
        app = make(SESSION_STORE_ERRORS="readonly")
        client = app.test_client()
        client.get("/login/1")

        def do() -> None:
            if change == "regenerate":
                session.regenerate()  # type: ignore[attr-defined]
            else:
                session["_user_id"] = "2"
            store.is_away = True

        assert act(client, do).status_code == 500

    @pytest.mark.parametrize("failing", ["create", "replace", "delete"])
    def test_a_failure_is_one_error_and_not_tried_again_for_the_response_to_it(
        self, app: Flask, store: RecordingStore, failing: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = app.test_client()
        if failing != "create":
            client.get("/login/1")
        attempts = 0

        def busy(*_: object) -> Any:
            nonlocal attempts
            attempts += 1
            # The store is there: it will be asked again.
            raise StoreUnavailable(failing, "the database is locked", is_outage=False)

        setattr(store, failing, busy)
        path = "/clear" if failing == "delete" else "/append/1"
        assert client.get(path).status_code == 500
        assert attempts == 1
        (record,) = [one for one in caplog.records if one.name == app.logger.name]
        assert record.message == f"Exception on {path} [GET]"

    def test_a_log_out_without_the_store_is_one_error(
        self, make: MakeStoring, store: RecordingStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = make(SESSION_STORE_ERRORS="readonly")
        client = app.test_client()
        client.get("/login/1")
        store.is_away = True
        assert client.get("/clear").status_code == 500
        (record,) = [one for one in caplog.records if one.name == app.logger.name]
        assert record.message == "Exception on /clear [GET]"

    @pytest.mark.parametrize(
        "what", ["gone", "superseded", "emptied", "ended", "ended by another request too"]
    )
    def test_what_has_ended_is_not_saved_again_if_the_response_fails(
        self, app: Flask, store: RecordingStore, what: str
    ) -> None:
        client = app.test_client()
        write(client, a=1)
        if what.startswith("ended"):
            client.get("/login/1")
        other = with_cookie(app, cookie_of(client))

        def do() -> None:
            if what == "gone":
                session["a"] = 2
                store._entries.clear()
            elif what == "superseded":
                session["a"] = 2
                other.get("/login/1")
            elif what == "emptied":
                session.pop("a")
            else:
                session.clear()
                if what != "ended":
                    store._entries.clear()
            store.taken()

        app.extensions["act"] = do
        with failing_once_saved(app):
            response = client.get("/act")
        assert response.status_code == 500
        assert store.taken() == ["delete" if what.startswith("ended") else "replace"]
        # As with Flask's sessions, also the response to the error deletes the cookie.
        is_deleted = what in ("emptied", "ended")
        assert ("Max-Age=0" in response.headers.get("Set-Cookie", "")) == is_deleted
        assert (cookie_of(client) is None) == is_deleted
        rejections = app.session_interface.rejections  # type: ignore[attr-defined]
        assert rejections["gone"] == (what == "gone")

    @pytest.mark.parametrize(
        ("is_new", "path"),
        [
            (True, "/append/1"),
            (True, "/login/2"),
            (False, "/append/1"),
            (False, "/login/2"),
            (False, "/regenerate"),
            (False, "/fleeting"),
        ],
    )
    @pytest.mark.parametrize("is_public", [False, True])
    @pytest.mark.parametrize("is_changed", [False, True])
    def test_the_response_to_an_error_after_saving_has_the_new_cookie(
        self,
        make: MakeStoring,
        store: RecordingStore,
        path: str,
        is_new: bool,
        is_public: bool,
        is_changed: bool,
    ) -> None:
        """As with Flask's sessions; the response that had it before is never sent."""

        is_sent = is_new or path != "/append/1"
        # Zero makes each save of a permanent session renew it, unless the request has done so.
        app = make(SESSION_REFRESH_AFTER=0 if is_sent else 0.1)

        @app.get("/fleeting")
        def fleeting() -> str:
            session.permanent = False
            return ""

        @app.errorhandler(500)
        def handle(error: object) -> Any:
            if is_changed:
                session["failed"] = True
            response = app.response_class(status=500)
            response.cache_control.public = is_public
            return response

        client = app.test_client()
        if not is_new:
            client.get("/login/1")
        former = cookie_of(client)
        store.taken()
        with failing_once_saved(app):
            response = client.get(path)
        assert response.status_code == 500
        asked = ["create"] if is_new else ["read", "replace"]
        assert store.taken() == asked + ["replace"] * is_changed
        # Nothing has changed in the cookie of a session that stays the same one.
        assert ("Set-Cookie" in response.headers) == is_sent
        assert (cookie_of(client) != former) == is_sent
        assert ("failed" in text(client)) == is_changed
        assert client.get("/rejected").text == "None"

    def test_a_store_that_has_too_much_to_do_is_asked_again_at_once(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = app.test_client()
        write(client, a=1)
        replace = store.replace

        def locked(*_: object) -> Any:
            raise StoreUnavailable("replace", "the database is locked", is_outage=False)

        store.replace = locked  # type: ignore[method-assign, assignment]
        assert write(client, a=2).status_code == 500
        assert text(client) == "{'a': 1}"
        store.replace = replace  # type: ignore[method-assign]
        assert write(client, a=2).status_code == 200


def test_a_user_that_cannot_be_indexed_can_still_log_out(make: MakeStoring) -> None:
    """The session was written while SESSION_USER_KEY was another key."""
    client = make().test_client()
    write(client, profile={"name": "Ada"}, a=1)
    app = make(SESSION_USER_KEY="profile")
    client = with_cookie(app, cookie_of(client))
    assert "Ada" in text(client)
    assert client.get("/pop/profile").status_code == 200
    assert text(client) == "{'a': 1}"


def test_an_attribute_made_by_init_is_there_before_the_session_is_read(make: MakeStoring) -> None:
    class Own(EncryptedSession):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.extra = len(self)

    interface = type("Interface", (EncryptedSessionInterface,), {"session_class": Own})
    client = make(interface()).test_client()
    write(client, a=1)
    assert act(client, lambda: session.extra).text == "1"  # type: ignore[attr-defined]
    assert act(client, lambda: hasattr(session, "missing")).text == "False"
    assert act(client, lambda: dict(session.fromkeys("ab"))).text == "{'a': None, 'b': None}"  # type: ignore[attr-defined]


def test_a_session_that_is_too_large_is_refused(app: Flask, store: RecordingStore) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(SessionTooLarge) as error:
        write(app.test_client(), big="x" * (1 << 20), small=1)
    assert "The stored session would be 10485" in str(error.value)
    assert "'big' with 104857" in str(error.value)
    assert store.taken() == []
    client = app.test_client()
    write(client, big="x" * ((1 << 20) - 20))
    assert len(text(client)) > 1_000_000


def test_a_session_may_be_as_large_as_a_record_may_be(app: Flask, store: RecordingStore) -> None:
    client = app.test_client()
    empty = len(b'{"a":""}')
    assert write(client, a="b" * (2**20 - empty)).status_code == 200
    assert write(client, a="b" * (2**20 - empty + 1)).status_code == 500


def test_a_value_may_be_what_no_key_may_begin_with(app: Flask) -> None:
    client = app.test_client()
    assert write(client, a="flask-fernet:a").status_code == 200
    assert text(client) == "{'a': 'flask-fernet:a'}"


def test_an_unwritable_value_is_named_also_where_it_is_nested(app: Flask) -> None:
    client = app.test_client()
    write(client, list=[])
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(TypeError, match=r"session\['list'\]\[0\] cannot be written"):
        act(client, lambda: session["list"].append(object()))


def test_a_session_class_without_ghosts_is_read_at_once(
    make: MakeStoring, store: RecordingStore
) -> None:
    class Meta(type(EncryptedSessionInterface.session_class)):  # type: ignore[misc]
        pass

    own = Meta("Own", (EncryptedSessionInterface.session_class,), {})
    interface = type("Interface", (EncryptedSessionInterface,), {"session_class": own})
    client = make(interface()).test_client()
    write(client, a=1)
    store.taken()
    client.get("/nothing")
    assert store.taken() == ["read"]
    assert text(client) == "{'a': 1}"
    write(client, a=2)
    assert text(client) == "{'a': 2}"


def test_hooks_are_obeyed(make: MakeStoring, store: RecordingStore) -> None:
    class Hooked(EncryptedSessionInterface):
        sends = True

        def should_set_cookie(self, app: Flask, session: Any) -> bool:
            return self.sends

    interface = Hooked()
    client = make(interface).test_client()
    write(client, a=1)
    assert "Set-Cookie" in client.get("/read").headers
    interface.sends = False
    assert "Set-Cookie" not in write(client, a=2).headers
    assert text(client) == "{'a': 1}"


def test_an_id_has_256_bits_that_nobody_can_predict(app: Flask) -> None:
    """Each bit is one in about half of the ids, and no id comes twice."""
    policy = EncryptedSessionInterface.of(app)._resolve_policy(app)
    assert policy.keys
    ids = []
    for number in range(400):
        token = token_of(write(app.test_client(), number=number).headers["Set-Cookie"])
        payload, *_ = policy.keys.open(token, int(time.time()), DAY, "session")
        reference = read_reference(payload)
        assert reference
        ids.append(int.from_bytes(reference[0], "big"))
        assert len(reference[0]) == 32
    assert len(set(ids)) == len(ids)
    for bit in range(256):
        # Seven standard deviations of 400 throws of a coin.
        assert abs(sum(drawn >> bit & 1 for drawn in ids) - 200) < 70
