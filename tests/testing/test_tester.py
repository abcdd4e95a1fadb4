"""What tests of an app use: sessions read and made, time travelled, rejections asserted."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session

from flask_fernet import EncryptedSessionInterface, Fernet, KeyRing, Reason, new_ring
from flask_fernet.testing import SessionTester, plugin
from tests.servers import RedisServer

pytest_plugins = ["pytester"]

KEY, OTHER = Fernet.generate_key(), Fernet.generate_key()


def make(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": "a secret of the tests of helpers", **config})
    EncryptedSessionInterface(app)

    @app.get("/visit")
    def visit() -> str:
        session["visits"] = session.get("visits", 0) + 1
        return str(session["visits"])

    @app.get("/read")
    def read() -> str:
        return repr(dict(session))

    @app.get("/clear")
    def clear() -> str:
        session.clear()
        return ""

    return app


PLACES = [
    {},
    {"SESSION_ENCRYPTION_KEYS": [KEY, OTHER]},
    {"SESSION_ENCRYPTION_FORMAT": "xaes-256-gcm", "SESSION_COOKIE_NAME": "other"},
    {"SESSION_ENCRYPTION_FORMAT": "flask-signed"},
    {"SESSION_ABSOLUTE_LIFETIME": 3600},
    {"SESSION_STORE": "memory://"},
]


@pytest.mark.parametrize("config", PLACES)
def test_a_session_is_read_from_a_client_a_response_and_a_cookie(config: dict[str, Any]) -> None:
    app = make(**config)
    tester, client = SessionTester(app), app.test_client()
    assert tester.read(client) == {}
    assert tester.cookie(client) is None
    response = client.get("/visit")
    cookie = tester.cookie(client)
    assert cookie
    for source in (client, response, cookie):
        assert tester.read(source) == {"visits": 1}
    assert tester.cookie(client.get("/clear")) == ""
    assert tester.read(client) == {}


@pytest.mark.parametrize("config", PLACES)
def test_a_forged_session_is_the_apps(config: dict[str, Any]) -> None:
    app = make(**config)
    tester, client = SessionTester(app), app.test_client()
    data = {"visits": 41, "bytes": b"\0", "tuple": (1, 2)}
    with tester.accepts():
        cookie = tester.log_in(client, data)
        assert tester.read(cookie) == data
        assert client.get("/visit").text == "42"
    assert tester.read(client) == {**data, "visits": 42}


@pytest.mark.parametrize(
    "config",
    [
        {"SESSION_COOKIE_PATH": "/read"},
        {"SESSION_COOKIE_DOMAIN": "example.org", "SERVER_NAME": "www.example.org"},
        {"SERVER_NAME": "example.org:5000"},
        {"SERVER_NAME": "example.org", "TRUSTED_HOSTS": ["example.org"]},
        {"TRUSTED_HOSTS": ["www.example.org", "example.org"]},
        {"TRUSTED_HOSTS": [".example.org"]},
        {"APPLICATION_ROOT": "/read"},
        {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_PARTITIONED": True},
    ],
)
def test_a_session_is_where_the_app_would_set_it(config: dict[str, Any]) -> None:
    app = make(**config)
    tester = SessionTester(app)
    client = app.test_client()
    trusted = config.get("TRUSTED_HOSTS", ["localhost"])[0].lstrip(".")
    url = f"https://{config.get('SERVER_NAME', trusted)}/read"
    tester.log_in(client, {"a": 1})
    assert tester.read(client) == {"a": 1}
    with tester.accepts():
        assert client.get("/read", base_url=url.removesuffix("/read")).text == "{'a': 1}"


def test_a_forged_session_has_the_age_that_is_asked_for() -> None:
    app = make(PERMANENT_SESSION_LIFETIME=3600)
    tester, client = SessionTester(app), app.test_client()
    for age in (0, 3500, timedelta(minutes=59), -30):
        tester.log_in(client, {"a": 1}, age=age)
        with tester.accepts():
            client.get("/read")
    for age, reason in ((3700, Reason.EXPIRED), (timedelta(hours=-1), Reason.FROM_FUTURE)):
        tester.log_in(client, {"a": 1}, age=age)
        with tester.rejects(reason):
            assert client.get("/read").text == "{}"


def test_a_session_is_forged_under_other_keys_and_in_other_formats() -> None:
    app = make(SESSION_ENCRYPTION_KEYS=[KEY])
    tester, client = SessionTester(app), app.test_client()
    for options, reason in (
        ({"keys": [OTHER]}, "unauthentic"),
        ({"secret_key": "somebody else's secret key"}, "unauthentic"),
        ({"SESSION_ENCRYPTION_FORMAT": "xaes-256-gcm"}, "malformed"),
        ({"SESSION_ENCRYPTION_FORMAT": "flask-signed"}, "malformed"),
        ({"SESSION_STORE": "memory://"}, "malformed"),
    ):
        tester.log_in(client, {"a": 1}, **options)
        with tester.rejects(reason) as reasons:
            client.get("/read")
        assert len(reasons) == 1
    app.config["SESSION_ENCRYPTION_ACCEPT"] = ["flask-signed"]
    tester.log_in(client, {"a": 1}, SESSION_ENCRYPTION_FORMAT="flask-signed")
    with tester.accepts():
        assert client.get("/read").text == "{'a': 1}"
    assert tester.forge({"a": 1}, SESSION_COOKIE_NAME="other", SESSION_STORE=None)
    with pytest.raises(ValueError, match="whose key is secret_key"):
        tester.forge({"a": 1}, keys=[OTHER], SESSION_ENCRYPTION_FORMAT="flask-signed")
    assert app.config["SESSION_ENCRYPTION_KEYS"] == [KEY]


def test_a_session_of_a_fallback_is_forged() -> None:
    app = make(SECRET_KEY_FALLBACKS=["a former secret of the tests"])
    tester, client = SessionTester(app), app.test_client()
    tester.log_in(client, {"a": 1}, secret_key="a former secret of the tests")
    with tester.accepts():
        assert client.get("/read").text == "{'a': 1}"


def test_a_session_of_a_ring_is_forged(tmp_path: Path) -> None:
    KeyRing(tmp_path / "ring.json").create(new_ring("sessions", time.time() - 100))
    app = make(SESSION_ENCRYPTION_KEYRING=str(tmp_path / "ring.json"))
    tester, client = SessionTester(app), app.test_client()
    tester.log_in(client, {"a": 1})
    assert client.get("/read").text == "{'a': 1}"


def test_a_changed_cookie_is_refused() -> None:
    app = make()
    tester, client = SessionTester(app), app.test_client()
    cookie = tester.tampered(tester.forge({"a": 1}))
    client.set_cookie("session", cookie)
    with tester.rejects(Reason.UNAUTHENTIC):
        client.get("/read")
    with pytest.raises(AssertionError, match="refused the session cookie: unauthentic"):
        tester.read(cookie)


def test_an_assertion_says_what_happened_instead() -> None:
    app = make()
    tester, client = SessionTester(app), app.test_client()
    with pytest.raises(AssertionError, match="refused as expired, but was: none"):  # noqa: SIM117
        with tester.rejects("expired"):
            client.get("/read")
    client.set_cookie("session", "nonsense")
    with pytest.raises(AssertionError, match="refused as expired, but was: malformed"):  # noqa: SIM117
        with tester.rejects("expired"):
            client.get("/read")
    with pytest.raises(AssertionError, match="but one was: malformed"):  # noqa: SIM117
        with tester.accepts():
            client.get("/read")
    with pytest.raises(ValueError, match="valid Reason"), tester.rejects("no reason"):
        pass
    with pytest.raises(ValueError, match="must not be empty"):
        tester.forge({})


def test_time_travel_ends_with_the_test() -> None:
    app = make(PERMANENT_SESSION_LIFETIME=3600)
    client, real = app.test_client(), time.time
    with SessionTester(app) as tester:
        tester.log_in(client, {"a": 1})
        tester.travel(timedelta(minutes=59))
        with tester.accepts():
            client.get("/read")
        tester.travel(120)
        assert time.time() - real() == pytest.approx(61 * 60, abs=5)
        with tester.rejects(Reason.EXPIRED):
            client.get("/read")
        tester.travel(-120)
        with tester.accepts():
            client.get("/read")
    assert time.time is real


def test_a_permanent_cookie_ends_by_the_clock_that_was_travelled() -> None:
    app = make()

    @app.get("/permanent")
    def permanent() -> str:
        session.permanent = True
        return ""

    with SessionTester(app) as tester:
        tester.travel(timedelta(days=3650))
        header = app.test_client().get("/permanent").headers["Set-Cookie"]
        assert f"{time.gmtime().tm_year + 10} " in header.partition("Expires=")[2]


def test_a_stored_session_on_redis_is_forged(redis_server: RedisServer) -> None:
    app = make(SESSION_STORE=redis_server.url)
    tester = SessionTester(app)
    phone, laptop = app.test_client(), app.test_client()
    tester.log_in(phone, {"_user_id": "7", "visits": 1})
    tester.log_in(laptop, {"_user_id": "7", "visits": 2})
    with app.app_context():
        assert tester.interface.revoke_user("7") == 2
    with tester.rejects("gone"):
        phone.get("/read")
    with tester.rejects("gone"):
        laptop.get("/read")


def test_it_wants_an_app_with_encrypted_sessions() -> None:
    with pytest.raises(TypeError, match="EncryptedSessionInterface"):
        SessionTester(Flask(__name__))


def test_the_plugin_gives_the_fixture(pytester: pytest.Pytester) -> None:
    """As a user's suite has it, in a process of its own."""
    pytester.makeconftest("""
        import pytest
        from flask import Flask, session
        from flask_fernet import EncryptedSessionInterface

        pytest_plugins = ["flask_fernet.testing.plugin"]

        @pytest.fixture
        def app():
            app = Flask(__name__)
            app.secret_key = "a secret of the plugin's test"
            EncryptedSessionInterface(app)

            @app.get("/")
            def index():
                return str(session.get("user"))

            return app
    """)
    pytester.makepyfile("""
        import time

        REAL = time.time

        def test_forged(app, session_tester):
            client = app.test_client()
            session_tester.log_in(client, {"user": 7})
            assert client.get("/").text == "7"
            session_tester.travel(10 ** 8)
            with session_tester.rejects("expired"):
                assert client.get("/").text == "None"

        def test_time_is_back():
            assert time.time is REAL
    """)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


def test_the_fixture_ends_what_the_test_has_begun() -> None:
    app, real = make(), time.time
    fixture: Any = plugin.session_tester
    given = fixture.__wrapped__(app)
    tester = next(given)
    tester.travel(60)
    assert time.time is not real
    assert list(given) == []
    assert time.time is real


def test_it_is_for_flask_alone() -> None:
    from tests.quart.apps import quart_app

    with pytest.raises(TypeError, match="for Flask apps, not for Quart"):
        SessionTester(quart_app())  # type: ignore[arg-type]


def test_a_response_without_the_cookie_has_none() -> None:
    app = make()

    @app.get("/other")
    def other() -> Any:
        response = app.response_class()
        response.set_cookie("another", "1")
        return response

    assert SessionTester(app).cookie(app.test_client().get("/other")) is None
