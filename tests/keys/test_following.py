"""Workers follow a key ring while it changes, and survive one that they cannot read."""

from __future__ import annotations

import copy
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flask_fernet import (
    ConfigurationError,
    KeyRing,
    KeyRingError,
    Reason,
    keyring_unreadable,
)
from flask_fernet.keys import fork_safe_lock
from flask_fernet.keys.following import FollowedRing
from flask_fernet.keys.ring_file import RingFile
from tests.apps import ring_app, set_cookie, started_ring_app, token_of, write
from tests.clock import Clock, until
from tests.oracles import OracleFernet, maker_of


def test_a_rotation_is_followed_without_a_restart(tmp_path: Path, ring: KeyRing) -> None:
    app = started_ring_app(tmp_path)
    client = app.test_client()
    (first,) = ring.load().keys
    assert maker_of(write(client, a=1), ring) == first.id
    second = ring.change(lambda ring: ring.rotated(time.time(), activate_in=1)).keys[-1]
    # Staged: it opens, and the first still writes.
    other = app.test_client()
    other.set_cookie("session", OracleFernet(second.key).encrypt(b'{"a":2}').decode())
    assert other.get("/read").text == "{'a': 2}"
    assert maker_of(write(client, a=1), ring) == first.id
    until(lambda: maker_of(write(client, a=1), ring) == second.id)
    # The first goes on opening, and what is used is written again under the second.
    old = app.test_client()
    old.set_cookie("session", OracleFernet(first.key).encrypt(b'{"a":3}').decode())
    response = old.get("/read")
    assert response.text == "{'a': 3}"
    assert maker_of(token_of(set_cookie(response)), ring) == second.id


def test_a_revoked_key_is_out_within_two_seconds(tmp_path: Path, ring: KeyRing) -> None:
    app = started_ring_app(tmp_path)
    client = app.test_client()
    token = write(client, a=1)
    (leaked,) = ring.load().keys
    ring.change(lambda ring: ring.revoked(leaked.id, time.time()))
    began = time.monotonic()

    def refused() -> bool:
        fresh = app.test_client()
        fresh.set_cookie("session", token)
        return fresh.get("/read").text == "{}"

    until(refused)
    assert time.monotonic() - began < 2
    interface: Any = app.session_interface
    assert interface.rejections[Reason.UNAUTHENTIC] >= 1


