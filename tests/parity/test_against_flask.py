"""Sends the same requests to Flask's interface and to ours. Only the token may differ."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from flask import Flask, Response, current_app, request, session
from flask.json.provider import DefaultJSONProvider
from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask.wrappers import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.local import LocalProxy

from flask_fernet import EncryptedSessionInterface
from tests.apps import SECRET, MakeApp, opened, set_cookie, token_of
from tests.clock import Clock
from tests.oracles import release
from tests.parity.pairs import PATHS, ComplexTag, Pair, add_compared_views, compare, seen

pytestmark = pytest.mark.usefixtures("frozen")


@given(paths=st.lists(st.sampled_from(PATHS), max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_requests_gets_the_same_answers(
    make_placed: MakeApp, place: str, paths: list[str]
) -> None:
    if place == "stored":
        # A change of nested data, which Flask does not notice, is saved.
        paths = [path for path in paths if path != "/nested"]
    compare(Pair(make_placed), paths)


CONFIGURATIONS: list[dict[str, Any]] = [
    {"SESSION_COOKIE_NAME": "other-name"},
    {"SESSION_COOKIE_NAME": "näme"},
    {"SESSION_COOKIE_DOMAIN": "example.com"},
    {"SESSION_COOKIE_DOMAIN": ".example.com:80"},
    {"SESSION_COOKIE_DOMAIN": "exämple.com"},
    {"SESSION_COOKIE_PATH": "/app"},
    {"SESSION_COOKIE_PATH": "/app; x=é"},
    {"APPLICATION_ROOT": "/root"},
    {"SESSION_COOKIE_HTTPONLY": False},
    {"SESSION_COOKIE_SECURE": True},
    {"SESSION_COOKIE_PARTITIONED": True},
    {"SESSION_COOKIE_SAMESITE": "Lax"},
    {"SESSION_COOKIE_SAMESITE": "strict"},
    {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True},
    {"SESSION_REFRESH_EACH_REQUEST": False},
    {"PERMANENT_SESSION_LIFETIME": 60},
    {"PERMANENT_SESSION_LIFETIME": timedelta(days=400, seconds=1, microseconds=900_000)},
    {"PERMANENT_SESSION_LIFETIME": timedelta(seconds=-5)},
    {"SECRET_KEY": b"\xff" * 20},
    {"SECRET_KEY_FALLBACKS": ["an older secret of many bytes", b"an even older one"]},
    {"SECRET_KEY": None},
    {"SECRET_KEY": ""},
    {"MAX_COOKIE_SIZE": 0},
    {"DEBUG": True, "PROPAGATE_EXCEPTIONS": False},
    {"TESTING": True, "PROPAGATE_EXCEPTIONS": False},
]


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=repr)
def test_every_setting_does_what_it_does_in_flask(
    make_placed: MakeApp, config: dict[str, Any]
) -> None:
    pair = Pair(make_placed, **config)
    if not config.get("SECRET_KEY", True):
        pair.both(lambda app: app.config.update(PROPAGATE_EXCEPTIONS=False))
    compare(pair, [*PATHS, *PATHS])


def test_a_setting_that_flask_refuses_is_refused(make_placed: MakeApp) -> None:
    pair = Pair(make_placed, SESSION_COOKIE_SAMESITE="sometimes", TESTING=True)
    for client in pair.clients():
        with pytest.raises(ValueError, match="SameSite"):
            client.get("/write/a")


def test_a_configuration_changed_between_requests_is_seen(make_placed: MakeApp) -> None:
    pair = Pair(make_placed)
    signed, encrypted = pair.clients()
    for config in [{}, *CONFIGURATIONS[5:17], {"SESSION_COOKIE_NAME": "last"}]:
        pair.both(lambda app, config=config: app.config.update(config))  # type: ignore[misc]
        for path in ["/items", "/write/b", "/permanent/1", "/nothing"]:
            assert seen(encrypted, path) == seen(signed, path)


def test_secrets_changed_in_place_are_seen(make_placed: MakeApp) -> None:
    pair = Pair(make_placed, SECRET_KEY_FALLBACKS=[])
    signed, encrypted = pair.clients()

    def rotate(app: Flask) -> None:
        app.config["SECRET_KEY_FALLBACKS"].append(app.secret_key)
        app.secret_key = "the next secret, and it is long enough"

    def forget(app: Flask) -> None:
        app.config["SECRET_KEY_FALLBACKS"].clear()

    results = []
    for client in (signed, encrypted):
        client.get("/write/kept")
    for change in (rotate, forget):
        pair.both(change)
        results.append([client.get("/items").text for client in (signed, encrypted)])
    assert results[0] == ["[('value', 'kept')]"] * 2
    # Our interface reissued the session under the new secret, so it survives the old one. Before
    # Flask 3.1.3, `items()` does not count as a use of the session.
    if release("Flask") >= (3, 1, 3):
        assert results[1] == ["[]", "[('value', 'kept')]"]


class Hooks:
    """A mixin that overrides every hook."""

    def get_cookie_name(self, app: Flask) -> str:
        return "hooked"

    def get_cookie_domain(self, app: Flask) -> str | None:
        return "example.org"

    def get_cookie_path(self, app: Flask) -> str:
        return f"/{app.config['SESSION_COOKIE_NAME']}"

    def get_cookie_httponly(self, app: Flask) -> bool:
        return False

    def get_cookie_secure(self, app: Flask) -> bool:
        return True

    def get_cookie_samesite(self, app: Flask) -> str | None:
        return "Strict"

    def get_cookie_partitioned(self, app: Flask) -> bool:
        return True

    def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime | None:
        return datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

    def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
        return "value" in session


HOOKS = [name for name in vars(Hooks) if name.startswith(("get_", "should_"))]


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_of_a_subclass_is_called(make_placed: MakeApp, hook: str) -> None:
    compare(Pair(make_placed, type("One", (), {hook: vars(Hooks)[hook]})), [*PATHS, *PATHS])


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_set_on_an_instance_is_called(
    make_placed: MakeApp, place: str, hook: str
) -> None:
    pair = Pair(make_placed)
    clients = pair.clients()
    for path in ["/write/a", "/items"]:
        assert seen(clients[1], path) == seen(clients[0], path)
    pair.both(lambda app: setattr(app.session_interface, hook, getattr(Hooks(), hook)))
    if place == "stored" and hook in ("get_cookie_domain", "get_cookie_path"):
        # The browser would keep two cookies, which refer to one session.
        clients = (pair.signed.test_client(), pair.encrypted.test_client())
    for path in [*PATHS, *PATHS]:
        assert seen(clients[1], path) == seen(clients[0], path)


def test_all_hooks_of_a_subclass_are_called(make_placed: MakeApp) -> None:
    compare(Pair(make_placed, Hooks), [*PATHS, *PATHS])


def test_a_hook_may_return_no_expiration(make_placed: MakeApp) -> None:
    class Never:
        def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime | None:
            return None

    compare(Pair(make_placed, Never), ["/permanent/1", "/items"])


class Recorded(SecureCookieSession):
    """A session class whose constructor sets a value."""

    def __init__(self, initial: Any = None) -> None:
        super().__init__(initial)
        if "made" not in self:
            self["made"] = "here"

    @property
    def permanent(self) -> bool:
        return True

    @permanent.setter
    def permanent(self, value: bool) -> None:
        pass


class Plain(dict, SessionMixin):  # type: ignore[type-arg]
    """The minimal session of Flask's documentation."""


