"""Key rings that are stored encrypted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fernet import ConfigurationError, KeyRing, KeyRingError
from flask_fernet._core import unwrap, wrap
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.apps import OTHER_SECRET, RING_NAME, SECRET, secret_ring_app, works, write
from tests.commands import states, succeed
from tests.oracles import read_wrapped_ring

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/wrapped_rings.json").read_text())


@pytest.mark.parametrize("vector", VECTORS)
def test_the_wrapped_rings_of_the_vectors_open(vector: dict[str, str]) -> None:
    secret, document = vector["secret"].encode(), vector["document"].encode()
    assert unwrap(secret, vector["wrapped"]) == document
    assert unwrap(secret + b"!", vector["wrapped"]) is None
    made = wrap(secret, document)
    assert made != wrap(secret, document)
    assert read_wrapped_ring(vector["secret"], made) == document


class TestRing:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / RING_NAME
        KeyRing(path, secrets=[SECRET]).create(new_ring("data", time.time()))
        return path

    def test_the_file_alone_is_useless(self, path: Path) -> None:
        (key,) = KeyRing(path, secrets=[SECRET]).load().keys
        assert key.key not in path.read_text()
        assert key.id not in path.read_text()
        document = read_wrapped_ring(SECRET, json.loads(path.read_text())["ring"])
        assert json.loads(document)["keys"][0]["key"] == key.key
        for ring in (KeyRing(path, secrets=[OTHER_SECRET]), KeyRing(path)):
            with pytest.raises(KeyRingError):
                ring.load()
            with pytest.raises(KeyRingError):
                ring.change(lambda ring: ring.rotated(time.time(), force=True))

    def test_a_plain_ring_is_refused_where_a_wrapped_one_is_expected(
        self, path: Path, tmp_path: Path
    ) -> None:
        """An attacker who can write the file cannot replace the ring with their own keys."""
        plain = tmp_path / "plain.json"
        KeyRing(plain).create(new_ring("data", time.time()))
        path.write_bytes(plain.read_bytes())
        with pytest.raises(KeyRingError, match="not 'plain'"):
            KeyRing(path, secrets=[SECRET]).load()

    def test_the_secret_can_be_replaced(self, path: Path) -> None:
        before = KeyRing(path, secrets=[SECRET]).load()
        both = KeyRing(path, secrets=[OTHER_SECRET, SECRET])
        assert both.load() == before
        after = both.change(lambda ring: ring.rotated(time.time(), activate_in=0))
        assert KeyRing(path, secrets=[OTHER_SECRET.encode()]).load() == after
        with pytest.raises(KeyRingError, match="another secret-key"):
            KeyRing(path, secrets=[SECRET]).load()

    def test_data_can_be_kept_under_a_wrapped_ring(self, path: Path) -> None:
        fernet = KeyRing(path, secrets=[SECRET]).fernet()
        assert fernet.decrypt(fernet.encrypt(b"data")) == b"data"

    def test_every_changed_letter_is_seen(self, path: Path) -> None:
        whole = json.loads(path.read_text())
        for position in range(0, len(whole["ring"]), 7):
            letter = "A" if whole["ring"][position] != "A" else "B"
            ring = whole["ring"][:position] + letter + whole["ring"][position + 1 :]
            path.write_text(json.dumps({**whole, "ring": ring}))
            with pytest.raises(KeyRingError, match="does not open"):
                KeyRing(path, secrets=[SECRET]).load()

    @pytest.mark.parametrize(
        "envelope",
        [
            {"version": 2, "wrapped": "secret-key", "ring": ""},
            {"version": 1, "wrapped": "plain", "ring": ""},
            {"version": 1, "wrapped": ["secret-key"], "ring": ""},
            {"version": 1, "wrapped": "secret-key", "ring": None},
            {"version": 1, "wrapped": "secret-key"},
            {"version": 1, "wrapped": "secret-key", "ring": "\ud800"},
        ],
    )
    def test_envelopes_of_another_kind_are_refused(self, path: Path, envelope: Any) -> None:
        path.write_text(json.dumps(envelope))
        with pytest.raises(KeyRingError, match="wrapped in a way"):
            KeyRing(path, secrets=[SECRET]).load()

    @pytest.mark.parametrize(
        "secrets", [SECRET, SECRET.encode(), [], [""], [5], ["\ud800" * 20], ["short"]]
    )
    def test_secrets_that_cannot_wrap_a_ring_are_refused(self, path: Path, secrets: Any) -> None:
        with pytest.raises(ConfigurationError):
            KeyRing(path, secrets=secrets)


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return secret_ring_app(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING="secret-key")


class TestApp:
    def test_a_ring_lives_under_the_secret_key(self, app: Flask, tmp_path: Path) -> None:
        path = tmp_path / RING_NAME
        succeed(app, "ring", "init")
        assert json.loads(path.read_text())["wrapped"] == "secret-key"
        works(app)
        succeed(app, "ring", "rotate", "--activate-in", "0")
        assert len(states(app)) == 2
        works(app)
        # Nobody is logged out by a new secret while the former one is a fallback.
        client = app.test_client()
        write(client, a=1)
        app.config.update(SECRET_KEY=OTHER_SECRET, SECRET_KEY_FALLBACKS=[SECRET])
        assert client.get("/read").text == "{'a': 1}"
        succeed(app, "ring", "rewrap")
        app.config["SECRET_KEY_FALLBACKS"] = []
        assert client.get("/read").text == "{'a': 1}"
        app.config["SECRET_KEY"] = SECRET
        with pytest.raises(ConfigurationError, match="another secret-key") as raised:
            secret_ring_app(tmp_path, **app.config).test_client().get("/read")
        assert "ring init" not in str(raised.value)

    def test_an_app_moves_to_a_wrapped_ring_and_back(self, tmp_path: Path) -> None:
        """A move takes two deploys each way, and workers of both kinds can run at the same time."""
        plain = secret_ring_app(tmp_path)
        succeed(plain, "ring", "init")
        both = secret_ring_app(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING="secret-key,plain")
        wrapped = secret_ring_app(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING=["secret-key"])
        client = plain.test_client()
        token = write(client, a=1)

        def reads(app: Flask) -> bool:
            client = app.test_client()
            client.set_cookie("session", token)
            return client.get("/read").text == "{'a': 1}"

        assert reads(plain)
        assert reads(both)
        with pytest.raises(ConfigurationError, match="not 'plain'"):
            reads(wrapped)
        succeed(both, "ring", "rewrap")
        for app in (plain, both, wrapped):
            # The plain app keeps the ring that it read last.
            assert reads(app)
        with pytest.raises(ConfigurationError, match="not 'secret-key'"):
            reads(secret_ring_app(tmp_path))
        back = secret_ring_app(
            tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING=["plain", "secret-key"]
        )
        assert reads(back)
        succeed(back, "ring", "rewrap")
        assert reads(secret_ring_app(tmp_path))

    @pytest.mark.parametrize(
        "config",
        [
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": "secret"},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": ""},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": 5},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": "secret-key", "SECRET_KEY": None},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": "command"},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": ""},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": "'unfinished"},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": [5]},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": 5},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": ["cat", "secret"]},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": "plain", "SESSION_ENCRYPTION_KEYRING": None},
            {"SESSION_ENCRYPTION_KEYRING": 5},
        ],
    )
    def test_settings_that_cannot_be_used_are_refused(
        self, tmp_path: Path, config: dict[str, Any]
    ) -> None:
        KeyRing(tmp_path / RING_NAME).create(new_ring(SESSIONS, time.time()))
        with pytest.raises(ConfigurationError, match=r"KEYRING|SECRET_KEY") as raised:
            secret_ring_app(tmp_path, **config).session_interface.init_app(  # type: ignore[attr-defined]
                secret_ring_app(tmp_path, **config)
            )
        assert SECRET not in str(raised.value)

    def test_a_weak_secret_is_warned_about(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = secret_ring_app(
            tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING="secret-key", SECRET_KEY="short"
        )
        succeed(app, "ring", "init")
        works(app)
        assert "SECRET_KEY has fewer than 16 bytes" in caplog.text
