"""The keys of an app: the order of their sources, and the move from one source to another."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet, KeyRing
from flask_fernet.keys.following import FollowedRing
from flask_fernet.keys.ring import SESSIONS, new_ring
from flask_fernet.keys.ring_store import RingStore
from flask_fernet.sessions.key_sources import KeySources, ring_key_id, ring_key_name
from flask_fernet.sessions.salts import FLASKS_SALT
from tests.apps import (
    RING_NAME,
    SECRET,
    MakeApp,
    add_views,
    deploy,
    opened,
    ring_app,
    set_cookie,
    started_ring_app,
    token_of,
    write,
)
from tests.clock import Clock, until
from tests.commands import run_from, succeed
from tests.oracles import OracleFernet, derived_key, maker_of

KEY, OLD = Fernet.generate_key(), Fernet.generate_key()


def readers(app: Flask) -> list[str]:
    """Returns the names of the keys that open an app's sessions, the one that writes them first."""
    named = {"key": KEY, "old": OLD, "secret": derived_key(SECRET.encode())}
    client = app.test_client()
    token = write(client, a=1)
    found: list[str] = []
    for name, key in named.items():
        try:
            OracleFernet(key).decrypt(token)
            found.insert(0, name + "!")
        except Exception:
            client.set_cookie("session", OracleFernet(key).encrypt(b'{"b":2}').decode())
            if client.get("/read").text == "{'b': 2}":
                found.append(name)
    return found


@pytest.mark.parametrize(
    ("keys", "config", "expected"),
    [
        (None, {}, ["secret!"]),
        ([KEY], {}, ["key!"]),
        ([KEY.decode(), OLD], {"SECRET_KEY": None}, ["key!", "old"]),
        ((OLD, KEY), {}, ["old!", "key"]),
        (None, {"SESSION_ENCRYPTION_KEYS": [KEY, OLD]}, ["key!", "old"]),
        (None, {"SESSION_ENCRYPTION_KEYS": f"{KEY.decode()}, {OLD.decode()}"}, ["key!", "old"]),
        (None, {"SESSION_ENCRYPTION_KEYS": KEY}, ["key!"]),
        (None, {"SESSION_ENCRYPTION_KEYS": KEY.decode(), "SECRET_KEY": ""}, ["key!"]),
        (None, {"SESSION_ENCRYPTION_KEYS": None}, ["secret!"]),
        ([OLD], {"SESSION_ENCRYPTION_KEYS": [KEY]}, ["old!"]),
        (
            None,
            {"SESSION_ENCRYPTION_KEYS": [KEY], "SESSION_ENCRYPTION_ACCEPT": ["secret-key"]},
            ["key!", "secret"],
        ),
        ([KEY], {"SESSION_ENCRYPTION_ACCEPT": "keys,secret-key"}, ["key!", "secret"]),
        (None, {"SESSION_ENCRYPTION_ACCEPT": ["secret-key"]}, ["secret!"]),
    ],
)
def test_each_source_gives_its_keys_and_the_first_one_writes(
    make_app: MakeApp, keys: Any, config: dict[str, Any], expected: list[str]
) -> None:
    app = add_views(make_app(EncryptedSessionInterface(keys=keys), **config))
    assert readers(app) == expected


def test_without_a_key_there_is_no_session(make_app: MakeApp) -> None:
    app = add_views(make_app(SECRET_KEY=None, PROPAGATE_EXCEPTIONS=True))
    client = app.test_client()
    assert client.get("/read").text == "{}"
    with pytest.raises(RuntimeError, match="The session is unavailable because no secret key"):
        client.post("/write", json={"a": 1})


def test_keys_changed_between_requests_are_used(make_app: MakeApp) -> None:
    keys = [OLD]
    app = add_views(make_app(SESSION_ENCRYPTION_KEYS=keys))
    client = app.test_client()
    write(client, a=1)
    keys.insert(0, KEY)
    assert client.get("/read").text == "{'a': 1}"
    assert readers(app)[:2] == ["key!", "old"]
    del keys[1]
    client.set_cookie("session", OracleFernet(OLD).encrypt(b"{}").decode())
    client.get("/read")
    assert app.session_interface.rejections["unauthentic"] == 2  # type: ignore[attr-defined]


