"""Which cookies open, and why others are refused."""

from __future__ import annotations

import base64
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, flash, get_flashed_messages, session
from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SecureCookieSession
from flask.wrappers import Request

from flask_fernet import (
    EncryptedSessionInterface,
    Fernet,
    KeyRing,
    Reason,
    session_rejected,
)
from flask_fernet._core import deflate
from flask_fernet.keys.following import FollowedRing
from tests.apps import SECRET, MakeApp, add_views, signed_app, started_ring_app, write
from tests.clock import Clock
from tests.oracles import OracleFernet, fernet_token

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


class TestRejections:
    @pytest.fixture
    def app(self, make_app: MakeApp) -> Flask:
        return add_views(make_app(EncryptedSessionInterface(keys=[NEW])))

    def rejected(self, app: Flask, token: str | bytes) -> list[Reason]:
        """Returns the reasons signalled for a token. Asserts that the response shows none."""
        heard: list[Reason] = []

        def hear(sender: Flask, reason: Reason) -> None:
            assert sender is app
            heard.append(reason)

        before = app.session_interface.rejections  # type: ignore[attr-defined]
        client = app.test_client(use_cookies=False)
        if isinstance(token, str):
            token = token.encode()
        header = "session=" + token.decode("latin1")
        with session_rejected.connected_to(hear):
            response = client.get("/read", environ_base={"HTTP_COOKIE": header})
        fresh = app.test_client().get("/read")
        assert (response.status_code, response.text, list(response.headers)) == (
            200, "{}", list(fresh.headers),
        )  # fmt: skip
        after = app.session_interface.rejections  # type: ignore[attr-defined]
        counted = {reason for reason in Reason if after[reason.value] != before[reason.value]}
        assert counted == set(heard)
        assert set(after) == {reason.value for reason in Reason}
        return heard

    def seal(self, payload: bytes, at: int | None = None, key: bytes = NEW) -> str:
        fernet = OracleFernet(key)
        now = int(time.time()) if at is None else at
        return fernet.encrypt_at_time(payload, now).decode()

    @pytest.mark.parametrize(
        "token",
        ["x", "gAAA", "!" * 100, "gAAAAA=", "é", b"\xff", "A" * 120, "\u2028"],
    )
    def test_a_malformed_cookie_is_refused(self, app: Flask, token: str) -> None:
        assert self.rejected(app, token) == [Reason.MALFORMED]

    def test_an_unauthentic_cookie_is_refused(self, app: Flask) -> None:
        assert self.rejected(app, self.seal(b"{}", key=OLD)) == [Reason.UNAUTHENTIC]
        good = base64.urlsafe_b64decode(self.seal(b"{}"))
        for at in range(1, len(good)):
            bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
            token = base64.urlsafe_b64encode(bad).decode()
            assert self.rejected(app, token) == [Reason.UNAUTHENTIC]

    def test_nothing_is_said_about_the_age_of_a_forgery(self, app: Flask) -> None:
        for at in (0, 2**40):
            assert self.rejected(app, self.seal(b"{}", at, OLD)) == [Reason.UNAUTHENTIC]

    def test_an_expired_cookie_is_refused(self, app: Flask, clock: Clock) -> None:
        app.permanent_session_lifetime = timedelta(seconds=100)
        client = app.test_client()
        write(client, a=1)
        clock.now += 100.9
        assert client.get("/read").text == "{'a': 1}"
        clock.now += 0.2
        token = client.get_cookie("session")
        assert token is not None
        assert self.rejected(app, token.value) == [Reason.EXPIRED]

    def test_a_cookie_from_the_future_is_refused(self, app: Flask, clock: Clock) -> None:
        now = int(clock.now)
        assert self.rejected(app, self.seal(b"{}", now + 60)) == []
        assert self.rejected(app, self.seal(b"{}", now + 61)) == [Reason.FROM_FUTURE]
        assert self.rejected(app, self.seal(b"{}", 2**64 - 1)) == [Reason.FROM_FUTURE]

    def test_a_cookie_that_is_too_large_is_refused(self, app: Flask) -> None:
        assert self.rejected(app, "A" * (2**20 + 1)) == [Reason.TOO_LARGE]
        assert self.rejected(app, "A" * 2**20) == [Reason.MALFORMED]

    @pytest.mark.parametrize(
        "payload",
        [
            b"", b"{", b"[1]", b"1", b'"text"', b"null", b'{" t":[1]}', b'{" u":"x"}', b"\xff",
            b".", b".x", b'{" b":1}', b"[" * 50_000, deflate(b" " * (2**20 + 1)),
            deflate(b"{}")[:-1], deflate(b"{}") + b"x", deflate(deflate(b"{}")),
        ],
    )  # fmt: skip
    def test_an_undecodable_payload_is_refused(self, app: Flask, payload: bytes) -> None:
        assert self.rejected(app, self.seal(payload)) == [Reason.UNDECODABLE]

    def test_an_authentic_token_without_padding_is_undecodable(self, app: Flask) -> None:
        body = b"\x80" + int(time.time()).to_bytes(8, "big") + bytes(16)
        for ciphertext in (b"", bytes(15), bytes(16)):
            assert self.rejected(app, fernet_token(NEW, body + ciphertext)) == [Reason.UNDECODABLE]

    def test_each_reason_is_logged_once_a_minute(
        self, app: Flask, caplog: pytest.LogCaptureFixture, clock: Clock
    ) -> None:
        clock.freeze_monotonic()
        secret = self.seal(b"the contents", key=OLD)
        with caplog.at_level(logging.INFO, "flask_fernet"):
            for _ in range(5):
                self.rejected(app, secret)
                self.rejected(app, "malformed-text")
            assert len(caplog.records) == 2
            clock.monotonic += 61
            self.rejected(app, secret)
        assert len(caplog.records) == 3
        assert caplog.records[-1].getMessage() == (
            "Refused a session cookie: unauthentic (6 so far)."
        )
        assert secret not in caplog.text
        assert "malformed-text" not in caplog.text


