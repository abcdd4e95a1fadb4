"""Compares apps that do something unusual under Flask's interface and under ours."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from typing import Any
from unittest import mock

import pytest
from flask import Flask, Response, session
from flask.json.tag import TagDateTime, TaggedJSONSerializer
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionInterface
from flask.wrappers import Request

from flask_fernet import EncryptedSessionInterface
from tests.apps import MakeApp
from tests.clock import Clock
from tests.parity.pairs import PATHS, ComplexTag, Pair, add_compared_views, compare, seen

pytestmark = pytest.mark.usefixtures("frozen")


class TestHooksThatDoThings:
    def test_a_hook_may_make_the_session_permanent(self, make_app: MakeApp) -> None:
        class Interface:
            def should_set_cookie(self, app: Flask, session: Any) -> bool:
                session.permanent = True
                return True

        compare(Pair(make_app, Interface), PATHS)

    def test_a_hook_may_look_at_the_session(self, make_app: MakeApp) -> None:
        class Interface:
            def get_cookie_domain(self, app: Flask) -> None:
                session.get("value")

        compare(Pair(make_app, Interface), [*PATHS, *PATHS])

    def test_an_error_of_a_hook_is_raised(self, make_app: MakeApp) -> None:
        class Interface:
            def get_cookie_domain(self, app: Flask) -> None:
                raise KeyError("a hook")

        compare(Pair(make_app, Interface, PROPAGATE_EXCEPTIONS=False), PATHS)

    def test_each_hook_is_called_as_often_as_by_flask(self, make_app: MakeApp) -> None:
        calls: list[str] = []

        class Interface:
            def get_cookie_name(self, app: Flask) -> str:
                calls.append("name")
                return super().get_cookie_name(app)  # type: ignore[misc, no-any-return]

            def should_set_cookie(self, app: Flask, session: Any) -> bool:
                calls.append("should")
                return super().should_set_cookie(app, session)  # type: ignore[misc, no-any-return]

            def get_expiration_time(self, app: Flask, session: Any) -> Any:
                calls.append("expires")
                return super().get_expiration_time(app, session)  # type: ignore[misc]

        counted = []
        for client in Pair(make_app, Interface, SESSION_OVERFLOW="warn").clients():
            for path in ["/write/a", "/items", "/nothing", "/permanent/1", "/clear"]:
                client.get(path)
            counted.append(calls.copy())
            calls.clear()
        assert counted[0] == counted[1]

    @pytest.mark.parametrize(
        "expires", [1_800_000_000, 1_800_000_000.5, "Fri, 25 Dec 2026 00:00:00 GMT"]
    )
    def test_an_expiration_may_have_any_form_that_werkzeug_takes(
        self, make_app: MakeApp, expires: Any
    ) -> None:
        interface = type("I", (), {"get_expiration_time": lambda *_: expires})
        compare(Pair(make_app, interface), PATHS)


class TestPatched:
    """A patch takes effect if it is made after the import of this package, before any request."""

    def test_a_patched_method_of_flasks_class_is_called(self, make_app: MakeApp) -> None:
        with mock.patch.object(
            SessionInterface, "get_cookie_domain", return_value="patched.example"
        ):
            compare(Pair(make_app), PATHS)

    def test_a_patched_method_of_our_class_is_called(self, make_app: MakeApp) -> None:
        with mock.patch.object(EncryptedSessionInterface, "get_cookie_secure", return_value=True):
            app = make_app()
            add_compared_views(app)
            assert "; Secure" in app.test_client().get("/write/a").headers["Set-Cookie"]

    def test_a_patched_tag_is_used(self, make_app: MakeApp) -> None:
        pair = Pair(make_app)
        with (
            mock.patch.object(TagDateTime, "to_json", lambda _, value: value.isoformat()),
            mock.patch.object(
                TagDateTime, "to_python", lambda _, text: datetime.fromisoformat(text)
            ),
        ):
            signed, encrypted = pair.clients()
            moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone.utc)
            for app in pair.apps:
                app.add_url_rule("/set", "set", lambda: str(session.setdefault("at", moment)))
            for client in (signed, encrypted):
                client.get("/set")
                assert client.get("/items").text == f"[('at', {moment!r})]"

    def test_patched_default_tags_are_used(self, make_app: MakeApp) -> None:
        tags = [*TaggedJSONSerializer.default_tags, ComplexTag]
        with mock.patch.object(TaggedJSONSerializer, "default_tags", tags):
            interface = type("Own", (), {"serializer": TaggedJSONSerializer()})
            pair = Pair(make_app, interface)
            for app, client in zip(pair.apps, pair.clients(), strict=True):
                app.add_url_rule("/set", "set", lambda: str(session.setdefault("number", 3 + 1j)))
                client.get("/set")
                assert client.get("/items").text == "[('number', (3+1j))]"

    def test_a_tag_put_in_place_of_another_is_used(self, make_app: MakeApp) -> None:
        class Loud(TagDateTime):
            __slots__ = ()

            def to_python(self, value: Any) -> Any:
                return f"at {value}"

        def change(app: Flask) -> None:
            serializer = TaggedJSONSerializer()
            serializer.tags[" d"] = Loud(serializer)
            app.session_interface.serializer = serializer  # type: ignore[attr-defined]

        pair = Pair(make_app)
        pair.both(change)
        compare(pair, ["/everything", "/items"])


def test_a_method_set_on_a_serializer_is_called(make_app: MakeApp) -> None:
    class Serializer(TaggedJSONSerializer):
        pass

    def change(app: Flask) -> None:
        serializer = Serializer()
        plain = serializer.dumps
        serializer.dumps = lambda value: plain({**value, "stamp": 1})  # type: ignore[method-assign]
        app.session_interface.serializer = serializer  # type: ignore[attr-defined]

    pair = Pair(make_app)
    pair.both(change)
    compare(pair, ["/write/a", "/items"])


def test_set_cookie_replaced_on_one_response_is_called(make_app: MakeApp) -> None:
    pair = Pair(make_app)

    def add(app: Flask) -> None:
        @app.get("/strict")
        def strict() -> Response:
            session["value"] = "a"
            response = Response("")
            plain = response.set_cookie
            response.set_cookie = lambda *a, **kw: plain(*a, **{**kw, "samesite": "Strict"})  # type: ignore[method-assign]
            return response

    signed, encrypted = pair.clients()
    pair.both(add)
    assert seen(encrypted, "/strict") == seen(signed, "/strict")


def test_cookies_in_another_kind_of_dict_are_read_as_by_flask(make_app: MakeApp) -> None:
    class LastWins(Request):
        dict_storage_class = dict  # type: ignore[assignment]

    pair = Pair(make_app)
    found = []
    for app, client in zip(pair.apps, pair.clients(), strict=True):
        app.request_class = LastWins
        tokens = [
            client.get(f"/write/{value}").headers["Set-Cookie"].partition(";")[0]
            for value in ("one", "two")
        ]
        fresh = app.test_client(use_cookies=False)
        found.append(fresh.get("/items", headers={"Cookie": "; ".join(tokens)}).text)
    assert found == ["[('value', 'two')]"] * 2


class TestSessionClasses:
    def test_the_items_of_a_session_may_be_its_attributes(self, make_app: MakeApp) -> None:
        class Attributes(SecureCookieSession):
            __getattr__ = dict.__getitem__

        compare(Pair(make_app, type("I", (), {"session_class": Attributes})), [*PATHS, *PATHS])

    def test_a_session_may_answer_to_any_attribute(self, make_app: MakeApp) -> None:
        class Anything(SecureCookieSession):
            def __getattr__(self, name: str) -> str:
                return f"no {name}"

        compare(Pair(make_app, type("I", (), {"session_class": Anything})), [*PATHS, *PATHS])

    def test_a_metaclass_may_make_the_sessions(self, make_app: MakeApp) -> None:
        class Meta(type(SecureCookieSession)):  # type: ignore[misc]
            def __call__(cls, *arguments: Any) -> Any:
                made = super().__call__(*arguments)
                dict.__setitem__(made, "made", "by the metaclass")
                return made

        class Made(SecureCookieSession, metaclass=Meta):
            pass

        compare(Pair(make_app, type("I", (), {"session_class": Made})), [*PATHS, *PATHS])


def raises(cls: type, name: str = "") -> Any:
    if name in ("", "__dict__"):
        raise ValueError("not for you")
    return type.__getattribute__(cls, name)


@pytest.mark.parametrize(
    "members",
    [
        {"__mro__": property(raises)},
        {"__mro__": (1, 2)},
        {"__dict__": property(raises)},
        {"__getattribute__": raises},
    ],
)
def test_a_metaclass_may_say_anything_of_its_classes(
    make_app: MakeApp, members: dict[str, Any]
) -> None:
    pair, metaclass = Pair(make_app), type("Odd", (type,), members)

    def change(app: Flask) -> None:
        app.request_class = metaclass("Odd", (Request,), {})
        app.response_class = metaclass("Odd", (Response,), {})

    pair.both(change)
    compare(pair, PATHS)


ODD_DATETIME = """
import datetime
class Odd(datetime.datetime):
    def toordinal(self):
        return 2**62
