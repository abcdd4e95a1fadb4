"""The handle of a ring, over a file or over a store that the app provides."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from flask_fernet import (
    ConfigurationError,
    EncryptedSessionInterface,
    KeyRing,
    KeyRingError,
    keyring_unreadable,
)
from flask_fernet.keys.document import encode
from flask_fernet.keys.ring import SESSIONS, Ring, new_ring
from tests.apps import RING_NAME, SECRET, add_views, started_ring_app, works, write
from tests.clock import NOW, until
from tests.commands import run, succeed
from tests.oracles import OracleFernet, OracleInvalidToken, maker_of


def test_a_ring_may_be_kept_in_a_store_of_the_apps_own(tmp_path: Path) -> None:
    """The commands, the doctor and the workers all use a store that the app provides."""

    class Memory:
        document: bytes | None = None

        def load(self) -> bytes:
            if self.document is None:
                raise KeyRingError("There is none.")
            return self.document

        def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
            same = self.document == expected
            self.document = document if same else self.document
            return same

        def fingerprint(self) -> object:
            if self.document is None:
                raise KeyRingError("There is none.")
            return self.document

    memory = Memory()
    keyring = KeyRing(memory, secrets=["a secret of more than sixteen bytes"])
    app = add_views(Flask(__name__, instance_path=str(tmp_path)))
    app.config["SESSION_ENCRYPTION_KEYRING"] = keyring
    with pytest.raises(ConfigurationError, match="There is none"):
        EncryptedSessionInterface(app)
    app.session_interface = EncryptedSessionInterface()
    app.secret_key = None
    succeed(app, "ring", "init")
    token = write(app.test_client(), a=1)
    succeed(app, "ring", "rotate", "--activate-in", "0")
    assert len(keyring.load().keys) == 2
    succeed(app, "ring", "rewrap")
    assert maker_of(token, keyring) == keyring.load().keys[0].id
    succeed(app, "doctor")
    # While the store cannot be read, a worker keeps the keys that it read last.
    write(app.test_client(), a=1)
    memory.document, document = None, memory.document
    errors: list[KeyRingError] = []

    def note(_: object, error: KeyRingError) -> None:
        errors.append(error)

    keyring_unreadable.connect(note)
    until(lambda: write(app.test_client(), a=1) and errors)
    memory.document = document
    succeed(app, "doctor")


class Busy:
    """A store that somebody else changes first, the given number of times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.document = encode(new_ring(SESSIONS, NOW)).encode()

    def load(self) -> bytes:
        return self.document

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        if self.times:
            self.times -= 1
            return False
        self.document = document
        return True

    def fingerprint(self) -> object:
        return self.document


def test_a_change_is_tried_again_when_others_come_first() -> None:
    ring = KeyRing(Busy(3))
    assert ring.change(lambda ring: ring.rotated(NOW)) == ring.load()
    assert len(ring.load().keys) == 2


def test_a_change_gives_up_when_others_always_come_first() -> None:
    ring = KeyRing(Busy(10**6))
    with pytest.raises(KeyRingError, match="Other writers kept changing"):
        ring.change(lambda ring: ring.rotated(NOW))
    assert len(ring.load().keys) == 1


def test_a_change_that_changes_nothing_writes_nothing() -> None:
    ring = KeyRing(Busy(10**6))
    assert ring.change(lambda ring: ring) == ring.load()
    # Another object with the same contents changes nothing either.
    assert ring.change(lambda ring: replace(ring)) == ring.load()