class BadHeader(Request):
    """A request whose cookies cannot be read, as those that Werkzeug does not decode."""

    @property
    def cookies(self) -> Any:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


def test_cookies_that_cannot_be_read_are_malformed(make_app: MakeApp) -> None:
    app = add_views(make_app())
    app.request_class = BadHeader
    assert app.test_client().get("/read").text == "{}"
    assert app.session_interface.rejections["malformed"] == 1  # type: ignore[attr-defined]


def test_a_signed_session_of_a_serializer_that_begins_with_a_dot_opens(make_app: MakeApp) -> None:
    """Bare, its payload would be taken for a compressed one."""

    class Dotted:
        inner = TaggedJSONSerializer()

        def dumps(self, value: Any) -> str:
            return "." + self.inner.dumps(value)

        def loads(self, text: str) -> Any:
            return self.inner.loads(text[1:])

    signed = signed_app()
    signed.session_interface.serializer = Dotted()  # type: ignore[attr-defined]
    app = add_views(make_app(SESSION_ENCRYPTION_ACCEPT=["flask-signed"]))
    app.session_interface.serializer = Dotted()  # type: ignore[attr-defined]
    client = app.test_client()
    client.set_cookie("session", write(signed.test_client(), a=1))
    for _ in range(2):
        assert client.get("/read").text == "{'a': 1}"


