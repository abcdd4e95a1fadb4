"""What somebody without the key learns: nothing, whatever they send."""

from __future__ import annotations

import base64
import time
import zlib
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_fernet import EncryptedSessionInterface, Fernet, Reason
from flask_fernet._core import SessionKeys
from flask_fernet.testing import SessionTester
from tests.apps import MakeApp, add_views
from tests.storing import MakeStoring, cookie_of, with_cookie

OURS, THEIRS = Fernet.generate_key(), Fernet.generate_key()
FORMATS = ["fernet", "xaes-256-gcm"]
BOMB = b"." + zlib.compress(bytes(100 << 20), 9)


def shown(response: Any) -> tuple[int, str, list[tuple[str, str]]]:
    """What a client sees of a response."""
    return response.status_code, response.text, list(response.headers)


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_of_a_forgery_is_looked_at(make_app: MakeApp, kind: str) -> None:
    """Whatever a token holds, and however old it is, it is called not authentic if one bit of its
    MAC is wrong: nothing was inflated, decoded or judged by its age. The keys are the app's own, so
    that code which decrypted first would find what is in it.
    """
    app = add_views(
        make_app(EncryptedSessionInterface(keys=[OURS]), SESSION_ENCRYPTION_FORMAT=kind)
    )
    keys = SessionKeys([("ours", OURS)], EncryptedSessionInterface.of(app).salt, kind)
    reasons = []
    for payload in (b"{}", b"no JSON", b"[" * 50_000, BOMB, b".broken", b""):
        for age in (0, 10**9, -(10**9)):
            raw = bytearray(
                base64.urlsafe_b64decode(keys.seal(payload, int(time.time()) - age, "session"))
            )
            raw[-1] ^= 1
            token = base64.urlsafe_b64encode(raw).decode()
            with SessionTester(app).rejects(Reason.UNAUTHENTIC) as found:
                app.test_client(use_cookies=False).get(
                    "/read", headers={"Cookie": f"session={token}"}
                )
            reasons += found
    assert reasons == [Reason.UNAUTHENTIC] * 18


@pytest.mark.parametrize("kind", FORMATS)
def test_every_refused_cookie_looks_the_same(make_app: MakeApp, kind: str) -> None:
    app = add_views(
        make_app(EncryptedSessionInterface(keys=[OURS]), SESSION_ENCRYPTION_FORMAT=kind)
    )
    tester = SessionTester(app)
    good = tester.forge({"a": 1})
    raw = base64.urlsafe_b64decode(good)
    cookies = {
        "malformed": "abc",
        "another version": base64.urlsafe_b64encode(b"\x81" + raw[1:]).decode(),
        "cut": base64.urlsafe_b64encode(raw[:-3]).decode(),
        "too large": "A" * (2**20 + 4),
        "changed": tester.tampered(good),
        "another key": tester.forge({"a": 1}, keys=[THEIRS]),
        "expired": tester.forge({"a": 1}, age=10**9),
        "from the future": tester.forge({"a": 1}, age=-(10**6)),
        "another cookie's": tester.forge({"a": 1}, SESSION_COOKIE_NAME="other"),
    }
    if kind == "fernet":
        # A Fernet token does not say which cookie it is of.
        del cookies["another cookie's"]
    responses = {}
    for name, cookie in cookies.items():
        refused = sum(EncryptedSessionInterface.of(app).rejections.values())
        response = app.test_client(use_cookies=False).get(
            "/read", environ_base={"HTTP_COOKIE": f"session={cookie}"}
        )
        responses[name] = shown(response)
        assert sum(EncryptedSessionInterface.of(app).rejections.values()) == refused + 1
    without = shown(app.test_client().get("/read"))
    assert responses == dict.fromkeys(cookies, without)


def test_every_refused_reference_looks_the_same(make: MakeStoring) -> None:
    """A reference that led somewhere once looks like one that never did."""
    app: Flask = make()
    sessions = EncryptedSessionInterface.of(app)

    def logged_in() -> tuple[FlaskClient, str | None]:
        client = app.test_client()
        client.post("/write", json={"_user_id": "1"})
        return client, cookie_of(client)

    _, revoked = logged_in()
    with app.app_context():
        sessions.revoke_user("1")
    ended_client, ended = logged_in()
    ended_client.get("/clear")
    superseded_client, superseded = logged_in()
    superseded_client.post("/write", json={"_user_id": "2"})
    tester = SessionTester(app)
    never = tester.forge({"a": 1}, SESSION_STORE="memory://")
    cookies = {
        "revoked": revoked, "ended": ended, "superseded": superseded, "never there": never,
        "changed": tester.tampered(never), "malformed": "abc",
        "another key": tester.forge({"a": 1}, keys=[THEIRS], SESSION_STORE="memory://"),
    }  # fmt: skip
    responses = {name: shown(with_cookie(app, one).get("/read")) for name, one in cookies.items()}
    without = shown(app.test_client().get("/read"))
    assert responses == dict.fromkeys(cookies, without)