class Upper(SecureCookieSession):
    """A session class that returns other values than it stores."""

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return value.upper() if isinstance(value, str) else value


@pytest.mark.parametrize("session_class", [Recorded, Plain, Upper, SecureCookieSession])
def test_any_session_class_is_used(make_placed: MakeApp, session_class: type) -> None:
    interface = type("Classed", (), {"session_class": session_class})
    compare(Pair(make_placed, interface), [*PATHS, *PATHS])
    pair = Pair(make_placed)
    pair.both(lambda app: setattr(app.session_interface, "session_class", session_class))
    compare(pair, [*PATHS, *PATHS])


def test_a_session_class_may_be_a_function(make_placed: MakeApp) -> None:
    interface = type("Made", (), {"session_class": staticmethod(lambda *a: Recorded(*a))})
    compare(Pair(make_placed, interface), [*PATHS, *PATHS])


class ReversingSerializer:
    """A serializer whose text is not JSON, and begins like a compressed payload."""

    inner = TaggedJSONSerializer()

    def dumps(self, value: Any) -> str:
        return "." + self.inner.dumps(value)[::-1]

    def loads(self, text: str) -> Any:
        return self.inner.loads(text[:0:-1])


def with_tag() -> TaggedJSONSerializer:
    serializer = TaggedJSONSerializer()
    serializer.register(ComplexTag)
    return serializer


@pytest.mark.parametrize("make", [with_tag, ReversingSerializer])
def test_any_serializer_is_used(make_placed: MakeApp, make: Callable[[], Any]) -> None:
    pair = Pair(make_placed, type("Serialized", (), {"serializer": make()}))
    compare(pair, [*PATHS, *PATHS])
    pair = Pair(make_placed)
    pair.both(lambda app: setattr(app.session_interface, "serializer", make()))
    compare(pair, [*PATHS, *PATHS])


