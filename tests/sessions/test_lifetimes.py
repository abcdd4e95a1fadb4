"""``SESSION_ABSOLUTE_LIFETIME``, ``regenerate()`` and ``SESSION_REFRESH_AFTER``."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, session
from flask.sessions import SecureCookieSession
from flask_login import LoginManager, UserMixin, login_user

from flask_fernet import (
    ConfigurationError,
    EncryptedSessionInterface,
    Fernet,
    Reason,
    RegenerateMixin,
)
from flask_fernet.sessions import lifetimes
from tests.apps import SECRET, MakeApp, add_views, opened, signed_app, token_of, works, write
from tests.clock import Clock
from tests.oracles import OracleFernet

DAY = 24 * 3600
KEY, OLD = Fernet.generate_key(), Fernet.generate_key()


class Browser:
    """A client whose cookies end only where the server says so: its own clock is another."""

    def __init__(self, app: Flask, token: str | None = None) -> None:
        self.client = app.test_client(use_cookies=False)
        self.token = token

    def get(self, path: str) -> str:
        headers = {"Cookie": f"session={self.token}"} if self.token else {}
        response = self.client.get(path, headers=headers)
        assert response.status_code == 200
        self.written = "Set-Cookie" in response.headers
        if self.written:
            self.token = token_of(response.headers["Set-Cookie"])
        return str(response.text)


def views(app: Flask) -> Flask:
    add_views(app)

    @app.get("/start")
    def start() -> str:
        session.permanent = True
        session["user"] = "ada"
        return ""

    @app.get("/touch")
    def touch() -> str:
        session["touched"] = True
        return ""

    @app.get("/regenerate")
    def regenerate() -> str:
        session.regenerate()  # type: ignore[attr-defined]
        return ""

    return app


class TestAbsolute:
    def limited_app(self, make_app: MakeApp, *interface: Any, **config: Any) -> Flask:
        config = {"SESSION_ABSOLUTE_LIFETIME": timedelta(days=3), **config}
        config.setdefault("PERMANENT_SESSION_LIFETIME", 2 * DAY)
        return views(make_app(*interface, **config))

    def test_refreshing_does_not_prolong_it(self, make_app: MakeApp, clock: Clock) -> None:
        app = self.limited_app(make_app)
        browser = Browser(app)
        browser.get("/start")
        for _ in range(3):
            assert "ada" in browser.get("/read")
            browser.get("/touch")
            clock.now += DAY
        assert "ada" in browser.get("/read")
        clock.now += 1
        assert browser.get("/read") == "{}"
        interface: Any = app.session_interface
        assert interface.rejections[Reason.EXPIRED] == 1

    def test_the_time_of_creation_is_hidden_from_the_session(
        self, make_app: MakeApp, clock: Clock
    ) -> None:
        app = self.limited_app(make_app)
        browser = Browser(app)
        browser.get("/start")
        assert browser.get("/read") == "{'_permanent': True, 'user': 'ada'}"
        payload = json.loads(opened(app, browser.token or "")[0])
        assert payload.pop("flask-fernet:created") == clock.now
        # Once the setting is off it is taken out, and not written again.
        off = views(make_app(SECRET_KEY=app.secret_key))
        later = Browser(off, browser.token)
        assert later.get("/read") == "{'_permanent': True, 'user': 'ada'}"
        later.get("/touch")
        assert b"created" not in opened(off, later.token or "")[0]

    def test_regenerating_begins_it_again(self, make_app: MakeApp, clock: Clock) -> None:
        browser = Browser(self.limited_app(make_app))
        browser.get("/start")
        for _ in range(4):
            clock.now += DAY
            browser.get("/regenerate")
        assert "ada" in browser.get("/read")

    def test_a_cleared_session_is_a_new_one(self, make_app: MakeApp, clock: Clock) -> None:
        """Flask's tutorial logs in with ``session.clear()`` and an id."""
        app = self.limited_app(make_app)

        @app.get("/clear-and-log-in")
        def log_in() -> str:
            session.clear()
            session["user"] = "ada"
            return ""

        browser = Browser(app)
        browser.get("/start")
        for _ in range(4):
            clock.now += DAY
            browser.get("/clear-and-log-in")
        assert "ada" in browser.get("/read")

    def test_a_key_rotation_does_not_prolong_it(self, make_app: MakeApp, clock: Clock) -> None:
        before = self.limited_app(make_app, EncryptedSessionInterface(keys=[OLD]))
        first = Browser(before)
        first.get("/start")
        clock.now += DAY
        after = self.limited_app(make_app, EncryptedSessionInterface(keys=[KEY, OLD]))
        browser = Browser(after, first.token)
        browser.get("/read")
        OracleFernet(KEY).decrypt(browser.token or "")
        clock.now += DAY
        assert "ada" in browser.get("/read")
        clock.now += DAY + 1
        assert browser.get("/read") == "{}"

    def test_a_session_that_was_taken_over_starts_at_its_issue_time(
        self, make_app: MakeApp, clock: Clock
    ) -> None:
        cookie = write(signed_app().test_client(), user="ada", _permanent=True)
        clock.now += DAY
        app = self.limited_app(make_app, SESSION_ENCRYPTION_ACCEPT=["flask-signed"])
        browser = Browser(app, cookie)
        for _ in range(2):
            assert "ada" in browser.get("/read")
            browser.get("/touch")
            clock.now += DAY
        clock.now += 1
        assert browser.get("/read") == "{}"

    def test_a_session_class_with_the_mixin_can_regenerate(
        self, make_app: MakeApp, clock: Clock
    ) -> None:
        class Own(RegenerateMixin, SecureCookieSession):
            pass

        interface = EncryptedSessionInterface()
        interface.session_class = Own
        browser = Browser(self.limited_app(make_app, interface))
        browser.get("/start")
        for _ in range(4):
            clock.now += DAY
            browser.get("/regenerate")
        assert "ada" in browser.get("/read")

    def test_a_log_in_regenerates(self, make_app: MakeApp, clock: Clock) -> None:
        class User(UserMixin):  # type: ignore[misc]
            id = "1"

        app = self.limited_app(make_app)
        LoginManager(app).user_loader(lambda _: User())

        @app.get("/login")
        def login() -> str:
            login_user(User())
            return ""

        browser = Browser(app)
        browser.get("/start")
        for _ in range(4):
            clock.now += DAY
            browser.get("/login")
        assert "ada" in browser.get("/read")