def test_a_session_under_a_fallback_secret_opens_and_is_reissued(make_app: MakeApp) -> None:
    app = add_views(make_app(SECRET_KEY_FALLBACKS=["the secret before this one"]))
    client = app.test_client()
    old = OracleFernet(derived_key(b"the secret before this one")).encrypt(b'{"a":1}')
    client.set_cookie("session", old.decode())
    response = client.get("/read")
    assert response.text == "{'a': 1}"
    assert opened(app, token_of(set_cookie(response)))[0] == b'{"a":1}'
    OracleFernet(derived_key(SECRET.encode())).decrypt(token_of(set_cookie(response)))


@pytest.mark.parametrize("first", ["keys", "secret-key"])
def test_a_rolling_deploy_to_a_ring_logs_nobody_out(
    tmp_path: Path, ring: KeyRing, first: str
) -> None:
    old: dict[str, Any] = {"SECRET_KEY": SECRET}
    if first == "keys":
        old = {"SESSION_ENCRYPTION_KEYS": [Fernet.generate_key()]}
    both = {**old, "SESSION_ENCRYPTION_KEYRING": "session-keys.json"}
    steps = [
        old,
        {**both, "SESSION_ENCRYPTION_ACCEPT": ["keyring"]},
        {**both, "SESSION_ENCRYPTION_ACCEPT": [first]},
        {"SESSION_ENCRYPTION_KEYRING": "session-keys.json"},
    ]
    workers = []
    for config in steps:
        app = add_views(Flask(__name__, instance_path=str(tmp_path)))
        app.config.update(config)
        EncryptedSessionInterface(app)
        workers.append(app)
    cookie = deploy(workers)
    assert maker_of(cookie, ring)


@pytest.mark.parametrize("key_id", ["8f3a", "key", "a b", "of the ring"])
def test_the_name_of_a_rings_key_has_its_id(key_id: str) -> None:
    assert ring_key_id(ring_key_name(key_id)) == key_id


@pytest.mark.parametrize("name", ["SECRET_KEY", "key 8f3a", "8f3a of the ring", "a of the ring"])
def test_the_name_of_another_key_has_no_id(name: str) -> None:
    assert ring_key_id(name) is None


def test_the_same_keys_are_made_once() -> None:
    app, sources = Flask(__name__), KeySources()
    app.config["SESSION_ENCRYPTION_KEYS"] = [KEY]
    first, again = (sources.resolve(app, FLASKS_SALT, ["fernet"]) for _ in range(2))
    assert again.session_keys is first.session_keys
    assert KEY.decode() not in repr(again)
    app.config["SESSION_ENCRYPTION_KEYS"] = [OLD]
    other = sources.resolve(app, FLASKS_SALT, ["fernet"])
    assert other.session_keys is not first.session_keys
    assert [keys.changed for keys in (first, again, other)] == [False, False, True]


@pytest.mark.parametrize(("value", "given"), [(5, "int"), (b"keys.json", "bytes"), ("", "empty")])
def test_a_ring_that_is_not_named_by_a_path_is_refused(
    tmp_path: Path, value: object, given: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"or a KeyRing, not {given}"):
        started_ring_app(tmp_path, SESSION_ENCRYPTION_KEYRING=value)