class TestSeveralCookies:
    """Cookies of one name, which another domain or path brings, or a neighbour on the domain."""

    @pytest.fixture
    def app(self, make_app: MakeApp) -> Flask:
        config = {"SECRET_KEY": SECRET, "SESSION_ENCRYPTION_ACCEPT": ["flask-signed"]}
        return add_views(make_app(EncryptedSessionInterface(keys=[NEW]), **config))

    def read(self, app: Flask, *tokens: str) -> str:
        header = "; ".join(f"session={token}" for token in tokens)
        client = app.test_client(use_cookies=False)
        return client.get("/read", headers={"Cookie": f"a=b; {header}"}).text

    def refused(self, app: Flask) -> dict[str, int]:
        counts = app.session_interface.rejections  # type: ignore[attr-defined]
        return {reason: count for reason, count in counts.items() if count}

    def test_the_first_that_opens_counts(self, app: Flask) -> None:
        good, later = write(app.test_client(), a=1), write(app.test_client(), a=2)
        unauthentic = OracleFernet(OLD).encrypt_at_time(b"{}", int(time.time())).decode()
        expired = OracleFernet(NEW).encrypt_at_time(b"{}", 0).decode()
        undecodable = OracleFernet(NEW).encrypt_at_time(b"{", int(time.time())).decode()
        for bad in ("x", "", unauthentic, expired, undecodable, "a.b.c", '"quoted"'):
            assert self.read(app, bad, good, later) == "{'a': 1}"
        assert self.read(app, later, good) == "{'a': 2}"
        signed = write(signed_app().test_client(), a=3)
        assert self.read(app, "x", signed) == "{'a': 3}"
        assert self.refused(app) == {}

    def test_four_are_tried(self, app: Flask) -> None:
        good = write(app.test_client(), a=1)
        assert self.read(app, *"xyz", good) == "{'a': 1}"
        assert self.read(app, *"wxyz", good) == "{}"
        assert self.refused(app) == {"malformed": 1}

    def test_one_rejection_is_counted_and_the_most_telling(self, app: Flask) -> None:
        expired = OracleFernet(NEW).encrypt_at_time(b"{}", 0).decode()
        assert self.read(app, "x", expired, "y") == "{}"
        assert self.refused(app) == {"expired": 1}

    def test_of_cookies_that_are_not_authentic_the_first_is_counted(self, app: Flask) -> None:
        unauthentic = OracleFernet(OLD).encrypt_at_time(b"{}", int(time.time())).decode()
        assert self.read(app, "x", unauthentic) == "{}"
        assert self.refused(app) == {"malformed": 1}
        assert self.read(app, unauthentic, "x") == "{}"
        assert self.refused(app) == {"malformed": 1, "unauthentic": 1}

    def test_an_absolute_lifetime_that_is_over_does_not_hide_the_next(
        self, app: Flask, clock: Clock
    ) -> None:
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 100
        over = write(app.test_client(), a=1)
        clock.now += 100
        assert self.read(app, "x", over) == "{'a': 1}"
        clock.now += 1
        good = write(app.test_client(), a=2)
        assert self.read(app, over, good) == "{'a': 2}"
        assert self.read(app, over, over) == "{}"
        assert self.refused(app) == {"expired": 1}

    def test_a_session_of_a_host_whose_clock_is_ahead_is_not_over(
        self, app: Flask, clock: Clock
    ) -> None:
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 100
        with clock.at(clock.now + 30):
            ahead = write(app.test_client(), a=1)
        assert self.read(app, "x", ahead) == "{'a': 1}"

    def test_a_request_whose_cookies_have_one_value_each_opens(self, app: Flask) -> None:
        class OneEach(Request):
            dict_storage_class = dict  # type: ignore[assignment]

        app.request_class = OneEach
        assert self.read(app, write(app.test_client(), a=1)) == "{'a': 1}"


@pytest.mark.parametrize("form", ["fernet", "xaes-256-gcm"])
def test_a_cookie_whose_padding_was_lost_opens(make_app: MakeApp, form: str) -> None:
    app = add_views(make_app(SESSION_ENCRYPTION_FORMAT=form))
    client = app.test_client()
    seen = set()
    for length in range(48):
        token = write(client, a="x" * length)
        bare = token.rstrip("=")
        seen.add(len(token) - len(bare))
        for padding in ("", "=", "%3D", "%3d", "\\075"):
            for count in range(len(token) - len(bare) + 1):
                header = f"session={bare}{padding * count}"
                response = app.test_client(use_cookies=False).get(
                    "/read", headers={"Cookie": header}
                )
                assert response.text == f"{{'a': '{'x' * length}'}}", header
    # Every session has padding of some length, and we write it.
    assert len(seen) > 1


