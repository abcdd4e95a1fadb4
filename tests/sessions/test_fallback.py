"""Requests that the native path must not leave to the fallback."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, session
from flask.sessions import SecureCookieSession

from flask_fernet import EncryptedSession, EncryptedSessionInterface, Fernet
from tests.apps import SECRET, NativeOnly, add_views, write
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