def test_a_tag_registered_while_running_is_used(make_placed: MakeApp) -> None:
    app = make_placed(type("Own", (EncryptedSessionInterface,), {"serializer": with_tag()})())
    serializer = TaggedJSONSerializer()
    app.session_interface.serializer = serializer  # type: ignore[attr-defined]

    @app.get("/")
    def view() -> str:
        session["number"] = 1j
        return "set"

    add_compared_views(app)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    client = app.test_client()
    client.get("/write/a")
    with pytest.raises(TypeError, match="complex"):
        client.get("/")
    serializer.register(ComplexTag)
    client.get("/")
    assert client.get("/items").text == "[('number', 1j), ('value', 'a')]"


class OtherProvider(DefaultJSONProvider):
    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return super().dumps(obj, **{**kwargs, "indent": 1})


@pytest.mark.parametrize(
    "change",
    [
        lambda app: setattr(app, "json", OtherProvider(app)),
        lambda app: setattr(app.json, "sort_keys", False),
        lambda app: setattr(app.json, "ensure_ascii", False),
        lambda app: setattr(app.json, "dumps", OtherProvider(app).dumps),
    ],
)
def test_any_json_provider_is_used(make_placed: MakeApp, change: Callable[[Flask], Any]) -> None:
    pair = Pair(make_placed)
    pair.both(change)
    compare(pair, [*PATHS, *PATHS])


class RequestWithMore(Request):
    @property
    def more(self) -> str:
        return "more"


class RequestWithItsOwnCookies(Request):
    @property
    def cookies(self) -> Any:
        from werkzeug.datastructures import ImmutableMultiDict

        return ImmutableMultiDict(
            [(key.removeprefix("x-"), value) for key, value in super().cookies.items()]
        )


class ResponseWithItsOwnCookies(Response):
    def set_cookie(self, key: str, *arguments: Any, **options: Any) -> None:
        super().set_cookie("x-" + key, *arguments, **options)


@pytest.mark.parametrize(
    "classes", [(RequestWithMore, Response), (RequestWithItsOwnCookies, ResponseWithItsOwnCookies)]
)
def test_any_request_and_response_class_is_used(
    make_placed: MakeApp, classes: tuple[Any, Any]
) -> None:
    pair = Pair(make_placed)

    def change(app: Flask) -> None:
        app.request_class, app.response_class = classes

    pair.both(change)
    compare(pair, [*PATHS, *PATHS])


@pytest.mark.parametrize(
    "header",
    [
        "{name}={token}; a=b",
        'a="b;c"; {name}={token}',
        '{name}="{token}"',
        " {name} = {token} ; x",
        "{name}={token}; {name}=other",
        "x{name}={token}",
        "{name}",
        "a=é; {name}={token}",
        "a b={token}; {name}={token}",
        "",
    ],
)
def test_any_cookie_header_is_read_as_flask_reads_it(make_placed: MakeApp, header: str) -> None:
    pair = Pair(make_placed)
    results = []
    for app, client in zip(pair.apps, pair.clients(), strict=True):
        token = token_of(client.get("/write/found").headers["Set-Cookie"])
        fresh = app.test_client(use_cookies=False)
        text = header.format(name="session", token=token)
        cookie = text.encode().decode("latin1")
        results.append(fresh.get("/items", environ_base={"HTTP_COOKIE": cookie}).text)
    assert results[0] == results[1]


def test_session_transactions_of_the_test_client_work(make_placed: MakeApp) -> None:
    pair = Pair(make_placed)
    for client in pair.clients():
        with client.session_transaction() as transaction:
            transaction["value"] = "from the test"
            transaction.permanent = True
        assert "from the test" in client.get("/items").text
        with client.session_transaction() as transaction:
            assert transaction.pop("value") == "from the test"
        assert "value" not in client.get("/items").text


def test_nested_contexts_keep_their_sessions_apart(make_placed: MakeApp) -> None:
    """A request inside a request has its own session, in the same app and in another one."""
    pair = Pair(make_placed)
    results = []
    for app, client in zip(pair.apps, pair.clients(), strict=True):
        other = Flask("other")
        other.secret_key = SECRET
        other.session_interface = app.session_interface
        add_compared_views(other)

        @app.get("/nest")
        def nest(app: Flask = app, other: Flask = other) -> str:
            session["value"] = "outer"
            inner = app.test_client().get("/write/inner").text
            elsewhere = other.test_client().get("/write/elsewhere").text
            with app.test_request_context("/items"):
                assert "value" not in session
                session["value"] = "pushed"
            return f"{inner} {elsewhere} {session['value']}"

        results.append([client.get("/nest").text, client.get("/items").text])
    assert results[0] == results[1]


