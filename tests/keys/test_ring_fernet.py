"""``KeyRing.fernet``: an app's own data under a ring that changes."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import pytest

from flask_fernet import InvalidToken, KeyRing, KeyRingError
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.clock import NOW
from tests.oracles import OracleFernet


def test_a_ring_fernet_follows_its_ring(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "data-keys.json")
    ring.create(new_ring("data", time.time() - 100))
    fernet = ring.fernet()
    token = fernet.encrypt(b"a secret")
    (first,) = ring.load().keys
    assert fernet.key_id(token) == first.id
    new = ring.change(lambda ring: ring.rotated(time.time(), activate_in=0)).keys[-1]
    assert fernet.decrypt(OracleFernet(new.key).encrypt(b"new")) == b"new"
    assert fernet.decrypt(token) == b"a secret"
    assert fernet.key_id(fernet.rotate(token)) == new.id
    assert fernet.key_id(OracleFernet(OracleFernet.generate_key()).encrypt(b"")) is None
    with pytest.raises(InvalidToken):
        fernet.decrypt(b"no token")


def test_a_ring_for_sessions_gives_no_fernet(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "session-keys.json")
    ring.create(new_ring(SESSIONS, time.time()))
    with pytest.raises(KeyRingError, match="ring of its own"):
        ring.fernet()


def test_it_has_the_methods_of_a_multi_fernet(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "data-keys.json")
    ring.create(new_ring("data", NOW))
    fernet, (key,) = ring.fernet(), ring.load().keys
    token = fernet.encrypt_at_time(b"data", NOW)
    assert OracleFernet(key.key).decrypt_at_time(token, 10, NOW) == b"data"
    assert fernet.extract_timestamp(token) == NOW
    assert fernet.decrypt_at_time(token, 10, NOW + 10) == b"data"
    with pytest.raises(InvalidToken):
        fernet.decrypt_at_time(token, 10, NOW + 11)


def test_a_deep_copy_follows_the_ring_too(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "data-keys.json")
    ring.create(new_ring("data", time.time() - 100))
    copied = copy.deepcopy(ring.fernet())
    new = ring.change(lambda ring: ring.rotated(time.time(), activate_in=0)).keys[-1]
    assert copied.decrypt(OracleFernet(new.key).encrypt(b"new")) == b"new"
