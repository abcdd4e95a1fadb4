"""Settings and keys: what is accepted, and what every error says and does not say."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, session

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet
from tests.apps import SECRET, MakeApp, add_views, write
from tests.oracles import OracleFernet, derived_key

KEY, OLD = Fernet.generate_key(), Fernet.generate_key()


def readers(app: Flask) -> list[str]:
    """Which of a few keys open sessions of an app, the one that writes them first."""
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
def test_sources_of_keys(
    make_app: MakeApp, keys: Any, config: dict[str, Any], expected: list[str]
) -> None:
    app = add_views(make_app(EncryptedSessionInterface(keys=keys), **config))
    assert readers(app) == expected


@pytest.mark.parametrize(
    "keys",
    ["", KEY, KEY.decode(), 5, [], [b""], ["short"], [KEY, "A" * 44], [KEY, None], [KEY[:-1]],
     [KEY + b"="], [" " + KEY.decode()], [bytearray(KEY)], ["é"], ["\ud800"]],
)  # fmt: skip
def test_arguments_that_are_refused_at_once(keys: Any) -> None:
    with pytest.raises((ConfigurationError, UnicodeEncodeError)) as raised:
        EncryptedSessionInterface(keys=keys)
    assert "keys" in str(raised.value) or "surrogates" in str(raised.value)
    assert KEY.decode()[:10] not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"SESSION_ENCRYPTION_KEYS": []}, r"SESSION_ENCRYPTION_KEYS is set but empty"),
        ({"SESSION_ENCRYPTION_KEYS": ""}, r"SESSION_ENCRYPTION_KEYS is set but empty"),
        ({"SESSION_ENCRYPTION_KEYS": " , "}, r"SESSION_ENCRYPTION_KEYS is set but empty"),
        ({"SESSION_ENCRYPTION_KEYS": 5}, r"SESSION_ENCRYPTION_KEYS is a list"),
        ({"SESSION_ENCRYPTION_KEYS": [KEY, "no key"]}, r"_KEYS\[1\] is not a key"),
        ({"SESSION_ENCRYPTION_KEYS": f"{KEY.decode()},"}, r"SESSION_ENCRYPTION_KEYS\[1\]"),
        ({"SESSION_ENCRYPTION_KEYS": ["QUJD"]}, r"holds 3 bytes where a key has 32"),
        ({"SESSION_ENCRYPTION_KEYS": [5]}, r"SESSION_ENCRYPTION_KEYS\[0\] is a int"),
        ({"SECRET_KEY_FALLBACKS": "older"}, r"SECRET_KEY_FALLBACKS is a list"),
        ({"SECRET_KEY_FALLBACKS": b"older"}, r"SECRET_KEY_FALLBACKS is a list"),
        ({"SECRET_KEY_FALLBACKS": 5}, r"SECRET_KEY_FALLBACKS is a list"),
        ({"SECRET_KEY_FALLBACKS": [SECRET, ""]}, r"SECRET_KEY_FALLBACKS\[1\] is empty"),
        ({"SECRET_KEY_FALLBACKS": [None]}, r"SECRET_KEY_FALLBACKS\[0\] is a NoneType"),
        ({"SECRET_KEY": 5}, r"SECRET_KEY is a int"),
        ({"SESSION_ENCRYPTION_KEY": [KEY]}, r"SESSION_ENCRYPTION_KEY is no setting"),
        ({"SESSION_ENCRYPTION_ACCEPT": ["keys"]}, r"SESSION_ENCRYPTION_KEYS is not set"),
        ({"SESSION_ENCRYPTION_ACCEPT": ["signed"]}, r"'keyring', 'secret-key', .* or 'flask"),
        ({"SESSION_ENCRYPTION_ACCEPT": 5}, r"SESSION_ENCRYPTION_ACCEPT is a list"),
        (
            {"SESSION_ENCRYPTION_KEYS": [KEY], "SESSION_ENCRYPTION_ACCEPT": "secret-key",
             "SECRET_KEY": None},
            r"SECRET_KEY is not set",
        ),
        ({"SESSION_COMPRESSION": "sometimes"}, r"'fit', 'always' or 'never'"),
        ({"SESSION_COMPRESSION": True}, r"'fit', 'always' or 'never'"),
        ({"SESSION_OVERFLOW": "ignore"}, r"'error' or 'warn'"),
    ],
)  # fmt: skip
def test_configurations_that_are_refused(
    make_app: MakeApp, config: dict[str, Any], message: str
) -> None:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, **config})
    with pytest.raises(ConfigurationError, match=message) as raised:
        EncryptedSessionInterface(app)
    assert KEY.decode()[:10] not in str(raised.value)
    if "SESSION_OVERFLOW" in config:
        return  # Looked at only when a session is too large.
    # Without init_app the first request says so.
    app = add_views(make_app(**config))
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ConfigurationError, match=message):
        app.test_client().get("/read")


def test_no_key_at_all(make_app: MakeApp) -> None:
    app = add_views(make_app(SECRET_KEY=None, PROPAGATE_EXCEPTIONS=True))
    client = app.test_client()
    assert client.get("/read").text == "{}"
    with pytest.raises(RuntimeError, match="The session is unavailable because no secret key"):
        client.post("/write", json={"a": 1})


def test_keys_changed_between_requests(make_app: MakeApp) -> None:
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


def test_a_setting_broken_while_running(make_app: MakeApp) -> None:
    app = add_views(make_app(PROPAGATE_EXCEPTIONS=True))
    client = app.test_client()
    client.get("/read")
    app.config["SECRET_KEY_FALLBACKS"] = "not a list"
    with pytest.raises(ConfigurationError):
        client.get("/read")
    app.config["SECRET_KEY_FALLBACKS"] = None
    assert client.get("/read").status_code == 200


def test_settings_that_are_not_immutable(make_app: MakeApp) -> None:
    """What can change without becoming another object is never taken for the same."""
    secret = bytearray(SECRET.encode())
    app = add_views(make_app(SECRET_KEY=secret))
    client = app.test_client()
    before = write(client, a=1)
    secret[0] ^= 1
    assert client.get("/read").text == "{}"
    after = write(client, a=1)
    OracleFernet(derived_key(SECRET.encode())).decrypt(before)
    OracleFernet(derived_key(bytes(secret))).decrypt(after)


@pytest.mark.parametrize(("secret", "warned"), [("x" * 15, True), ("x" * 16, False)])
def test_a_short_secret_is_warned_of_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, secret: str, warned: bool
) -> None:
    app = add_views(make_app(SECRET_KEY=secret))
    client = app.test_client()
    for _ in range(3):
        write(client, a=1)
        app.config["PERMANENT_SESSION_LIFETIME"] = 5000
    assert len([r for r in caplog.records if "SECRET_KEY has fewer" in r.message]) == warned
    assert "xxxx" not in caplog.text


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"SECRET_KEY_FALLBACKS": ["dev"]}, "SECRET_KEY_FALLBACKS[0]"),
        (
            {
                "SECRET_KEY": "dev",
                "SESSION_ENCRYPTION_KEYS": [KEY],
                "SESSION_ENCRYPTION_ACCEPT": ["secret-key"],
            },
            "SECRET_KEY",
        ),
    ],
)
def test_a_short_secret_by_another_way(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, config: dict[str, Any], name: str
) -> None:
    write(add_views(make_app(**config)).test_client(), a=1)
    (record,) = caplog.records
    assert record.message.startswith(f"{name} has fewer than 16 bytes.")


@pytest.mark.parametrize(
    "config",
    [
        {"SESSION_ENCRYPTION_ACCEPT": [KEY]},
        {"SESSION_COMPRESSION": KEY.decode()},
        {"SESSION_OVERFLOW": KEY.decode()},
        {"SESSION_ENCRYPTION_KEYS": [KEY.decode() + "\ud800"]},
        {"SESSION_ENCRYPTION_KEYS": [KEY + b"x"]},
        {"SECRET_KEY": KEY.decode() + "\ud800"},
        {"SECRET_KEY_FALLBACKS": [KEY.decode() + "\ud800"]},
    ],
)
def test_a_key_in_the_wrong_place_is_not_shown(config: dict[str, Any]) -> None:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, **config})
    with pytest.raises(ConfigurationError) as raised:
        EncryptedSessionInterface(app)
    chain = raised.value
    assert chain.__suppress_context__ or chain.__context__ is None
    assert KEY.decode()[:8] not in repr(chain.args)
    (name,) = config
    assert name in str(chain)


@pytest.mark.parametrize("keys", [{KEY}, iter([KEY]), {KEY: 1}], ids=["set", "iterator", "dict"])
def test_keys_need_an_order(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match="the newest first"):
        EncryptedSessionInterface(keys=keys)
    app = Flask(__name__)
    app.config["SESSION_ENCRYPTION_KEYS"] = keys
    with pytest.raises(ConfigurationError, match="the newest first"):
        EncryptedSessionInterface(app)


def test_every_setting_is_checked_by_the_first_request(make_app: MakeApp) -> None:
    app = add_views(make_app(SESSION_OVERFLOW="chunk", PROPAGATE_EXCEPTIONS=True))
    with pytest.raises(ConfigurationError, match="SESSION_OVERFLOW"):
        app.test_client().get("/nothing")


def test_no_warning_where_the_secret_makes_no_keys(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    write(add_views(make_app(SESSION_ENCRYPTION_KEYS=[KEY], SECRET_KEY="x")).test_client(), a=1)
    assert caplog.records == []


def test_keys_that_go_while_a_request_runs(make_app: MakeApp) -> None:
    app = add_views(make_app(PROPAGATE_EXCEPTIONS=True))

    @app.get("/lose")
    def lose() -> str:
        session["a"] = 1
        app.config["SECRET_KEY"] = None
        return ""

    with pytest.raises(ConfigurationError, match="cannot be saved"):
        app.test_client().get("/lose")