datetime.datetime = Odd
from flask import session
from tests.apps import add_views, encrypted_app
app = add_views(encrypted_app(PROPAGATE_EXCEPTIONS=True))
@app.get("/odd")
def odd():
    session["when"] = datetime.datetime(2020, 1, 1)
    return "written"
print(app.test_client().get("/odd").text)
"""


def test_a_datetime_may_have_any_ordinal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ODD_DATETIME], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "written\n"), done.stderr


@pytest.mark.parametrize("depth", [1, 63, 64, 65, 66, 200, 5000])
@pytest.mark.parametrize("kind", [list, dict])
def test_deep_sessions_are_read_as_flask_reads_them(
    make_app: MakeApp, kind: type, depth: int
) -> None:
    """The native path ends at 64 levels; Python's recursion limit ends both."""
    pair = Pair(make_app, PROPAGATE_EXCEPTIONS=False)

    def add(app: Flask) -> None:
        @app.get("/deep")
        def deep() -> str:
            value: Any = kind()
            for _ in range(depth):
                value = [value] if kind is list else {"a": value}
            session["deep"] = value
            return "fine"

        @app.get("/depth")
        def get_depth() -> str:
            value, found = session.get("deep"), 0
            while value:
                value, found = value[0 if kind is list else "a"], found + 1
            return str(found)

    pair.both(add)
    compare(pair, ["/deep", "/depth"])


