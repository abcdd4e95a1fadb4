"""``get_signing_serializer``: the serializer that it returns to other code."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadPayload, BadSignature, SignatureExpired

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet
from tests.apps import SECRET, MakeApp, add_views, write
from tests.clock import Clock
from tests.oracles import OracleFernet, fernet_token
from tests.strategies import EVERYTHING

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


class TestSigningSerializer:
    @pytest.fixture
    def app(self, make_app: MakeApp) -> Flask:
        return add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))

    def serializer(self, app: Flask) -> Any:
        return app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]

    def test_it_reads_and_writes_the_cookies(self, app: Flask) -> None:
        serializer = self.serializer(app)
        client = app.test_client()
        assert serializer.loads(write(client, a=[1])) == {"a": [1]}
        client.set_cookie("session", serializer.dumps({"b": (2,)}))
        assert client.get("/read").text == "{'b': (2,)}"
        with app.app_context():
            token = serializer.dumps(EVERYTHING)
            assert serializer.loads(token.encode())["_flashes"] == EVERYTHING["_flashes"]

    def test_it_raises_the_errors_of_itsdangerous(self, app: Flask, clock: Clock) -> None:
        serializer = self.serializer(app)
        token = serializer.dumps({"a": 1})
        for bad in ("", "x", token[:-4], token + "x", "é", "\ud800"):
            with pytest.raises(BadSignature):
                serializer.loads(bad)
        clock.now += 10
        value, made = serializer.loads(token, max_age=10, return_timestamp=True)
        assert value == {"a": 1}
        assert made.timestamp() == clock.now - 10
        with pytest.raises(SignatureExpired):
            serializer.loads(token, max_age=9)
        with pytest.raises(BadPayload):
            serializer.loads(OracleFernet(NEW).encrypt_at_time(b"{", int(clock.now)))

    def test_it_does_not_read_signed_cookies(self, app: Flask) -> None:
        app.secret_key = SECRET
        signed = SecureCookieSessionInterface().get_signing_serializer(app)
        assert signed is not None
        with app.app_context(), pytest.raises(BadSignature):
            self.serializer(app).loads(signed.dumps({"a": 1}))

    def test_there_is_none_without_a_key(self, make_app: MakeApp) -> None:
        app = make_app(SECRET_KEY=None)
        assert self.serializer(app) is None

    def test_overriding_it_is_an_error(self, app: Flask) -> None:
        def override(self: Any, app: Flask) -> Any:
            return None

        with pytest.raises(ConfigurationError, match="get_signing_serializer"):
            type("Own", (EncryptedSessionInterface,), {"get_signing_serializer": override})
        mixin = type("Mixin", (), {"get_signing_serializer": override})
        with pytest.raises(ConfigurationError, match="get_signing_serializer"):
            type("Own", (mixin, EncryptedSessionInterface), {})
        app.session_interface.get_signing_serializer = override  # type: ignore[attr-defined]
        app.config["PROPAGATE_EXCEPTIONS"] = True
        with pytest.raises(ConfigurationError, match="get_signing_serializer"):
            app.test_client().get("/read")

    def test_a_value_of_undecodable_bytes_is_a_bad_payload(self, app: Flask) -> None:
        """The token is authentic but has no padding. Only a holder of the key can make it."""
        body = b"\x80" + int(time.time()).to_bytes(8, "big") + bytes(32)
        with pytest.raises(BadPayload):
            self.serializer(app).loads(fernet_token(NEW, body))

    def test_keys_that_have_gone_are_a_named_error(self, make_app: MakeApp) -> None:
        app = make_app()
        serializer = self.serializer(app)
        app.secret_key = None
        with pytest.raises(ConfigurationError, match="no session key any more"):
            serializer.dumps({"a": 1})

    def test_it_gives_the_session_as_the_interface_does(self, app: Flask, clock: Clock) -> None:
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 100
        serializer = self.serializer(app)
        token = write(app.test_client(), a=1)
        clock.now += 100
        assert serializer.loads(token) == {"a": 1}
        clock.now += 1
        with pytest.raises(SignatureExpired) as caught:
            serializer.loads(token)
        assert serializer.load_payload(caught.value.payload)["a"] == 1
        assert serializer.loads_unsafe(token) == (False, None)
        # A token without a creation time counts from its issue time.
        token = serializer.dumps({"b": 1})
        clock.now += 101
        with pytest.raises(SignatureExpired):
            serializer.loads(token)

    def test_it_has_what_code_for_itsdangerous_uses(self, app: Flask) -> None:
        serializer = self.serializer(app)
        file = io.StringIO()
        serializer.dump({"a": 1}, file)
        file.seek(0)
        assert serializer.load(file) == {"a": 1}
        file.seek(0)
        assert serializer.load_unsafe(file) == (True, {"a": 1})
        assert serializer.load_payload(serializer.dump_payload({"a": (1,)})) == {"a": (1,)}
        assert serializer.salt == "cookie-session"

    @pytest.mark.parametrize("form", ["fernet", "xaes-256-gcm"])
    def test_tokens_of_one_salt_do_not_open_under_another(self, app: Flask, form: str) -> None:
        app.config["SESSION_ENCRYPTION_FORMAT"] = form
        serializer = self.serializer(app)
        token = serializer.dumps({"a": 1}, salt="other")
        assert serializer.loads(token, salt=b"other") == {"a": 1}
        for salt in (None, "cookie-session", "another"):
            with pytest.raises(BadSignature):
                serializer.loads(token, salt=salt)
        same = serializer.dumps({"a": 1}, salt=b"cookie-session")
        assert serializer.loads(same) == {"a": 1}