class TestRefreshAfter:
    @pytest.mark.parametrize(("share", "refreshed_at"), [(None, 1), (0, 1), (0.5, 500), (0.9, 900)])
    def test_a_session_is_refreshed_only_when_that_share_has_gone(
        self, make_app: MakeApp, clock: Clock, share: float | None, refreshed_at: int
    ) -> None:
        app = views(make_app(PERMANENT_SESSION_LIFETIME=1000, SESSION_REFRESH_AFTER=share))
        browser = Browser(app)
        browser.get("/start")
        if refreshed_at > 1:
            clock.now += refreshed_at - 1
            browser.get("/read")
            assert not browser.written
        clock.now += 1
        browser.get("/read")
        assert browser.written
        assert opened(app, browser.token or "")[1] == int(clock.now)
        clock.now += refreshed_at + 1
        browser.get("/read")
        assert browser.written

    def test_a_session_from_a_host_whose_clock_is_ahead_is_fresh(
        self, make_app: MakeApp, clock: Clock
    ) -> None:
        app = views(make_app(PERMANENT_SESSION_LIFETIME=1000, SESSION_REFRESH_AFTER=0.1))
        browser = Browser(app)
        with clock.at(clock.now + 5):
            browser.get("/start")
        browser.get("/read")
        assert not browser.written

    def test_a_change_is_always_written(self, make_app: MakeApp, clock: Clock) -> None:
        app = views(make_app(PERMANENT_SESSION_LIFETIME=1000, SESSION_REFRESH_AFTER=0.5))
        browser = Browser(app)
        browser.get("/start")
        browser.get("/touch")
        assert browser.written

    def test_an_older_key_is_still_replaced(self, make_app: MakeApp, clock: Clock) -> None:
        token = OracleFernet(OLD).encrypt_at_time(b'{"_permanent":true}', int(clock.now)).decode()
        app = views(make_app(EncryptedSessionInterface(keys=[KEY, OLD]), SESSION_REFRESH_AFTER=0.5))
        browser = Browser(app, token)
        browser.get("/read")
        OracleFernet(KEY).decrypt(browser.token or "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SESSION_ABSOLUTE_LIFETIME", 0),
        ("SESSION_ABSOLUTE_LIFETIME", "3 days"),
        ("SESSION_ABSOLUTE_LIFETIME", timedelta(0)),
        ("SESSION_ABSOLUTE_LIFETIME", float("nan")),
        ("SESSION_ABSOLUTE_LIFETIME", -1),
        ("SESSION_ABSOLUTE_LIFETIME", 10**400),
        ("SESSION_REFRESH_AFTER", 1),
        ("SESSION_REFRESH_AFTER", 2),
        ("SESSION_REFRESH_AFTER", -0.1),
        ("SESSION_REFRESH_AFTER", True),
        ("PERMANENT_SESSION_LIFETIME", "3 days"),
        ("PERMANENT_SESSION_LIFETIME", float("nan")),
        ("PERMANENT_SESSION_LIFETIME", 1e300),
    ],
)
def test_lifetimes_that_cannot_be_used_are_refused(name: str, value: object) -> None:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, name: value})
    with pytest.raises(ConfigurationError, match=name):
        EncryptedSessionInterface(app)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "-1"),
        (-1e300, "-1e+300"),
        (1 - 10**15, "-999999999999999"),
        (-(10**15), "int"),
        (-(10**16), "int"),
        ("a secret", "str"),
    ],
)
def test_a_lifetime_is_shown_if_it_is_a_short_number(value: object, shown: str) -> None:
    app = Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, SESSION_ABSOLUTE_LIFETIME=value)
    with pytest.raises(ConfigurationError, match=rf"above 0, not {re.escape(shown)}\."):
        EncryptedSessionInterface(app)


