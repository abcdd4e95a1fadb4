"""The keys of an app: the order of their sources, and the move from one source to another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet, KeyRing
from flask_fernet.keys.ring import new_ring
from tests.apps import (
    SECRET,
    MakeApp,
    add_views,
    deploy,
    opened,
    set_cookie,
    started_ring_app,
    token_of,
    write,
)
from tests.clock import until
from tests.commands import succeed
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
