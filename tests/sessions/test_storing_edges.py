"""Stored sessions where something is wrong: records, configurations, stores and classes."""

from __future__ import annotations

import copy
import time
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest
from flask import Flask, session

from flask_fernet import (
    ConfigurationError,
    EncryptedSessionInterface,
    Fernet,
    SessionConflict,
    StoreUnavailable,
)
from flask_fernet._core import RecordKeys, SessionKeys
from flask_fernet.stored import changes
from flask_fernet.stored.ghost import is_ghost
from flask_fernet.stored.records import address_of
from flask_fernet.stored.state import note_of
from tests.apps import add_views, encrypted_app, works
from tests.clock import Clock
from tests.storing import (
    MakeStoring,
    RecordingStore,
    act,
    add_storing_views,
    cookie_of,
    storing_app,
    with_cookie,
)

DAY = 24 * 3600


@pytest.fixture
def app(storing: Flask) -> Flask:
    """An app with stored sessions, in place of the one that the other tests have."""
    return storing


def interface_of(app: Flask) -> Any:
    return app.session_interface


def logged_in(app: Flask, user: str = "1") -> Any:
    client = app.test_client()
    assert client.get(f"/login/{user}").status_code == 200
    return client


def handle_of(client: Any) -> str:
    return str(act(client, lambda: session.handle).text)  # type: ignore[attr-defined]