def test_apps_that_share_an_interface_share_no_session(make_placed: MakeApp) -> None:
    apps = [make_placed(), Flask("second"), Flask("third")]
    for number, app in enumerate(apps):
        app.session_interface = apps[0].session_interface
        app.secret_key = f"{SECRET} {number}"
        app.config["SESSION_COOKIE_NAME"] = f"session-{number}"
        add_compared_views(app)
    clients = [app.test_client() for app in apps]
    for turn in range(3):
        for number, client in enumerate(clients):
            client.get(f"/write/{turn}-{number}")
        for number, client in enumerate(clients):
            assert client.get("/items").text == f"[('value', '{turn}-{number}')]"
    token = clients[0].get_cookie("session-0")
    assert token is not None
    clients[1].set_cookie("session-1", token.value)
    assert clients[1].get("/items").text == "[]"


@pytest.mark.parametrize("permanent", [0, 1])
def test_an_error_while_saving_has_the_same_effects(make_placed: MakeApp, permanent: int) -> None:
    pair = Pair(make_placed)

    def add(app: Flask) -> None:
        @app.get("/unwritable")
        def unwritable() -> str:
            session.permanent = bool(permanent)
            session["a"] = object()
            return ""

        @app.get("/unsortable")
        def unsortable() -> str:
            mixed: Any = [1, "a"]
            session.update(dict.fromkeys(mixed, 2))
            return ""

    pair.both(add)
    signed, encrypted = pair.clients()
    for path in ("/unwritable", "/unsortable"):
        response = seen(encrypted, path)
        assert response == seen(signed, path)
        assert response[0] == 500
        assert ("Vary", "Cookie") in response[2]


def test_each_clock_is_read_where_flask_reads_it(
    make_placed: MakeApp, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """A test suite may freeze ``time.time`` alone, ``datetime`` alone, or both at other times."""
    pair = Pair(make_placed)
    clients = pair.clients()

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2031, 5, 4, 3, 2, 1, 999_999, tz)

    class Broken(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            raise ZeroDivisionError

    def expires() -> list[str]:
        found = []
        for client in clients:
            header = client.get("/permanent/1").headers.get("Set-Cookie", "")
            found.append(header.partition("Expires=")[2].partition(";")[0])
        return found

    for frozen in (Frozen, Broken):
        monkeypatch.setattr("flask.sessions.datetime", frozen)
        signed, encrypted = expires()
        assert signed == encrypted
        assert (signed == "Wed, 04 Jun 2031 03:02:01 GMT") == (frozen is Frozen)
    # With `time.time` alone, `Expires` counts from the real time, which may be a second later.
    monkeypatch.undo()
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.5)
    times = [parsedate_to_datetime(one) for one in expires()]
    assert timedelta() <= times[1] - times[0] <= timedelta(seconds=5)
    assert (
        opened(pair.encrypted, token_of(set_cookie(clients[1].get("/permanent/1"))))[1]
        == 2_000_000_000
    )


@pytest.mark.parametrize("odd", [1, None, ("a", "b"), b"SECRET_KEY", 1.5])
def test_settings_under_odd_names_are_ignored(make_placed: MakeApp, odd: Any) -> None:
    pair = Pair(make_placed)
    pair.both(lambda app: app.config.update({odd: "value"}))
    signed, encrypted = pair.clients()
    for path in ("/write/a", "/permanent/1", "/items"):
        assert seen(encrypted, path) == seen(signed, path)


class Unhashable(Flask):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize("kind", ["app", "current_app", "LocalProxy", "unhashable"])
def test_an_app_may_be_given_in_any_form_that_flask_takes(make_placed: MakeApp, kind: str) -> None:
    results = []
    both: list[Any] = [SecureCookieSessionInterface(), make_placed().session_interface]
    app = Unhashable(__name__) if kind == "unhashable" else Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, SESSION_ABSOLUTE_LIFETIME=1000)
    given: Any = {"current_app": current_app, "LocalProxy": LocalProxy(lambda: app)}.get(kind, app)
    for one in both:
        app.session_interface = one
        with app.test_request_context():
            if isinstance(one, EncryptedSessionInterface):
                one.init_app(given)
            opened_session = one.open_session(given, request)
            assert opened_session is not None
            opened_session["a"] = 1
            response = Response()
            one.save_session(given, opened_session, response)
            token = token_of(set_cookie(response))
            serializer = one.get_signing_serializer(given)
            assert serializer is not None
            results.append(serializer.loads(token))
    assert results == [{"a": 1}, {"a": 1}]
