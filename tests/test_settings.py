"""Settings and keys: the accepted values, and error messages that contain no secret."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet
from flask_fernet.stores.memory import MemoryStore
from tests.apps import SECRET, MakeApp, add_views, write
from tests.oracles import OracleFernet

KEY = Fernet.generate_key()


@pytest.mark.parametrize(
    "keys",
    ["", KEY, KEY.decode(), 5, [], [b""], ["short"], [KEY, "A" * 44], [KEY, None], [KEY[:-1]],
     [KEY + b"="], [KEY.decode()[:20] + " " + KEY.decode()[20:]], [bytearray(KEY)], ["é"],
     ["\ud800"]],
)  # fmt: skip
def test_keys_that_cannot_be_used_are_refused_at_once(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match="keys") as raised:
        EncryptedSessionInterface(keys=keys)
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert KEY.decode()[:10] not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"SESSION_ENCRYPTION_KEYS": []}, r"SESSION_ENCRYPTION_KEYS must not be empty"),
        ({"SESSION_ENCRYPTION_KEYS": ""}, r"SESSION_ENCRYPTION_KEYS must not be empty"),
        ({"SESSION_ENCRYPTION_KEYS": " , "}, r"SESSION_ENCRYPTION_KEYS must not be empty"),
        ({"SESSION_ENCRYPTION_KEYS": 5}, r"_KEYS must be a list of keys, .*, not int\."),
        ({"SESSION_ENCRYPTION_KEYS": [KEY, "no key"]}, r"_KEYS\[1\] is not a key"),
        ({"SESSION_ENCRYPTION_KEYS": f"{KEY.decode()},"}, r"SESSION_ENCRYPTION_KEYS\[1\]"),
        ({"SESSION_ENCRYPTION_KEYS": ["QUJD"]}, r"holds 3 bytes where a key has 32"),
        ({"SESSION_ENCRYPTION_KEYS": [5]}, r"_KEYS\[0\] must be str or bytes, not int\."),
        ({"SECRET_KEY_FALLBACKS": "older"}, r"_FALLBACKS must be a list .*, not str\."),
        ({"SECRET_KEY_FALLBACKS": b"older"}, r"_FALLBACKS must be a list .*, not bytes\."),
        ({"SECRET_KEY_FALLBACKS": 5}, r"_FALLBACKS must be a list .*, not int\."),
        ({"SECRET_KEY_FALLBACKS": [SECRET, ""]}, r"SECRET_KEY_FALLBACKS\[1\] must not be empty"),
        ({"SECRET_KEY_FALLBACKS": [None]}, r"_FALLBACKS\[0\] must be str or bytes, not NoneType\."),
        ({"SECRET_KEY": 5}, r"SECRET_KEY must be str or bytes, not int\."),
        ({"SESSION_ENCRYPTION_KEY": [KEY]}, r"Unknown setting SESSION_ENCRYPTION_KEY; known: "),
        ({"SESSION_ENCRYPTION_ACCEPT": ["keys"]}, r"SESSION_ENCRYPTION_KEYS is not set"),
        ({"SESSION_ENCRYPTION_ACCEPT": ["signed"]}, r"'keyring', .* 'cookie' or 'store"),
        ({"SESSION_ENCRYPTION_ACCEPT": 5}, r"_ACCEPT must be a list of .*, not int\."),
        (
            {"SESSION_ENCRYPTION_KEYS": [KEY], "SESSION_ENCRYPTION_ACCEPT": "secret-key",
             "SECRET_KEY": None},
            r"SECRET_KEY is not set",
        ),
        ({"SESSION_COMPRESSION": "sometimes"}, r"'fit', 'always' or 'never'"),
        ({"SESSION_COMPRESSION": True}, r"'fit', 'always' or 'never'"),
        ({"SESSION_OVERFLOW": "ignore"}, r"'error' or 'warn'"),
        ({"SECRET_KEY_FALLBACKS": {"a": 1}}, r"_FALLBACKS must be a list .*, not dict\."),
        ({"PERMANENT_SESSION_LIFETIME": "3600"}, r"_LIFETIME must be a timedelta .*, not str\."),
        ({"PERMANENT_SESSION_LIFETIME": None}, r"_LIFETIME must be a timedelta .*, not NoneType"),
        ({"PERMANENT_SESSION_LIFETIME": float("nan")}, r"_LIFETIME must be .*, not nan\."),
        ({"PERMANENT_SESSION_LIFETIME": float("inf")}, r"_LIFETIME must be .*, not inf\."),
        ({"SESSION_ABSOLUTE_LIFETIME": 0}, r"ABSOLUTE_LIFETIME must be .* above 0, not 0\."),
        ({"SESSION_ABSOLUTE_LIFETIME": 10**400}, r"ABSOLUTE_LIFETIME must be .*, not int\."),
        ({"SESSION_ABSOLUTE_LIFETIME": True}, r"ABSOLUTE_LIFETIME must be .*, not True\."),
        ({"SESSION_REFRESH_AFTER": 1}, r"REFRESH_AFTER must be .* less than 1, not 1\."),
        ({"SESSION_REFRESH_AFTER": "0.1"}, r"REFRESH_AFTER must be .*, not str\."),
        ({"SESSION_STORE": 5}, r"SESSION_STORE must be the URL .*, not int\."),
        ({"SESSION_STORE": MemoryStore}, r"SESSION_STORE must be the URL .*, not type\."),
        ({"SESSION_STORE": "localhost"}, r"SESSION_STORE must be a URL that begins with redis"),
        ({"SESSION_STORE": "ftp://a:secret@b"}, r"SESSION_STORE must begin with redis"),
        ({"SESSION_STORE": "memory://x"}, r"SESSION_STORE must be 'memory://' alone"),
        ({"SESSION_STORE": "memory://", "SESSION_ENCRYPTION_FORMAT": "flask-signed"},
         r"_FORMAT must be an encrypted format with SESSION_STORE, not 'flask-signed'"),
        ({"SESSION_ENCRYPTION_ACCEPT": "store"}, r"names 'store', but SESSION_STORE is not set"),
        ({"SESSION_STORE_ERRORS": "ignore"}, r"SESSION_STORE_ERRORS must be 'raise' or 'readonly'"),
        ({"SESSION_STORE_TIMEOUT": 0}, r"TIMEOUT must be a number of seconds above 0 .*, not 0\."),
        ({"SESSION_STORE_TIMEOUT": "1"}, r"TIMEOUT must be a number of seconds .*, not str\."),
        ({"SESSION_USER_KEY": ""}, r"USER_KEY must be the name of a key .*, not empty\."),
        ({"SESSION_USER_KEY": 1}, r"USER_KEY must be the name of a key .*, not int\."),
        ({"SESSION_USER_LIMIT": 0}, r"USER_LIMIT must be a whole number from 1 on, .*, not 0\."),
        ({"SESSION_USER_LIMIT": "2"}, r"USER_LIMIT must be a whole number .*, not str\."),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_used_is_refused(
    make_app: MakeApp, config: dict[str, Any], message: str
) -> None:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, **config})
    with pytest.raises(ConfigurationError, match=message) as raised:
        EncryptedSessionInterface(app)
    assert KEY.decode()[:10] not in str(raised.value)
    # Without init_app, the first request raises the error.
    app = add_views(make_app(**config))
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ConfigurationError, match=message):
        app.test_client().get("/read")


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


def test_names_of_settings_that_are_not_text_are_ignored(make_app: MakeApp) -> None:
    app = add_views(make_app())
    app.config[5] = app.config[None] = "ignored, as by Flask"
    client = app.test_client()
    write(client, a=1)
    assert client.get("/read").text == "{'a': 1}"


@pytest.mark.parametrize("key", [KEY + b"\n", f"{KEY.decode()}\r\n", f" {KEY.decode()}"])
def test_a_key_may_end_in_a_newline(make_app: MakeApp, key: str | bytes) -> None:
    app = add_views(make_app(EncryptedSessionInterface(keys=[key])))
    OracleFernet(KEY).decrypt(write(app.test_client(), a=1))
    app = add_views(make_app(SESSION_ENCRYPTION_KEYS=[key]))
    OracleFernet(KEY).decrypt(write(app.test_client(), a=1))
