"""A session as bytes: readable by others, and by any serializer."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from flask import Flask, session
from flask.json.tag import TaggedJSONSerializer

from flask_fernet import (
    EncryptedSessionInterface,
    Fernet,
    UnwritableValue,
)
from tests.apps import SECRET, MakeApp, add_views, opened, write
from tests.oracles import OracleFernet, derived_key
from tests.strategies import EVERYTHING

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


class TestReadableByOthers:
    """Anyone who has the key can read a session with a few lines of Python."""

    def test_a_session_under_an_explicit_key_opens_with_cryptography(
        self, make_app: MakeApp
    ) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))
        token = write(app.test_client(), user_id=42)
        assert OracleFernet(NEW).decrypt(token) == b'{"user_id":42}'

    @pytest.mark.parametrize("salt", ["cookie-session", "other", "é"])
    @pytest.mark.parametrize("secret", [SECRET, b"\x00\xff" * 20])
    def test_a_session_under_a_derived_key_opens_with_cryptography(
        self, make_app: MakeApp, secret: str | bytes, salt: str
    ) -> None:
        interface = type("Salted", (EncryptedSessionInterface,), {"salt": salt})()
        app = add_views(make_app(interface, SECRET_KEY=secret))
        token = write(app.test_client(), user_id=42)
        key = derived_key(secret.encode() if isinstance(secret, str) else secret, salt)
        assert OracleFernet(key).decrypt(token) == b'{"user_id":42}'

    def test_a_compressed_session_opens_with_zlib(self, make_app: MakeApp) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW])))
        app.config["SESSION_COMPRESSION"] = "always"
        token = write(app.test_client(), text="a" * 100)
        payload = OracleFernet(NEW).decrypt(token)
        assert payload[:1] == b"."
        assert json.loads(zlib.decompress(payload[1:])) == {"text": "a" * 100}

    def test_a_session_that_others_wrote_opens(self, make_app: MakeApp) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW])))
        client = app.test_client()
        with app.app_context():
            payload = TaggedJSONSerializer().dumps(EVERYTHING).encode()
        for text in (payload, b"." + zlib.compress(payload)):
            client.set_cookie("session", OracleFernet(NEW).encrypt(text).decode())
            assert "Markup('<b>bold</b>')" in client.get("/read").text


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
    # Ours names the place of the value, and is caught where Flask's error is.
    named = issubclass(refused, (TypeError, ValueError, RecursionError, OverflowError))
    expected = UnwritableValue if named else refused
    assert error_of(make_app()) is expected