class TestRecords:
    @pytest.mark.parametrize("payload", [b"no json", b"[1]", b".broken"])
    def test_what_the_serializer_does_not_read_is_refused(
        self, app: Flask, store: RecordingStore, payload: bytes
    ) -> None:
        client = logged_in(app)
        ((address, entry),) = store._entries.items()
        records = interface_of(app)._policy(app).storage.records
        generation, created, renewed_at, _, _ = records.open(address, entry.record)
        sealed = records.seal(address, generation, created, renewed_at, payload)
        store._entries[address].record = sealed
        assert client.get("/rejected").text == "undecodable"
        # It is of no use, and can be ended all the same.
        store._entries[address].owner = records.owner_tags(ord("s"), b"1")[0]
        assert interface_of(app).list("1", app=app) == []
        assert interface_of(app).revoke_user("1", app=app) == 1

    def test_a_broken_record_can_be_ended_by_its_handle(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = logged_in(app)
        handle = handle_of(client)
        (entry,) = store._entries.values()
        entry.record = entry.record[:-1] + b"!"
        assert interface_of(app).revoke(handle, app=app) is True

    def test_a_broken_record_is_not_written_over_when_merging(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = logged_in(app)
        (entry,) = store._entries.values()
        broken = entry.record[:20] + b"another version" + entry.record[35:]

        def late() -> None:
            session["a"] = 1
            entry.record = broken

        assert "Set-Cookie" not in act(client, late).headers
        assert entry.record == broken

    def test_an_entry_of_the_index_that_leads_nowhere_is_removed(
        self, app: Flask, store: RecordingStore
    ) -> None:
        logged_in(app)
        owned, asked = store.owned, []
        delete = store.delete

        def recording(address: bytes, owner: bytes | None = None) -> bool:
            asked.append(address)
            return delete(address, owner)

        store.owned = lambda owners: [b"x" * 32, *owned(owners)]  # type: ignore[method-assign]
        store.delete = recording  # type: ignore[method-assign]
        assert len(interface_of(app).list("1", app=app)) == 1
        assert asked == [b"x" * 32]
        assert interface_of(app).revoke_user("1", app=app) == 1
        assert asked.count(b"x" * 32) == 2

    def test_a_record_under_a_key_that_the_ring_has_received_since_opens(
        self, store: RecordingStore, implementation: str
    ) -> None:
        old, new = Fernet.generate_key(), Fernet.generate_key()
        newer = storing_app(store, implementation, EncryptedSessionInterface(keys=[new, old]))

        class Behind(EncryptedSessionInterface):
            """A worker that reads the ring's new key only when it needs it."""

            def _newer_policy(self, app: Flask, policy: Any) -> Any:
                return interface_of(newer)._policy(newer)

        behind = storing_app(store, implementation, Behind(keys=[old]))
        client = logged_in(behind)
        cookie = cookie_of(client)
        # The other worker moves the record, and its answer with the new cookie is lost.
        assert "'_user_id'" in with_cookie(newer, cookie).get("/read").text
        assert "'_user_id'" in client.get("/read").text
        client.post("/write", json={"a": 1})
        assert "'a': 1" in with_cookie(newer, cookie).get("/read").text

        class Alone(EncryptedSessionInterface):
            def _newer_policy(self, app: Flask, policy: Any) -> Any:
                return None

        alone = storing_app(store, implementation, Alone(keys=[old]))
        assert with_cookie(alone, cookie).get("/rejected").text == "unauthentic"

    @pytest.mark.parametrize("made", ["under another key", "damaged", "malformed"])
    def test_only_a_record_that_may_be_under_a_newer_key_costs_a_look_at_the_ring(
        self, store: RecordingStore, implementation: str, made: str
    ) -> None:
        looks = 0

        class Counting(EncryptedSessionInterface):
            def _newer_policy(self, app: Flask, policy: Any) -> Any:
                nonlocal looks
                looks += 1

        ours, others = Fernet.generate_key(), Fernet.generate_key()
        app = storing_app(store, implementation, Counting(keys=[ours]))
        client = logged_in(app)
        ((address, entry),) = store._entries.items()
        if made == "under another key":
            keys = RecordKeys(SessionKeys([("other", others)], "cookie-session"))
            now = int(time.time())
            entry.record = keys.seal(address, b"g" * 8, now, now, b"{}")
        elif made == "damaged":
            entry.record = entry.record[:-1] + bytes([entry.record[-1] ^ 1])
        else:
            entry.record = entry.record[:10]
        expected = "malformed" if made == "malformed" else "unauthentic"
        assert client.get("/rejected").text == expected
        assert looks == (made == "under another key")

    def test_a_shorter_absolute_lifetime_ends_what_is_older(
        self, make: MakeStoring, clock: Clock
    ) -> None:
        client = logged_in(make())
        clock.now += 100
        shorter = make(SESSION_ABSOLUTE_LIFETIME=50)
        response = with_cookie(shorter, cookie_of(client)).get("/rejected")
        assert response.text == "expired"
        # Emptied, its cookie goes, as Flask's does.
        cleared = with_cookie(shorter, cookie_of(client)).get("/clear")
        assert "Max-Age=0" in cleared.headers["Set-Cookie"]

    def test_an_address_in_use_is_an_error(self, app: Flask, store: RecordingStore) -> None:
        store.create = lambda *_: False  # type: ignore[method-assign]
        app.config["PROPAGATE_EXCEPTIONS"] = True
        with pytest.raises(SessionConflict, match="its address is in use"):
            app.test_client().get("/login/1")


class TestConflicts:
    def test_changes_that_cannot_be_merged_in_time_are_an_error(
        self, app: Flask, store: RecordingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(changes, "MERGE_FOR", -1.0)
        client = logged_in(app)
        records = interface_of(app)._policy(app).storage.records
        (address,) = store._entries

        def always_newer(*_: Any) -> bytes:
            opened = records.open(address, store._entries[address].record)
            return bytes(records.seal(address, *opened[:4]))

        store.replace = always_newer  # type: ignore[method-assign, assignment]
        app.config["PROPAGATE_EXCEPTIONS"] = True
        with pytest.raises(SessionConflict, match="faster than changes can be merged"):
            client.post("/write", json={"a": 1})

    def test_who_logs_in_while_another_logs_out_is_in(self, app: Flask) -> None:
        client = logged_in(app)
        other = with_cookie(app, cookie_of(client))

        def late() -> None:
            dict(session)
            other.get("/logout")
            session["_user_id"] = "2"

        act(client, late)
        assert "'_user_id': '2'" in client.get("/read").text

    def test_the_hook_can_be_called(self, app: Flask) -> None:
        merged = interface_of(app).merge_sessions(app, {}, {"a": 1}, {"b": 2})
        assert merged == {"a": 1, "b": 2}


class TestOutage:
    def test_a_session_that_is_only_marked_as_modified_is_not_dropped(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = logged_in(app)

        def mark() -> None:
            session.modified = True
            store.is_away = True

        assert act(client, mark).status_code == 500

    def test_a_refresh_in_the_readonly_mode_writes_nothing(
        self, make: MakeStoring, store: RecordingStore, clock: Clock
    ) -> None:
        app = make(SESSION_STORE_ERRORS="readonly", PERMANENT_SESSION_LIFETIME=10 * DAY)
        client = logged_in(app)
        clock.now += 5 * DAY
        store.is_away = True
        response = client.get("/nothing")
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers

    @pytest.mark.parametrize("errors", ["raise", "readonly"])
    def test_a_store_that_goes_away_in_the_middle_of_a_request(
        self, make: MakeStoring, store: RecordingStore, clock: Clock, errors: str
    ) -> None:
        app = make(SESSION_STORE_ERRORS=errors, PERMANENT_SESSION_LIFETIME=10 * DAY)

        def away(change: bool) -> None:
            session.get("a")
            if change:
                session["a"] = 1
            store.is_away = True

        for change in (False, True):
            store.is_away = False
            interface_of(app)._policy(app).storage.store._closed_until = 0
            client = logged_in(app)
            clock.now += 5 * DAY
            response = act(client, partial(away, change))
            is_error = change and errors == "raise"
            assert response.status_code == (500 if is_error else 200)
            assert "Set-Cookie" not in response.headers


class TestConfiguration:
    def test_a_store_that_is_removed_during_a_request_is_named(self, app: Flask) -> None:
        client = logged_in(app)
        app.config["PROPAGATE_EXCEPTIONS"] = True

        def change() -> None:
            session["a"] = 1
            app.config["SESSION_STORE"] = None

        with pytest.raises(ConfigurationError, match="SESSION_STORE was removed"):
            act(client, change)

    def test_a_revocation_needs_the_store_too(self, app: Flask) -> None:
        client = logged_in(app)
        app.config["PROPAGATE_EXCEPTIONS"] = True

        def leave() -> None:
            session.get("a")
            app.config["SESSION_STORE"] = None
            session.revoke()  # type: ignore[attr-defined]

        with pytest.raises(ConfigurationError, match="SESSION_STORE was removed"):
            act(client, leave)

    def test_a_session_class_must_keep_attributes(
        self, make: MakeStoring, app: Flask, implementation: str
    ) -> None:
        class Meta(type):
            pass

        bare = Meta("Bare", (dict,), {"__slots__": ("accessed", "modified")})
        interface = type("Interface", (EncryptedSessionInterface,), {"session_class": bare})
        client = with_cookie(make(interface()), cookie_of(logged_in(app)))
        client.application.config["PROPAGATE_EXCEPTIONS"] = True
        with pytest.raises(ConfigurationError, match="whose instances have a __dict__"):
            client.get("/nothing")

    def test_a_hook_that_sends_no_cookie_makes_no_session(
        self, make: MakeStoring, store: RecordingStore
    ) -> None:
        class Silent(EncryptedSessionInterface):
            sends = True

            def should_set_cookie(self, app: Flask, session: Any) -> bool:
                return self.sends

        interface = Silent()
        client = logged_in(make(interface))
        store._entries.clear()
        interface.sends = False
        assert "Set-Cookie" not in client.post("/write", json={"a": 1}).headers
        assert store._entries == {}

    def test_a_session_class_without_a_read_at_once_may_be_lost(
        self, make: MakeStoring, store: RecordingStore
    ) -> None:
        class Meta(type(EncryptedSessionInterface.session_class)):  # type: ignore[misc]
            pass

        own = Meta("Own", (EncryptedSessionInterface.session_class,), {})
        interface = type("Interface", (EncryptedSessionInterface,), {"session_class": own})
        client = logged_in(make(interface()))
        store._entries.clear()
        assert client.get("/rejected").text == "gone"


class TestNotes:
    def test_what_is_asked_of_a_ghost_by_libraries_reads_nothing(
        self, app: Flask, store: RecordingStore
    ) -> None:
        client = logged_in(app)
        store.taken()

        def look() -> object:
            found = session._get_current_object()  # type: ignore[attr-defined]
            found.rejected = None
            note = note_of(found)
            assert note is not None
            assert copy.copy(note) is note
            with pytest.raises(LookupError):
                _ = note.loaded
            return hasattr(found, "__html__"), is_ghost(found)

        assert act(client, look).text == "(False, True)"
        assert store.taken() == []

    def test_a_plain_session_class_has_no_more_methods_than_its_own(
        self, make: MakeStoring
    ) -> None:
        from flask.sessions import SecureCookieSession

        plain = {"session_class": SecureCookieSession}
        client = logged_in(make(type("Interface", (EncryptedSessionInterface,), plain)()))

        def look() -> bool:
            with pytest.raises(AttributeError, match="no attribute 'regenerate'"):
                session.regenerate()  # type: ignore[attr-defined]
            return True

        assert act(client, look).text == "True"

    def test_a_handle_needs_an_app_with_a_store(self, app: Flask) -> None:
        class Other:
            pass

        fresh = EncryptedSessionInterface.session_class()
        assert fresh.handle is None  # type: ignore[attr-defined]
        with encrypted_app().app_context():
            assert fresh.handle is None  # type: ignore[attr-defined]
        other: Any = Flask(__name__)
        other.session_interface = Other()
        with other.app_context():
            assert fresh.handle is None  # type: ignore[attr-defined]
        assert address_of(handle_of(logged_in(app))) is not None


class TestKeepCurrent:
    def test_only_a_session_of_this_user_is_kept(self, app: Flask) -> None:
        mine, theirs = logged_in(app, "1"), logged_in(app, "2")
        revoke = interface_of(app).revoke_user
        assert act(theirs, lambda: revoke("1", keep_current=True)).text == "1"
        assert "_user_id" in theirs.get("/read").text
        assert mine.get("/read").text == "{}"
        assert act(app.test_client(), lambda: revoke("2", keep_current=True)).text == "1"

        def ended() -> object:
            session.revoke()  # type: ignore[attr-defined]
            return revoke("3", keep_current=True)

        assert act(logged_in(app, "3"), ended).text == "0"

    def test_a_session_that_was_ended_meanwhile_is_not_kept(
        self, app: Flask, store: RecordingStore
    ) -> None:
        def late() -> object:
            session.get("a")
            store._entries.clear()
            return interface_of(app).revoke_user("1", keep_current=True)

        client = logged_in(app)
        assert act(client, late).text == "0"
        assert client.get("/read").text == "{}"

    def test_a_store_whose_clock_is_far_ahead(
        self, app: Flask, store: RecordingStore, clock: Clock
    ) -> None:
        revoke = store.revoke

        def ahead(subject: bytes, moment: int, keep_for: int) -> int:
            return revoke(subject, moment + 30, keep_for)

        store.revoke = ahead  # type: ignore[method-assign]
        client = logged_in(app)
        act(client, lambda: interface_of(app).revoke_user("1", keep_current=True))
        assert "_user_id" in client.get("/read").text

    def test_without_a_feed(self, store: RecordingStore, implementation: str) -> None:
        class Plain:
            read, create = store.read, store.create
            replace, delete, owned = store.replace, store.delete, store.owned

        app = storing_app(Plain(), implementation)
        client, other = logged_in(app), logged_in(app)
        kept = act(client, lambda: interface_of(app).revoke_user("1", keep_current=True))
        assert kept.text == "1"
        assert "_user_id" in client.get("/read").text
        assert other.get("/read").text == "{}"


def test_the_feed_alone_ends_sessions(store: RecordingStore, implementation: str) -> None:
    class Plain:
        read, create, replace, delete = store.read, store.create, store.replace, store.delete
        revoke, revoked_since = store.revoke, store.revoked_since

    app = storing_app(Plain(), implementation)
    client = logged_in(app)
    assert interface_of(app).revoke_user("1", app=app) == 0
    assert client.get("/rejected").text == "revoked"


def test_a_session_moved_by_a_serializer_that_fails_begins_now(
    make: MakeStoring, clock: Clock
) -> None:
    """What was in the cookie cannot be read again: who it belonged to is not known."""

    class Once(EncryptedSessionInterface):
        reads = 0

        def _load(self, app: Flask, payload: bytes) -> Any:
            self.reads += 1
            if self.reads > 1:
                payload = b"broken"
            return super()._load(app, payload)

    cookie_app = add_storing_views(encrypted_app())
    client = cookie_app.test_client()
    client.post("/write", json={"a": 1})
    cookie = cookie_of(client)
    clock.now += 80
    app = make(Once(), SESSION_ENCRYPTION_ACCEPT=["cookie"])
    assert with_cookie(app, cookie).get("/read").text == "{'a': 1}"
    regenerating = make(SESSION_ENCRYPTION_ACCEPT=["cookie"])
    client = with_cookie(regenerating, cookie)
    assert "Set-Cookie" in client.get("/regenerate").headers
    client.post("/write", json={"_user_id": "1"})
    (info,) = interface_of(regenerating).list("1", app=regenerating)
    assert info.created == datetime.fromtimestamp(clock.now, timezone.utc)
    assert time.time() == clock.now


def test_the_error_of_an_outage_can_be_pickled() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(StoreUnavailable("read", "no connection")))
    assert str(error) == "The session store does not answer (read: no connection)."


def test_a_log_out_without_the_store_is_never_hidden(
    store: RecordingStore, make: MakeStoring
) -> None:
    app = make(SESSION_STORE_ERRORS="readonly", PROPAGATE_EXCEPTIONS=False)
    client = app.test_client()
    client.get("/login/1")
    store.is_away = True
    assert client.get("/read").status_code == 200
    assert client.get("/clear").status_code in (500, 503)
    store.is_away = False


@pytest.mark.parametrize("written", ["fernet", "xaes-256-gcm", "flask-signed"])
def test_the_cookie_of_a_stored_session_is_encrypted(written: str) -> None:
    """A signed one is refused, unless the store is only read, by an app that moves back."""
    config: Any = {"SESSION_STORE": "memory://", "SESSION_ENCRYPTION_FORMAT": written}
    app = encrypted_app(**config)
    if written == "flask-signed":
        with pytest.raises(ConfigurationError, match="must be an encrypted format with SESSION_ST"):
            EncryptedSessionInterface(app)
    else:
        EncryptedSessionInterface(app)
        works(add_views(app))
    leaving = encrypted_app(**config, SESSION_ENCRYPTION_ACCEPT=["store", "fernet"])
    works(add_views(leaving))


def test_a_store_that_is_only_read_must_be_named() -> None:
    app = encrypted_app(SESSION_ENCRYPTION_ACCEPT=["store"])
    with pytest.raises(ConfigurationError, match="names 'store', but SESSION_STORE is not set"):
        EncryptedSessionInterface(app)
