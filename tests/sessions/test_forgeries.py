"""What somebody without the key learns: nothing, whatever they send."""

from __future__ import annotations

import base64
import time
import zlib
from typing import Any

import pytest
from flask import Flask
from flask.json.tag import TaggedJSONSerializer
from flask.testing import FlaskClient

from flask_fernet import EncryptedSessionInterface, Fernet, Reason
from flask_fernet._core import SessionKeys
from flask_fernet.stores.memory import MemoryStore
from flask_fernet.testing import SessionTester
from tests.apps import MakeApp, add_views, write
from tests.oracles import fernet_token_of_blocks
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


class CountingSerializer(TaggedJSONSerializer):
    """Counts the texts that it is given to decode."""

    decoded = 0

    def loads(self, value: str) -> Any:
        self.decoded += 1
        return super().loads(value)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("place", ["cookie", "record"])
def test_nothing_is_decoded_before_it_is_authentic(
    make_app: MakeApp, kind: str, place: str
) -> None:
    interface = EncryptedSessionInterface(keys=[OURS])
    serializer = interface.serializer = CountingSerializer()
    store = MemoryStore()
    config = {"SESSION_STORE": store} if place == "record" else {}
    app = add_views(make_app(interface, SESSION_ENCRYPTION_FORMAT=kind, **config))
    good = write(app.test_client(), number=1)

    def decoded(token: str) -> int:
        before = serializer.decoded
        with_cookie(app, token).get("/read")
        return serializer.decoded - before

    # The counting sees what is decoded.
    assert decoded(good) == 1
    assert decoded(SessionTester(app).tampered(good)) == 0
    if place == "record":
        (address,) = store.addresses()
        record = store.read(address) or b""
        for last, times in ((record[-1], 1), (record[-1] ^ 1, 0)):
            store.delete(address)
            soon = int(time.time()) + 100
            assert store.create(address, record[:-1] + bytes([last]), soon, None)
            assert decoded(good) == times
        assert interface.rejections[Reason.UNAUTHENTIC] == 2


def test_padding_is_judged_after_the_mac(make_app: MakeApp) -> None:
    """With a wrong MAC a token is not authentic, whatever its padding."""
    app = add_views(make_app(EncryptedSessionInterface(keys=[OURS])))
    now = int(time.time())
    for last in range(256):
        blocks = b"no JSON".ljust(15) + bytes([last])
        authentic = fernet_token_of_blocks(OURS, blocks, now).decode()
        raw = base64.urlsafe_b64decode(authentic)
        forged = base64.urlsafe_b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()
        for token, reason in ((authentic, Reason.UNDECODABLE), (forged, Reason.UNAUTHENTIC)):
            with SessionTester(app).rejects(reason) as found:
                with_cookie(app, token).get("/read")
            assert found == [reason]


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


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("compression", ["never", "always"])
def test_a_cookie_shows_nothing_of_its_session(
    make_app: MakeApp, kind: str, compression: str
) -> None:
    """Whoever reads the bytes of a cookie sees no name and no value, and not that two sessions are
    alike.
    """
    app = add_views(make_app(SESSION_ENCRYPTION_FORMAT=kind, SESSION_COMPRESSION=compression))
    data = {"a name that is long": "a value that is long", "number": 123456789}
    tokens = [write(app.test_client(), **data) for _ in range(2)]
    first, second = (base64.urlsafe_b64decode(token + "==") for token in tokens)
    # Two or three bytes would come up by chance.
    for part in (b"name", b"long", b"value", b"number", b"123456789"):
        assert part not in first + second
    # At most the version, the key hint and the issue time are equal. Compressed data would be.
    equal = sum(a == b for a, b in zip(first[16:], second[16:], strict=False))
    assert equal < len(first) / 16


@pytest.mark.parametrize("kind", FORMATS)
def test_the_cookie_of_a_stored_session_has_one_length(make_app: MakeApp, kind: str) -> None:
    """It shows nothing of how much is in the session, nor of whose it is."""
    app = add_views(make_app(SESSION_ENCRYPTION_FORMAT=kind, SESSION_STORE="memory://"))
    contents: list[dict[str, Any]] = [
        {"a": 1}, {"text": "x" * 5000}, {"_user_id": "1"}, {"_user_id": "a" * 300},
        {"list": list(range(1000))}, {"text": "\u00e9" * 70_000},
    ]  # fmt: skip
    assert len({len(write(app.test_client(), **data)) for data in contents}) == 1


def test_a_session_comes_in_a_cookie_alone(make_app: MakeApp) -> None:
    """A token in a URL, a form, a body or another header opens nothing."""
    app = add_views(make_app())
    app.add_url_rule("/read", "form", app.view_functions["read"], methods=["POST"])
    token = write(app.test_client(), user="alice")

    def read(method: str = "GET", path: str = "/read", **sent: Any) -> str:
        response = app.test_client(use_cookies=False).open(path, method=method, **sent)
        assert "Set-Cookie" not in response.headers
        return response.text

    assert "alice" in read(headers={"Cookie": f"session={token}"})
    for elsewhere in (
        read(path=f"/read?session={token}"),
        read(path=f"/read;session={token}"),
        read("POST", data={"session": token}),
        read("POST", json={"session": token}),
        read(headers={"session": token}),
        read(headers={"X-Session": token}),
        read(headers={"Authorization": f"Bearer {token}"}),
        read(headers={"Set-Cookie": f"session={token}"}),
        read(headers={"Cookie2": f"session={token}"}),
    ):
        assert "alice" not in elsewhere