def test_debug_mode_warns_of_a_change_that_cannot_be_written(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    pair = Pair(make_app, DEBUG=True)

    def add(app: Flask) -> None:
        @app.get("/lost")
        def lost() -> str:
            session["list"].append(object())
            return "fine"

    signed, encrypted = pair.clients()
    pair.both(add)
    for path in ["/nested", "/lost"]:
        assert seen(encrypted, path) == seen(signed, path)
    assert [record.message[:33] for record in caplog.records] == [
        "Data nested in the session was ch"
    ]


def test_debug_mode_trusts_no_serializer_that_never_writes_the_same(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    class Stamped(TaggedJSONSerializer):
        count = 0

        def dumps(self, value: Any) -> str:
            Stamped.count += 1
            return super().dumps({**value, "stamp": Stamped.count})

    interface = type("Own", (), {"serializer": Stamped()})
    pair = Pair(make_app, interface, DEBUG=True)
    for client in pair.clients():
        client.get("/write/a")
        client.get("/items")
    assert caplog.records == []


def test_a_salt_may_be_bytes(make_app: MakeApp) -> None:
    compare(Pair(make_app, type("Salted", (), {"salt": b"a salt"})), PATHS)


def test_a_copied_interface_reads_the_sessions_of_the_first(make_app: MakeApp) -> None:
    import copy

    app = make_app()
    add_compared_views(app)
    client = app.test_client()
    client.get("/write/a")
    app.session_interface = copy.deepcopy(app.session_interface)
    assert client.get("/items").text == "[('value', 'a')]"


class TestSigningSerializer:
    """Our serializer works as Flask's does, with encrypted tokens."""

    def pair(self, make_app: MakeApp) -> Any:
        pair = Pair(make_app)
        signed: Any = SecureCookieSessionInterface().get_signing_serializer(pair.signed)
        interface: Any = pair.encrypted.session_interface
        return signed, interface.get_signing_serializer(pair.encrypted)

    @pytest.mark.parametrize("value", [{"a": 1}, [1, 2], "abc", None, 5, (1,), ".dot", b"x"])
    def test_any_value_survives_the_serializer(self, make_app: MakeApp, value: Any) -> None:
        for serializer in self.pair(make_app):
            token = serializer.dumps(value)
            assert serializer.loads(token) == value
            assert serializer.loads(token, max_age=3600.0) == value
            assert serializer.loads_unsafe(token) == (True, value)
            loaded, made = serializer.loads(token, return_timestamp=True)
            assert loaded == value
            assert made.tzinfo is not None
            assert serializer.loads_unsafe(token[:-2] + "AA")[0] is False

    def test_a_token_out_of_its_time_raises_with_its_payload(
        self, make_app: MakeApp, clock: Clock
    ) -> None:
        from itsdangerous import SignatureExpired

        for serializer in self.pair(make_app):
            token = serializer.dumps({"a": 1})
            made = int(clock.now)
            for later in (1000, -1000):
                with clock.at(clock.now + later):
                    assert serializer.loads(token) == {"a": 1}
                    with pytest.raises(SignatureExpired) as raised:
                        serializer.loads(token, max_age=900)
                    assert raised.value.date_signed is not None
                    assert raised.value.date_signed.timestamp() == made
                    assert raised.value.payload is not None
