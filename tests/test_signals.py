"""Signals: their senders, and their arguments, which contain no part of a cookie or a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask_fernet import (
    Fernet,
    KeyRing,
    KeyRingError,
    Reason,
    keyring_unreadable,
    session_migrated,
    session_rejected,
)
from tests.apps import MakeApp, add_views, signed_app, started_ring_app, works, write
from tests.clock import until


def test_a_rejection_is_sent_by_the_app_that_refused(make_app: MakeApp) -> None:
    apps = [add_views(make_app()) for _ in range(2)]
    heard: list[Any] = []

    def hear(sender: object, **carried: object) -> None:
        heard.append((sender, carried))

    with session_rejected.connected_to(hear, sender=apps[0]):
        for app in apps:
            client = app.test_client()
            client.set_cookie("session", "not a token")
            client.get("/read")
    assert heard == [(apps[0], {"reason": Reason.MALFORMED})]


def test_a_migration_is_sent_by_the_app_that_opened(make_app: MakeApp) -> None:
    app = add_views(make_app(SESSION_ENCRYPTION_ACCEPT=["flask-signed"]))
    heard: list[Any] = []

    def hear(sender: object, **carried: object) -> None:
        heard.append((sender, carried))

    client = app.test_client()
    client.set_cookie("session", write(signed_app().test_client(), a=1))
    with session_migrated.connected_to(hear):
        client.get("/read")
        # The cookie is already encrypted, so the second request sends no signal.
        client.get("/read")
    assert heard == [(app, {"format": "flask-signed"})]


def test_a_ring_that_cannot_be_read_is_the_sender(tmp_path: Path, ring: KeyRing) -> None:
    app = started_ring_app(tmp_path)
    heard: list[Any] = []

    def hear(sender: object, **carried: object) -> None:
        heard.append((sender, carried))

    (tmp_path / "session-keys.json").write_text("{")

    def is_noticed() -> bool:
        works(app)
        return bool(heard)

    with keyring_unreadable.connected_to(hear):
        until(is_noticed)
    sender, carried = heard[0]
    assert sender == ring
    assert carried.keys() == {"error"}
    assert isinstance(carried["error"], KeyRingError)


def test_the_names_of_the_signals_differ() -> None:
    names = {signal.name for signal in (session_rejected, session_migrated, keyring_unreadable)}
    assert names == {"session-rejected", "session-migrated", "keyring-unreadable"}


def test_an_unauthentic_cookie_of_another_key_carries_no_key(make_app: MakeApp) -> None:
    key = Fernet.generate_key()
    app = add_views(make_app())
    heard: list[str] = []

    def hear(sender: object, **carried: object) -> None:
        heard.append(repr(carried))

    client = app.test_client()
    client.set_cookie("session", Fernet(key).encrypt(b"{}").decode())
    with session_rejected.connected_to(hear):
        client.get("/read")
    assert heard == ["{'reason': <Reason.UNAUTHENTIC: 'unauthentic'>}"]