def test_a_ring_is_read_once_although_another_setting_is_wrong(
    tmp_path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it may run a key command, which must not happen in each request that fails."""
    read: list[KeyRing] = []

    def follow(store: RingStore, keyring: KeyRing) -> FollowedRing:
        read.append(keyring)
        return FollowedRing(store, keyring)

    monkeypatch.setattr("flask_fernet.sessions.followed_rings.FollowedRing", follow)
    app = ring_app(tmp_path, SESSION_OVERFLOW="wrong")
    for _ in range(3):
        assert app.test_client().get("/read").status_code == 500
    assert len(read) == 1


def test_what_a_ring_takes_over_needs_every_source_but_the_ring(tmp_path: Path) -> None:
    """The first deploy of a move to a ring accepts the ring that is about to be made."""
    app, sources = ring_app(tmp_path, SECRET_KEY=SECRET), KeySources()
    app.config["SESSION_ENCRYPTION_ACCEPT"] = ["keyring"]
    exported = sources.export(app, FLASKS_SALT)
    assert exported == {derived_key(SECRET.encode()).decode(): None}
    assert sources.export(app, FLASKS_SALT.encode()) == exported
    app.config["SESSION_ENCRYPTION_ACCEPT"] = ["keyring", "keys"]
    with pytest.raises(ConfigurationError, match="SESSION_ENCRYPTION_KEYS is not set"):
        sources.export(app, FLASKS_SALT)


def test_a_ring_that_is_set_and_not_used_is_warned_of(
    tmp_path: Path, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    started_ring_app(tmp_path, SESSION_ENCRYPTION_KEYS=[Fernet.generate_key()])
    assert "'keyring' is configured but unused" in caplog.text


def test_a_ring_for_something_else_is_refused(tmp_path: Path) -> None:
    KeyRing(tmp_path / "session-keys.json").create(new_ring("data", time.time()))
    with pytest.raises(ConfigurationError, match="one purpose"):
        started_ring_app(tmp_path)


def test_sessions_of_the_secret_key_move_to_a_ring(tmp_path: Path, ring: KeyRing) -> None:
    token = OracleFernet(derived_key(SECRET.encode())).encrypt(b'{"a":1}').decode()
    for accept, text in ([], "{}"), (["secret-key"], "{'a': 1}"):
        app = started_ring_app(tmp_path, SECRET_KEY=SECRET, SESSION_ENCRYPTION_ACCEPT=accept)
        client = app.test_client()
        client.set_cookie("session", token)
        response = client.get("/read")
        assert response.text == text
    assert maker_of(token_of(set_cookie(response)), ring)


def test_a_revoked_key_does_not_come_back_through_its_former_source(tmp_path: Path) -> None:
    """A revoked key stays refused, although the source that it was imported from is accepted."""
    app = add_views(Flask(__name__, instance_path=str(tmp_path)))
    app.secret_key = "a secret of more than sixteen bytes"
    app.session_interface = EncryptedSessionInterface()
    token = write(app.test_client(), a=1)
    app.config["SESSION_ENCRYPTION_KEYRING"] = "session-keys.json"
    succeed(app, "ring", "init", "--import")
    app.config["SESSION_ENCRYPTION_ACCEPT"] = ["secret-key"]
    client = app.test_client()
    client.set_cookie("session", token)
    assert client.get("/read").text == "{'a': 1}"
    keyring = KeyRing(tmp_path / "session-keys.json")
    (taken_over,) = keyring.load().keys
    keyring.change(lambda ring: ring.revoked(taken_over.id, time.time()))

    def refused() -> bool:
        client.set_cookie("session", token)
        return bool(client.get("/read").text == "{}")

    until(refused)


class TestSalt:
    """Two interfaces with different salts share keys and no session."""

    def app(self, salt: Any, folder: Path, source: str, **config: Any) -> Flask:
        app = add_views(Flask(__name__, instance_path=str(folder)))
        app.secret_key = SECRET
        interface = EncryptedSessionInterface(keys=[KEY] if source == "argument" else None)
        if salt is not None:
            interface.salt = salt
        if source == "setting":
            app.config["SESSION_ENCRYPTION_KEYS"] = [KEY.decode()]
        if source == "ring":
            app.config["SESSION_ENCRYPTION_KEYRING"] = "session-keys.json"
        app.config.update(config)
        interface.init_app(app)
        return app

    @pytest.mark.parametrize("form", ["fernet", "xaes-256-gcm"])
    @pytest.mark.parametrize("source", ["argument", "setting", "ring", "secret"])
    def test_sessions_of_one_do_not_open_in_another(
        self, tmp_path: Path, ring: KeyRing, source: str, form: str
    ) -> None:
        config = {"SESSION_ENCRYPTION_FORMAT": form}
        salts = (None, "admin", b"customer")
        apps = [self.app(salt, tmp_path, source, **config) for salt in salts]
        for number, app in enumerate(apps):
            token = write(app.test_client(), a=1)
            for other_number, other in enumerate(apps):
                client = other.test_client()
                client.set_cookie("session", token)
                expected = "{'a': 1}" if number == other_number else "{}"
                assert client.get("/read").text == expected

    def test_another_salt_is_read_as_documented(self, tmp_path: Path, ring: KeyRing) -> None:
        for source, key in (("argument", KEY), ("ring", ring.load().keys[0].key.encode())):
            token = write(self.app("admin", tmp_path, source).test_client(), a=1)
            assert OracleFernet(derived_key(key, "admin")).decrypt(token) == b'{"a":1}'
            token = write(self.app(b"cookie-session", tmp_path, source).test_client(), a=1)
            assert OracleFernet(key).decrypt(token) == b'{"a":1}'

    @pytest.mark.parametrize("salt", ["admin", b"\xff", "sch\u00fcssel"])
    @pytest.mark.parametrize("source", ["argument", "secret"])
    def test_keys_that_a_ring_takes_over_open_the_same_sessions(
        self, tmp_path: Path, source: str, salt: str | bytes
    ) -> None:
        before = self.app(salt, tmp_path, source)
        succeed(before, "ring", "init", "--import", "--path", str(tmp_path / "session-keys.json"))
        after = self.app(salt, tmp_path, "ring", SECRET_KEY=None)
        deploy([before, after])
        for another in (None, "other"):
            other = self.app(another, tmp_path, "ring", SECRET_KEY=None).test_client()
            other.set_cookie("session", write(after.test_client(), a=1))
            assert other.get("/read").text == "{}"
        needed = succeed(after, "ring", "needed", "--json", input=write(before.test_client(), a=1))
        assert list(json.loads(needed)["keys"].values()) == [1]

    def test_a_revoked_key_is_revoked_under_every_salt(self, tmp_path: Path) -> None:
        for salt in (None, "admin"):
            folder = tmp_path / str(salt)
            folder.mkdir()
            before = self.app(salt, folder, "argument")
            path = folder / "session-keys.json"
            succeed(before, "ring", "init", "--import", "--path", str(path))
            token = write(before.test_client(), a=1)
            KeyRing(path).change(lambda ring: ring.revoked(ring.keys[0].id, time.time()))
            after = self.app(salt, folder, "ring", SESSION_ENCRYPTION_KEYS=[KEY],
                             SESSION_ENCRYPTION_ACCEPT=["keys"])  # fmt: skip
            client = after.test_client()
            client.set_cookie("session", token)
            assert client.get("/read").text == "{}"

    def test_a_key_that_cannot_be_used_is_named_under_every_salt(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"SESSION_ENCRYPTION_KEYS\[0\] is not a key"):
            self.app("admin", tmp_path, "", SESSION_ENCRYPTION_KEYS=["x"])


class TestFirstRead:
    """Without ``init_app`` the requests themselves read the ring for the first time."""

    def count(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> list[float]:
        """Makes the key command fail, and returns the list of its time-outs."""
        timeouts: list[float] = []

        def fail(command: tuple[str, ...], timeout: float) -> tuple[str, tuple[bytes, ...]]:
            timeouts.append(timeout)
            time.sleep(min(seconds, timeout))
            return "The key command failed with exit status 1.", ()

        monkeypatch.setattr("flask_fernet.keys.wrapping.run_key_command", fail)
        return timeouts

    def app(self, tmp_path: Path) -> Flask:
        KeyRing(tmp_path / RING_NAME, secrets=[SECRET]).create(new_ring(SESSIONS, time.time()))
        text = (tmp_path / RING_NAME).read_text()
        (tmp_path / RING_NAME).write_text(text.replace("secret-key", "command"))
        return ring_app(
            tmp_path,
            SESSION_ENCRYPTION_KEYRING_WRAPPING="command",
            SESSION_ENCRYPTION_KEYRING_COMMAND=["false"],
        )

    def test_a_command_that_fails_is_not_run_at_each_request(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        clock.freeze_monotonic()
        timeouts, app = self.count(monkeypatch), self.app(tmp_path)
        for seconds, runs in [(0, 1), (0.9, 1), (0.2, 2), (1.9, 2), (0.2, 3), (3.9, 3), (0.2, 4)]:
            clock.monotonic += seconds
            for _ in range(3):
                assert app.test_client().get("/read").status_code == 500
            assert len(timeouts) == runs
        # A changed ring is read at once, and a start-up always tries.
        os.utime(tmp_path / RING_NAME)
        app.test_client().get("/read")
        with pytest.raises(ConfigurationError, match="exit status 1"):
            EncryptedSessionInterface(app)
        assert timeouts[:5] == [2.0] * 5
        assert timeouts[5:] == [10.0]

    def test_the_command_line_does_not_run_a_command_again_that_failed_while_the_app_was_loaded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timeouts = self.count(monkeypatch)

        def create_app() -> Flask:
            app = self.app(tmp_path)
            EncryptedSessionInterface(app)
            return app

        result = run_from(create_app, "doctor")
        assert "exit status 1" in result.stdout
        assert (result.exit_code, len(timeouts)) == (1, 1)

    def test_threads_share_one_attempt_and_no_request_waits_longer_than_two_seconds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timeouts, app = self.count(monkeypatch, seconds=3), self.app(tmp_path)
        waited: list[float] = []

        def request() -> None:
            began = time.monotonic()
            assert app.test_client().get("/read").status_code == 500
            waited.append(time.monotonic() - began)

        threads = [threading.Thread(target=request) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(timeouts) == 1
        assert max(waited) < 3


def test_a_ring_goes_with_the_apps_that_use_it(tmp_path: Path, ring: KeyRing) -> None:
    """Keys of a tenant that has gone do not stay in an interface that serves others."""
    interface = EncryptedSessionInterface()

    def serve() -> weakref.ref[Any]:
        apps = [ring_app(tmp_path) for _ in range(2)]
        followed = set()
        for app in apps:
            interface.init_app(app)
            write(app.test_client(), a=1)
            followed.add(interface._policy(app).ring)
        # Both follow the same.
        (one,) = followed
        del apps[0]
        gc.collect()
        assert apps[0].test_client().get("/read").status_code == 200
        assert interface._policy(apps[0]).ring is one
        return weakref.ref(one)

    followed = serve()
    gc.collect()
    assert followed() is None


def test_a_ring_that_its_app_no_longer_names_is_forgotten(tmp_path: Path, ring: KeyRing) -> None:
    app, sources = ring_app(tmp_path), KeySources()

    def follow() -> weakref.ref[Any] | None:
        followed = sources.resolve(app, FLASKS_SALT, ["fernet"]).ring
        return None if followed is None else weakref.ref(followed)

    followed = follow()
    gc.collect()
    assert followed is not None
    assert followed() is not None
    app.config.update(SESSION_ENCRYPTION_KEYRING=None, SECRET_KEY=SECRET)
    assert follow() is None
    gc.collect()
    assert followed() is None


def test_failures_of_rings_are_forgotten_in_time(tmp_path: Path, clock: Clock) -> None:
    clock.freeze_monotonic()
    interface = EncryptedSessionInterface()
    for name in ("a", "b", "c"):
        app = ring_app(tmp_path, SESSION_ENCRYPTION_KEYRING=name)
        with pytest.raises(ConfigurationError, match="cannot be read"):
            interface.init_app(app)
        clock.monotonic += 20
    # The first was 40 seconds ago.
    assert len(interface._sources._rings._failures) == 2