def test_a_change_of_a_wrapped_ring_is_tried_again_too(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring.json", secrets=[SECRET])
    ring.create(new_ring("data", NOW))
    changes = []

    def change_after_another(now: Ring) -> Ring:
        changes.append(now)
        if len(changes) == 1:
            other = KeyRing(tmp_path / "ring.json", secrets=[SECRET])
            other.change(lambda ring: ring.rotated(NOW))
        return now.rotated(NOW, force=True)

    assert len(ring.change(change_after_another).keys) == 3
    assert len(changes) == 2


def test_two_handles_of_one_file_are_equal(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    assert KeyRing(path) == KeyRing(str(path))
    assert hash(KeyRing(path)) == hash(KeyRing(str(path)))
    assert KeyRing(path) != KeyRing(path, secrets=[SECRET])
    assert KeyRing(path) != KeyRing(tmp_path / "other.json")
    assert KeyRing(path) != path
    store = Busy(0)
    assert KeyRing(store) == KeyRing(store)
    assert KeyRing(store) != KeyRing(Busy(0))


class TestOlderCopies:
    """A copy from a backup, an image or another hand, which would bring back a revoked key."""

    def rolled_back(self, tmp_path: Path, ring: KeyRing) -> tuple[Flask, str, str]:
        """Revokes the ring's key, and puts the copy from before in its place. Returns a worker that
        saw the revocation, a token under the revoked key, and the copy.
        """
        app = started_ring_app(tmp_path)
        token = write(app.test_client(), a=1)
        copy = (tmp_path / RING_NAME).read_text()
        (leaked,) = ring.load().keys
        ring.change(lambda ring: ring.revoked(leaked.id, time.time()))
        until(lambda: self.read(app, token) == "{}")
        (tmp_path / RING_NAME).write_text(copy)
        return app, token, copy

    def read(self, app: Flask, token: str) -> str:
        client = app.test_client()
        client.set_cookie("session", token)
        return client.get("/read").text

    def test_a_worker_keeps_what_it_has_and_says_so(
        self, tmp_path: Path, ring: KeyRing, caplog: pytest.LogCaptureFixture
    ) -> None:
        app, token, _ = self.rolled_back(tmp_path, ring)
        heard: list[str] = []

        def hear(sender: KeyRing, error: KeyRingError) -> None:
            heard.append(str(error))

        with keyring_unreadable.connected_to(hear):
            until(lambda: self.read(app, token) == "{}" and heard)
        assert "is an older copy" in heard[0]
        place = f"The key ring at {tmp_path / RING_NAME} is an older copy"
        assert f"Keeping the keys read last. {place}" in caplog.text
        works(app)

    def test_the_command_line_and_a_new_worker_refuse_it(
        self, tmp_path: Path, ring: KeyRing
    ) -> None:
        app, token, copy = self.rolled_back(tmp_path, ring)
        with pytest.raises(ConfigurationError, match="an older copy"):
            started_ring_app(tmp_path)
        for command in (["rotate"], ["prune"], ["revoke", ring.load().keys[0].id]):
            refused = run(app, "ring", *command)
            assert refused.exit_code == 1
            assert "an older copy" in refused.stderr
        assert (tmp_path / RING_NAME).read_text() == copy
        assert "an older copy" in run(app, "ring", "list").stderr
        assert "an older copy" in run(app, "doctor").stdout
        # Insisting brings it back, also in the workers that refuse it.
        succeed(app, "ring", "reinstate")
        until(lambda: self.read(app, token) == "{'a': 1}")
        assert self.read(started_ring_app(tmp_path), token) == "{'a': 1}"
        assert run(app, "ring", "list").stderr == ""
        succeed(app, "ring", "rotate")

    def test_a_serial_that_only_workers_know_can_be_given(
        self, tmp_path: Path, ring: KeyRing
    ) -> None:
        newest = ring.load().serial + 1000
        assert ring.reinstate(above=newest).serial == newest + 1
        assert ring.change(lambda ring: ring.rotated(time.time())).serial == newest + 2

    def test_a_copy_that_is_put_in_force_is_newer_than_all_that_was_here(
        self, tmp_path: Path, ring: KeyRing
    ) -> None:
        """Whatever the clock says, which can be behind the serials."""
        copy = (tmp_path / RING_NAME).read_bytes()
        ahead = ring.reinstate(above=2**40).serial
        (tmp_path / RING_NAME).write_bytes(copy)
        assert ring.reinstate().serial == ahead + 1
        assert ring.reinstate().serial == ahead + 2

    def test_a_ring_that_is_made_again_is_newer(self, tmp_path: Path, ring: KeyRing) -> None:
        app, old = started_ring_app(tmp_path), ring.load()
        (tmp_path / RING_NAME).unlink()
        ring.create(new_ring(SESSIONS, time.time() - 1000))
        assert ring.load().serial > old.serial
        (key,) = ring.load().keys

        def is_followed() -> bool:
            try:
                OracleFernet(key.key).decrypt(write(app.test_client(), a=1))
            except OracleInvalidToken:
                return False
            return True

        until(is_followed)

    @pytest.mark.parametrize(
        "text", [b"", b"x", b"9" * 40, b"9" * 20, str(2**53).encode(), "²".encode(), b"\xff"]
    )
    def test_a_lock_file_without_a_serial_says_nothing(
        self, tmp_path: Path, ring: KeyRing, text: bytes
    ) -> None:
        (tmp_path / f"{RING_NAME}.lock").write_bytes(text)
        ring.change(lambda ring: ring.rotated(time.time()))
        assert ring.store.newest_serial() == ring.load().serial

    def test_a_store_need_not_remember_serials(self) -> None:
        ring = KeyRing(Busy(0))
        before = ring.load().serial
        assert ring.change(lambda ring: ring.rotated(NOW)).serial > before
        assert ring.reinstate().serial > before
        ahead = ring.reinstate(above=2**40).serial
        assert ahead == 2**40 + 1
        assert ring.change(lambda ring: ring.rotated(NOW + 100)).serial == ahead + 1