@pytest.mark.parametrize("value", [0.5, 1, timedelta(milliseconds=1), None])
def test_an_absolute_lifetime_may_be_as_short_as_one_likes(value: Any) -> None:
    found = lifetimes.absolute_lifetime({"SESSION_ABSOLUTE_LIFETIME": value})
    assert found == (value.total_seconds() if isinstance(value, timedelta) else value)


def test_a_session_is_refreshed_each_time_if_nothing_is_set() -> None:
    assert lifetimes.refresh_from({}, timedelta(days=1)) == 0


def test_without_flask_login_there_is_nothing_to_connect_to(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "flask_login")
    works(add_views(make_app(SESSION_ABSOLUTE_LIFETIME=100)))


def test_a_log_in_leaves_a_session_that_cannot_regenerate_alone(make_app: MakeApp) -> None:
    interface = EncryptedSessionInterface()
    interface.session_class = SecureCookieSession
    app = add_views(make_app(interface, SESSION_ABSOLUTE_LIFETIME=100))

    class User(UserMixin):  # type: ignore[misc]
        id = "1"

    LoginManager(app).user_loader(lambda _: User())

    @app.get("/login")
    def login() -> str:
        return str(login_user(User()))

    client = app.test_client()
    assert client.get("/login").text == "True"
    assert "_user_id" in client.get("/read").text


@pytest.mark.parametrize("keys", [[10, 9], [1.5], [True], [None]])
def test_keys_that_are_no_text_are_written_as_without(make_app: MakeApp, keys: list[Any]) -> None:
    """JSON sorts them among themselves, and cannot sort them with the creation time's key."""
    texts = {}
    for config in ({}, {"SESSION_ABSOLUTE_LIFETIME": 100}):
        app = add_views(make_app(**config))

        @app.get("/odd")
        def odd() -> str:
            session.update(dict.fromkeys(keys, 1))
            return ""

        client = app.test_client()
        assert client.get("/odd").status_code == 200
        texts[bool(config)] = client.get("/read").text
    assert texts[False] == texts[True]


def test_keys_that_cannot_be_sorted_are_an_error_as_without(make_app: MakeApp) -> None:
    for config in ({}, {"SESSION_ABSOLUTE_LIFETIME": 100}):
        app = add_views(make_app(PROPAGATE_EXCEPTIONS=True, **config))

        @app.get("/odd")
        def odd() -> str:
            mixed: Any = [1, "a"]
            session.update(dict.fromkeys(mixed, 2))
            return ""

        with pytest.raises(TypeError):
            app.test_client().get("/odd")


