"""What the configuration decides, when it is looked at again, and what is warned of once."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, session

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet
from tests.apps import SECRET, MakeApp, add_views, works, write
from tests.oracles import OracleFernet, derived_key

KEY, OLD = Fernet.generate_key(), Fernet.generate_key()


def test_every_setting_is_checked_by_the_first_request(make_app: MakeApp) -> None:
    app = add_views(make_app(SESSION_OVERFLOW="chunk", PROPAGATE_EXCEPTIONS=True))
    with pytest.raises(ConfigurationError, match="SESSION_OVERFLOW"):
        app.test_client().get("/nothing")


def test_a_setting_broken_while_running_is_an_error_until_it_is_mended(make_app: MakeApp) -> None:
    app = add_views(make_app(PROPAGATE_EXCEPTIONS=True))
    client = app.test_client()
    client.get("/read")
    app.config["SECRET_KEY_FALLBACKS"] = "not a list"
    with pytest.raises(ConfigurationError):
        client.get("/read")
    app.config["SECRET_KEY_FALLBACKS"] = None
    assert client.get("/read").status_code == 200


def test_a_mutable_secret_that_changes_is_seen(make_app: MakeApp) -> None:
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


def test_keys_changed_while_they_are_read_are_seen(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread appends the former secret just when another makes keys of the list."""
    app = add_views(make_app(SECRET_KEY_FALLBACKS=[]))
    client = app.test_client()
    write(client, a=1)
    interface: Any = app.session_interface
    former = app.secret_key
    plain = type(interface)._resolve_policy

    def and_then_rotate(interface: Any, app: Flask) -> Any:
        made = plain(interface, app)
        if former not in app.config["SECRET_KEY_FALLBACKS"]:
            app.config["SECRET_KEY_FALLBACKS"].append(former)
        return made

    app.secret_key = "the next secret, and it is long enough"
    with monkeypatch.context() as patched:
        patched.setattr(type(interface), "_resolve_policy", and_then_rotate)
        client.get("/nothing")
    assert client.get("/read").text == "{'a': 1}"


def test_keys_that_go_while_a_request_runs_are_a_named_error(make_app: MakeApp) -> None:
    app = add_views(make_app(PROPAGATE_EXCEPTIONS=True))

    @app.get("/lose")
    def lose() -> str:
        session["a"] = 1
        app.config["SECRET_KEY"] = None
        return ""

    with pytest.raises(ConfigurationError, match="cannot be saved"):
        app.test_client().get("/lose")


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
        ({"SECRET_KEY": "dev", "SECRET_KEY_FALLBACKS": ["old"]}, "SECRET_KEY"),
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
def test_a_short_secret_of_another_source_is_warned_of(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, config: dict[str, Any], name: str
) -> None:
    write(add_views(make_app(**config)).test_client(), a=1)
    (record,) = caplog.records
    assert record.message.startswith(f"{name} has fewer than 16 bytes.")


def test_a_short_secret_that_makes_no_keys_is_not_warned_of(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    write(add_views(make_app(SESSION_ENCRYPTION_KEYS=[KEY], SECRET_KEY="x")).test_client(), a=1)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"SECRET_KEY": None}, "There is no key: set SECRET_KEY"),
        ({"SESSION_COOKIE_SAMESITE": "lose"}, "SESSION_COOKIE_SAMESITE must be 'Strict'"),
        ({"SESSION_COOKIE_NAME": "a;b"}, "SESSION_COOKIE_NAME must be a name that can be read"),
        ({"MAX_COOKIE_SIZE": "4093"}, "MAX_COOKIE_SIZE must be a number of bytes"),
        ({"MAX_COOKIE_SIZE": 100}, "MAX_COOKIE_SIZE must be at least"),
    ],
)
def test_what_would_fail_at_each_request_is_refused_at_start_up(
    config: dict[str, Any], says: str
) -> None:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, **config})
    before = app.session_interface
    with pytest.raises(ConfigurationError, match=says):
        EncryptedSessionInterface(app)
    assert app.session_interface is before


def test_an_app_may_say_that_it_wants_null_sessions() -> None:
    app = add_views(Flask(__name__))
    EncryptedSessionInterface(app, null_sessions=True)
    assert app.test_client().get("/read").text == "{}"
    EncryptedSessionInterface().init_app(app, null_sessions=True)


def test_what_only_browsers_refuse_does_not_stop_an_app() -> None:
    """A test suite turns Secure off under the name of production."""
    app = add_views(Flask(__name__))
    app.config.update(SECRET_KEY=SECRET, SESSION_COOKIE_NAME="__Host-session")
    EncryptedSessionInterface(app)
    works(app)


def test_a_setting_that_is_missing_is_an_error_where_flask_reads_it() -> None:
    app = add_views(Flask(__name__))
    app.secret_key = SECRET
    del app.config["SESSION_COOKIE_SAMESITE"]
    EncryptedSessionInterface(app)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(KeyError):
        works(app)
