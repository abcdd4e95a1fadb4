"""The format xaes-256-gcm: its test vectors, and sessions in this format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fernet import EncryptedSessionInterface, Fernet
from flask_fernet._core import SessionKeys
from flask_fernet.stores.memory import MemoryStore
from tests.apps import MakeApp, add_views, token_of, write

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/xaes_256_gcm.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["tokens"], ids=lambda vector: vector["cookie"])
def test_the_tokens_of_the_vectors_open(vector: dict[str, Any]) -> None:
    """Python only opens the vectors that Rust reads too, because it cannot choose an IV."""
    keys = SessionKeys([("key", vector["key"])], vector["salt"], "xaes-256-gcm")
    opened = keys.open(vector["token"], vector["issued_at"], 0, vector["cookie"])
    assert opened == (vector["payload"].encode(), vector["issued_at"], True, "xaes-256-gcm")


@pytest.mark.parametrize("stored", [False, True])
def test_a_session_is_for_one_cookie_and_one_salt(make_app: MakeApp, stored: bool) -> None:
    key = Fernet.generate_key()
    config = {"SESSION_STORE": MemoryStore()} if stored else {}

    def app(salt: str, cookie: str) -> Flask:
        interface = type("Salted", (EncryptedSessionInterface,), {"salt": salt})(keys=[key])
        return add_views(
            make_app(
                interface,
                SESSION_ENCRYPTION_FORMAT="xaes-256-gcm",
                SESSION_COOKIE_NAME=cookie,
                **config,
            )
        )

    writer = app("a", "one")
    client = writer.test_client()
    client.post("/write", json={"a": 1})
    found = client.get_cookie("one")
    assert found is not None
    assert found.value.startswith("o")  # This is the version byte.
    for salt, cookie, opens in [("a", "one", True), ("a", "two", False), ("b", "one", False)]:
        reader = app(salt, cookie).test_client()
        reader.set_cookie(cookie, found.value)
        assert reader.get("/read").text == ("{'a': 1}" if opens else "{}")


def test_a_session_under_an_older_key_opens_and_is_reissued(make_app: MakeApp) -> None:
    keys = [Fernet.generate_key() for _ in range(11)]
    config = {"SESSION_ENCRYPTION_FORMAT": "xaes-256-gcm"}
    before = add_views(make_app(EncryptedSessionInterface(keys=keys[-1:]), **config))
    old = write(before.test_client(), a=1)
    app = add_views(make_app(EncryptedSessionInterface(keys=keys), **config))
    client = app.test_client()
    client.set_cookie("session", old)
    response = client.get("/read")
    assert response.text == "{'a': 1}"
    assert "Set-Cookie" in response.headers
    newest = add_views(make_app(EncryptedSessionInterface(keys=keys[:1]), **config)).test_client()
    newest.set_cookie("session", token_of(response.headers["Set-Cookie"]))
    assert newest.get("/read").text == "{'a': 1}"