LATE_IMPORT = """
import sys, time
from flask import Flask, session
from flask_fernet import EncryptedSessionInterface
app = Flask(__name__)
app.config.update(SECRET_KEY="s" * 32, SESSION_ABSOLUTE_LIFETIME=100)
EncryptedSessionInterface(app)
with app.test_client() as client, client.session_transaction() as opened:
    opened["a"] = 1
assert "flask_login" not in sys.modules
# Looking whether it is installed is not importing it.
import importlib.util
assert importlib.util.find_spec("flask_login").origin.endswith("__init__.py")
import flask_login
assert type(flask_login.__loader__).__name__ == type(sys.modules["flask"].__loader__).__name__
assert flask_login.__spec__.loader is flask_login.__loader__
from flask_login import LoginManager, UserMixin, login_user
class User(UserMixin):
    id = "1"
LoginManager(app).user_loader(lambda _: User())
@app.get("/login")
def login():
    before = session.__dict__.get("flask-fernet:created")
    login_user(User())
    return repr((before is None, session.__dict__["flask-fernet:created"]))
client.get("/login")
print(client.get("/login").text)
assert not [finder for finder in sys.meta_path if type(finder).__name__ == "_AtImport"]
"""


def test_a_log_in_regenerates_whenever_flask_login_is_imported() -> None:
    command = [sys.executable, "-c", LATE_IMPORT]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.stdout == "(False, None)\n", result.stderr


def test_another_serializer_gets_the_session_with_its_creation_time(
    make_app: MakeApp, clock: Clock
) -> None:
    """Keys that are no text do not make its output be taken for Flask's JSON."""

    class Pairs:
        def dumps(self, value: Any) -> str:
            return json.dumps({"v": 1, "data": list(value.items())})

        def loads(self, text: str) -> Any:
            return dict(json.loads(text)["data"])

    interface = EncryptedSessionInterface()
    interface.serializer = Pairs()  # type: ignore[assignment]
    app = add_views(make_app(interface, SESSION_ABSOLUTE_LIFETIME=100))

    @app.get("/odd")
    def odd() -> str:
        numbers: Any = {1: 2, 3: 4}
        session.update(numbers)
        return ""

    client = app.test_client()
    client.get("/odd")
    assert client.get("/read").text == "{1: 2, 3: 4}"
    clock.now += 101
    assert client.get("/read").text == "{}"


def test_the_import_of_flask_login_connects_its_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process too, where coverage counts the lines."""
    others = [one for one in sys.meta_path if not isinstance(one, lifetimes._AtImport)]
    monkeypatch.setattr(sys, "meta_path", others)
    monkeypatch.delitem(sys.modules, "flask_login")
    lifetimes.regenerate_at_login()
    lifetimes.regenerate_at_login()
    finder, *rest = sys.meta_path
    assert isinstance(finder, lifetimes._AtImport)
    assert rest == others[1:]
    assert importlib.util.find_spec("no_such_module_anywhere") is None
    # Modules that there are, before Flask-Login in the alphabet and after it.
    assert finder.find_spec("ast", None) is finder.find_spec("this", None) is None
    assert finder.find_spec("_".join(["flask", "login"]), None) is not None
    spec = importlib.util.find_spec("flask_login")
    assert spec is not None
    assert spec.loader.is_package("flask_login")  # type: ignore[union-attr]
    module = importlib.import_module("flask_login")
    assert module.user_logged_in.receivers
    assert finder not in sys.meta_path
    monkeypatch.setattr(sys, "meta_path", [finder])
    assert finder.find_spec("flask_login", None) is None


def test_a_stub_without_the_signal_is_left_alone() -> None:
    lifetimes._connect(object())


@pytest.mark.parametrize("kind", ["fernet", "xaes-256-gcm", "stored"])
@pytest.mark.parametrize("permanent", [True, False])
def test_an_idle_session_ends_by_the_server_s_clock(
    make_app: MakeApp, clock: Clock, kind: str, permanent: bool
) -> None:
    """Whatever the browser does with the cookie, and in a store as in a cookie."""
    config = (
        {"SESSION_STORE": "memory://"} if kind == "stored" else {"SESSION_ENCRYPTION_FORMAT": kind}
    )
    app = views(make_app(PERMANENT_SESSION_LIFETIME=1000, **config))

    @app.get("/begin")
    def begin() -> str:
        session.permanent = permanent
        session["kept"] = 1
        return ""

    browser = Browser(app)
    browser.get("/begin")
    token = browser.token
    for later, is_open in [(999, True), (1002, False)]:
        with clock.at(clock.now + later):
            assert ("kept" in Browser(app, token).get("/read")) == is_open