def test_a_new_session_knows_why_it_is_new(make_app: MakeApp) -> None:
    app = make_app(EncryptedSessionInterface(keys=[NEW]))

    @app.before_request
    def say() -> None:
        if session.rejected is Reason.EXPIRED:  # type: ignore[attr-defined]
            flash("Your session has expired.")

    @app.get("/read")
    def read() -> str:
        return repr((session.rejected, get_flashed_messages()))  # type: ignore[attr-defined]

    client = app.test_client()
    assert client.get("/read").text == "(None, [])"
    client.set_cookie("session", OracleFernet(NEW).encrypt_at_time(b"{}", 0).decode())
    assert client.get("/read").text == repr((Reason.EXPIRED, ["Your session has expired."]))
    client.set_cookie("session", "x")
    assert client.get("/read").text == repr((Reason.MALFORMED, []))


def test_a_session_class_of_an_app_need_not_know_why(make_app: MakeApp) -> None:
    interface = EncryptedSessionInterface()
    interface.session_class = SecureCookieSession
    client = add_views(make_app(interface)).test_client()
    client.set_cookie("session", "x")
    assert client.get("/read").text == "{}"


def test_only_an_unauthentic_session_makes_a_worker_look_for_newer_keys(
    tmp_path: Path, ring: KeyRing, implementation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = started_ring_app(tmp_path)
    looked: list[FollowedRing] = []
    monkeypatch.setattr(FollowedRing, "poll_now", lambda self: looked.append(self))
    if implementation == "fallback":
        EncryptedSessionInterface.of(app)._state.disable()
    key = ring.load().keys[0].key.encode()
    now = int(time.time()).to_bytes(8, "big")
    client = app.test_client()
    for token in (
        "malformed",
        OracleFernet(key).encrypt_at_time(b"{}", 0).decode(),
        fernet_token(key, b"\x80" + now + bytes(32)).decode(),
    ):
        client.set_cookie("session", token)
        assert client.get("/read").text == "{}"
    refused = EncryptedSessionInterface.of(app).rejections
    counted = {reason: count for reason, count in refused.items() if count}
    assert counted == {"malformed": 1, "expired": 1, "undecodable": 1}
    assert looked == []
    client.set_cookie("session", OracleFernet(OLD).encrypt(b"{}").decode())
    client.get("/read")
    assert looked


@pytest.mark.parametrize("wrong", ["expired", "unauthentic"])
def test_a_refused_signed_cookie_that_is_accepted_is_logged_without_the_remedy(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, clock: Clock, wrong: str
) -> None:
    caplog.set_level(logging.INFO, "flask_fernet")
    secret = SECRET if wrong == "expired" else "another secret of sixteen bytes"
    token = write(signed_app(SECRET_KEY=secret).test_client(), a=1)
    clock.now += 40 * 24 * 3600 if wrong == "expired" else 0
    client = add_views(make_app(SESSION_ENCRYPTION_ACCEPT=["flask-signed"])).test_client()
    client.set_cookie("session", token)
    client.get("/read")
    (record,) = caplog.records
    assert record.getMessage() == f"Refused a session cookie: {wrong} (1 so far)."


def test_a_refused_signed_cookie_is_logged_with_the_remedy(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    client = add_views(make_app()).test_client()
    for value in ("a.b", "a.b.c.d.e", write(signed_app().test_client(), a=1)):
        client.set_cookie("session", value)
        client.get("/read")
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "Refused a session cookie: malformed (1 so far)."
    assert "SESSION_ENCRYPTION_ACCEPT = ['flask-signed']" in second
