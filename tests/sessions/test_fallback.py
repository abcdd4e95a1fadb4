"""What the native implementation may not leave to Python, and what Python does with the rest."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, session
from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SecureCookieSession
from flask.wrappers import Request

from flask_fernet import EncryptedSession, EncryptedSessionInterface, Fernet, SessionTooLarge
from tests.apps import SECRET, MakeApp, NativeOnly, add_views, opened, signed_app, write
from tests.oracles import OracleFernet

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


class TestNativePath:
    """What must not fall back to Python."""

    @pytest.fixture
    def app(self) -> Flask:
        app = add_views(Flask(__name__))
        app.secret_key = SECRET
        app.session_interface = NativeOnly()
        return app

    def run(self, app: Flask) -> None:
        client = app.test_client()
        write(client, a=1, _permanent=True, nested={"list": [1, "two", None]})
        assert client.get("/read").text == str(
            {"_permanent": True, "a": 1, "nested": {"list": [1, "two", None]}}
        )
        assert client.get("/nothing").status_code == 200

    def test_a_stock_app_stays_native(self, app: Flask) -> None:
        self.run(app)

    def test_subclasses_with_more_attributes_stay_native(self, app: Flask) -> None:
        app.request_class = type("R", (app.request_class,), {"more": property(lambda self: 1)})
        app.response_class = type("S", (app.response_class,), {"more": property(lambda self: 1)})
        app.session_interface.session_class = type(  # type: ignore[attr-defined]
            "T", (EncryptedSession,), {"user": property(lambda self: self.get("a"))}
        )
        self.run(app)

    def test_lifetimes_stay_native(self, app: Flask) -> None:
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 3600
        app.config["SESSION_REFRESH_AFTER"] = 0.5
        self.run(app)

    def test_the_other_format_stays_native(self, app: Flask) -> None:
        app.config["SESSION_ENCRYPTION_FORMAT"] = "xaes-256-gcm"
        self.run(app)

    def test_a_cookie_behind_a_quoted_one_is_found_natively(self, app: Flask) -> None:
        client = app.test_client()
        client.set_cookie("a", 'with "quotes"; and more')
        self.run(app)
        write(client, a=1)
        assert client.get("/read").text == "{'a': 1}"

    def test_a_session_class_of_its_own_stays_native(self, app: Flask) -> None:
        class Made(SecureCookieSession):
            def __init__(self, initial: Any = None) -> None:
                super().__init__(initial)

        app.session_interface.session_class = Made  # type: ignore[attr-defined]
        self.run(app)

    def test_values_that_only_python_writes_are_saved_natively(self, app: Flask) -> None:
        from collections import OrderedDict

        @app.get("/odd")
        def odd() -> str:
            session["odd"] = OrderedDict(a=1)
            return ""

        client = app.test_client()
        client.get("/odd")
        assert client.get("/read").text == "{'odd': {'a': 1}}"

    def test_a_compressed_session_stays_native(self, app: Flask) -> None:
        client = app.test_client()
        write(client, text="a" * 10_000)
        assert len(client.get("/read").text) > 10_000

    def test_older_keys_are_read_natively(self) -> None:
        class OpensNatively(EncryptedSessionInterface):
            _open = NativeOnly._open  # type: ignore[assignment]

        app = add_views(Flask(__name__))
        app.session_interface = OpensNatively(keys=[NEW, OLD])
        client = app.test_client()
        client.set_cookie("session", OracleFernet(OLD).encrypt(b'{"a":1}').decode())
        assert client.get("/read").text == "{'a': 1}"


class TestDebug:
    def test_debug_mode_warns_of_changes_that_are_lost(
        self, make_app: MakeApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = add_views(make_app(DEBUG=True))

        @app.get("/nested")
        def nested() -> str:
            session["list"].append(1)
            return ""

        @app.get("/nested-right")
        def nested_right() -> str:
            session["list"].append(1)
            session.modified = True
            return ""

        client = app.test_client()
        write(client, list=[], other={"b": 1, "a": 2})
        for path in ("/read", "/nothing", "/nested-right"):
            client.get(path)
            assert caplog.records == []
        client.get("/nested")
        (record,) = caplog.records
        assert "session.modified = True" in record.getMessage()
        client.get("/nested")
        assert len(caplog.records) == 2
        app.debug = False
        client.get("/nested")
        assert len(caplog.records) == 2


class BytesSerializer:
    """One that Flask's signed cookie cannot use."""

    inner = TaggedJSONSerializer()

    def dumps(self, value: Any) -> bytes:
        return b"\xff" + self.inner.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        return self.inner.loads(data[1:].decode())


def test_a_serializer_may_write_bytes(make_app: MakeApp) -> None:
    app = add_views(make_app())
    app.session_interface.serializer = BytesSerializer()  # type: ignore[attr-defined]
    client = app.test_client()
    assert opened(app, write(client, a=1))[0] == b'\xff{"a":1}'
    assert client.get("/read").text == "{'a': 1}"


def nest(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        circular(),
        nest(100_000),
        10**5000,
        {"a": {(1, 2): 3}},
        {"a": {1: 2}, 3: 4},
    ],
    ids=["object", "set", "circular", "deep", "long", "tuple key", "mixed keys"],
)
def test_what_flask_refuses_is_refused_alike(make_app: MakeApp, value: Any) -> None:
    def error_of(app: Flask) -> type:
        @app.get("/")
        def view() -> str:
            session["value"] = value
            return ""

        app.config["PROPAGATE_EXCEPTIONS"] = True
        try:
            app.test_client().get("/")
        except Exception as error:
            return type(error)
        return type(None)

    signed = Flask(__name__)
    signed.secret_key = SECRET
    refused = error_of(signed)
    assert issubclass(refused, Exception)
    assert error_of(make_app()) is refused


class BadHeader(Request):
    """A request whose cookies cannot be read, as those that Werkzeug does not decode."""

    @property
    def cookies(self) -> Any:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


def test_cookies_that_cannot_be_read_are_malformed(make_app: MakeApp) -> None:
    app = add_views(make_app())
    app.request_class = BadHeader
    assert app.test_client().get("/read").text == "{}"
    assert app.session_interface.rejections["malformed"] == 1  # type: ignore[attr-defined]


def test_a_signed_session_of_a_serializer_that_begins_with_a_dot_opens(make_app: MakeApp) -> None:
    """Bare, its payload would be taken for a compressed one."""

    class Dotted:
        inner = TaggedJSONSerializer()

        def dumps(self, value: Any) -> str:
            return "." + self.inner.dumps(value)

        def loads(self, text: str) -> Any:
            return self.inner.loads(text[1:])

    signed = signed_app()
    signed.session_interface.serializer = Dotted()  # type: ignore[attr-defined]
    app = add_views(make_app(SESSION_ENCRYPTION_ACCEPT=["flask-signed"]))
    app.session_interface.serializer = Dotted()  # type: ignore[attr-defined]
    client = app.test_client()
    client.set_cookie("session", write(signed.test_client(), a=1))
    for _ in range(2):
        assert client.get("/read").text == "{'a': 1}"


def test_a_session_without_a_dict_that_is_too_large_is_a_named_error(make_app: MakeApp) -> None:
    class Bare(dict):  # type: ignore[type-arg]
        __slots__ = ()
        modified = accessed = permanent = True

    interface = EncryptedSessionInterface(keys=[NEW])
    app = make_app(interface, SESSION_COMPRESSION="never")
    with app.test_request_context(), pytest.raises(SessionTooLarge):
        interface.save_session(app, Bare(a="b" * 9000), app.response_class())  # type: ignore[arg-type]