def test_an_unknown_token_makes_a_worker_look_at_once(
    tmp_path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_fernet.keys.following.INTERVAL", 3600.0)
    app = started_ring_app(tmp_path)
    app.test_client().get("/read")
    new = ring.change(lambda ring: ring.rotated(time.time(), activate_in=0)).keys[-1]
    client = app.test_client()
    client.set_cookie("session", OracleFernet(new.key).encrypt(b'{"a":1}').decode())
    assert client.get("/read").text == "{'a': 1}"


def test_only_a_token_that_may_be_under_a_newer_key_costs_a_look(
    tmp_path: Path, ring: KeyRing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And however many of these come, the session of another worker's newer key opens."""
    clock.now = ring.load().keys[0].created + 100
    looks = 0
    fingerprint = RingFile.fingerprint

    def counted(file: RingFile) -> object:
        nonlocal looks
        looks += 1
        return fingerprint(file)

    monkeypatch.setattr(RingFile, "fingerprint", counted)
    clock.freeze_monotonic()
    app = started_ring_app(tmp_path)
    client = app.test_client()
    client.get("/read")
    unknown = OracleFernet(OracleFernet.generate_key()).encrypt(b"{}").decode()
    app.config.update(SESSION_ENCRYPTION_ACCEPT=["xaes-256-gcm"])
    client.get("/read")
    xaes = ring_app(tmp_path, SESSION_ENCRYPTION_FORMAT="xaes-256-gcm")
    sealed = write(xaes.test_client(), a=1)
    changed = sealed[:70] + ("A" if sealed[70] != "A" else "B") + sealed[71:]
    for token, expected in [(unknown, 150), ("x", 0), (unknown[:-4], 0), (changed, 0)]:
        looks = 0
        client.set_cookie("session", token)
        for _ in range(150):
            assert client.get("/read").text == "{}"
        assert looks == expected, token
    ring.change(lambda ring: ring.rotated(time.time(), activate_in=0))
    client.set_cookie("session", write(started_ring_app(tmp_path).test_client(), a=1))
    assert client.get("/read").text == "{'a': 1}"


def test_calls_at_the_same_time_share_a_look(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = FollowedRing(ring.store, ring)
    looks, look = 0, RingFile.fingerprint

    def slow(file: RingFile) -> object:
        nonlocal looks
        looks += 1
        time.sleep(0.1)
        return look(file)

    monkeypatch.setattr(RingFile, "fingerprint", slow)
    threads = [threading.Thread(target=followed.poll_now) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The first call's look began before the others asked; the second call's serves all of them.
    assert looks == 2


def test_a_worker_that_meets_a_new_key_does_not_write_under_the_revoked_one(
    tmp_path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its keys would serve for another hour if it did not meet the token of another worker.
    monkeypatch.setattr("flask_fernet.keys.following.INTERVAL", 3600.0)
    behind = started_ring_app(tmp_path)
    write(behind.test_client(), a=0)
    (leaked,) = ring.load().keys
    ring.change(lambda ring: ring.revoked(leaked.id, time.time()))
    token = write(started_ring_app(tmp_path).test_client(), a=1)
    client = behind.test_client()
    client.set_cookie("session", token)
    assert client.get("/read").text == "{'a': 1}"
    assert maker_of(write(client, a=2), ring) == ring.load().keys[-1].id


def test_a_child_forked_while_another_thread_looks_follows_the_ring(
    tmp_path: Path, ring: KeyRing
) -> None:
    app = started_ring_app(tmp_path)
    client = app.test_client()
    token = write(client, a=1)
    interface: Any = app.session_interface
    (followed,) = interface._sources._rings._rings.values()
    assert followed._lock.acquire(1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            (leaked,) = ring.load().keys
            ring.change(lambda ring: ring.revoked(leaked.id, time.time()))
            time.sleep(1.1)
            other = app.test_client()
            other.set_cookie("session", token)
            code = 0 if other.get("/read").text == "{}" else 2
        finally:
            os._exit(code)
    followed._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "damage",
    [
        "empty",
        "truncated",
        "wrong",
        "huge",
        "open",
        "gone",
        "other purpose",
        "deep",
        "lenient key",
        "pipe",
    ],
)
def test_a_damaged_ring_keeps_workers_going_and_stops_new_ones(
    tmp_path: Path, ring: KeyRing, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = started_ring_app(tmp_path)
    client = app.test_client()
    write(client, a=1)
    path = tmp_path / "session-keys.json"
    whole = path.read_bytes()
    errors: list[Any] = []

    def note(_: object, error: Any) -> None:
        errors.append(error)

    keyring_unreadable.connect(note)
    if damage == "gone":
        path.unlink()
    elif damage == "open":
        path.chmod(0o644)
    elif damage == "pipe":
        path.unlink()
        os.mkfifo(path, 0o600)
    else:
        path.write_bytes(
            {
                "empty": b"",
                "truncated": whole[:-50],
                "wrong": b'{"version": 1, "purpose": 5}',
                "huge": b" " * (1 << 21),
                "other purpose": whole.replace(b'"sessions"', b'"data"'),
                "deep": b"[" * 200_000,
                "lenient key": whole.replace(b'=",', b'=\\n",'),
            }[damage]
        )
    # A worker that has it goes on.
    until(lambda: client.get("/read").text == "{'a': 1}" and errors)
    assert len([r for r in caplog.records if "Keeping the keys" in r.message]) == 1
    assert json.loads(whole)["keys"][0]["key"] not in caplog.text
    write(client, a=2)
    # One that starts now says so, and makes no key.
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigurationError, match="SESSION_ENCRYPTION_KEYRING"):
        started_ring_app(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    # Mended, it is followed again.
    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    path.chmod(0o600)
    new = ring.change(lambda ring: ring.rotated(time.time(), activate_in=0)).keys[-1]
    until(lambda: maker_of(write(client, a=1), ring) == new.id)


def test_a_copied_interface_follows_the_ring(tmp_path: Path, ring: KeyRing) -> None:
    app = started_ring_app(tmp_path)
    client = app.test_client()
    write(client, a=1)
    app.session_interface = copy.deepcopy(app.session_interface)
    assert client.get("/read").text == "{'a': 1}"
    new = ring.change(lambda ring: ring.rotated(time.time(), activate_in=0)).keys[-1]
    until(lambda: maker_of(write(client, a=1), ring) == new.id)


def test_a_forked_worker_looks_at_once(
    tmp_path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process runs what a forked child runs: it replaces the lock of another thread."""
    monkeypatch.setattr("flask_fernet.keys.following.INTERVAL", 3600.0)
    followed = FollowedRing(ring.store, ring)
    ring.change(lambda ring: ring.rotated(time.time(), activate_in=0))
    assert len(followed.current().keys) == 1
    assert followed._lock.acquire(1)
    fork_safe_lock._after_fork_in_child()
    assert len(followed.current().keys) == 2


def test_nobody_waits_long_for_another_threads_look(tmp_path: Path, ring: KeyRing) -> None:
    followed = FollowedRing(ring.store, ring)
    assert followed._lock.acquire(1)
    began = time.monotonic()
    assert followed.poll_now() == ring.load()
    assert time.monotonic() - began < 2


def test_a_store_that_cannot_be_asked_is_read_less_and_less_often(
    ring: KeyRing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its errors say, and however many ask."""
    clock.freeze_monotonic()
    followed = FollowedRing(ring.store, ring)
    loads, load, works = 0, RingFile.load, False

    def fail(file: RingFile) -> object:
        raise KeyRingError(f"away since {time.monotonic()}")

    def counted(file: RingFile) -> bytes:
        nonlocal loads
        loads += 1
        if works:
            return load(file)
        raise KeyRingError("away")

    monkeypatch.setattr(RingFile, "fingerprint", fail)
    monkeypatch.setattr(RingFile, "load", counted)
    for _ in range(10):
        clock.monotonic += 1
        followed.current()
        for _ in range(20):
            followed.poll_now()
    assert loads <= 5
    # A ring that can be read without its fingerprint is read again and again: it may have changed.
    works = True
    new = load(ring.store.inner)  # type: ignore[arg-type]
    for _ in range(40):
        clock.monotonic += 1
        followed.current()
    loads = 0
    for _ in range(5):
        clock.monotonic += 1
        followed.current()
    assert loads == 5
    assert new == load(ring.store.inner)  # type: ignore[arg-type]
