"""The behaviour that `EncryptedSessionInterface` adds to Flask's, in both implementations."""

from __future__ import annotations

import base64
import copy
import gc
import json
import logging
import pickle
import threading
import time
import weakref
import zlib
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from flask import Config, Flask, session
from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SecureCookieSession

from flask_fernet import (
    EncryptedSession,
    EncryptedSessionInterface,
    Fernet,
    Reason,
    SessionTooLarge,
    session_rejected,
)
from flask_fernet._core import deflate
from tests.apps import SECRET, MakeApp, add_views, opened, set_cookie, token_of, write
from tests.clock import Clock
from tests.oracles import OracleFernet, derived_key, fernet_token
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


class TestRotation:
    def test_a_session_is_reissued_under_the_newest_key(
        self, make_app: MakeApp, clock: Clock
    ) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))
        issued_at = int(clock.now) - 1000
        token = OracleFernet(OLD).encrypt_at_time(b'{"a":1}', issued_at).decode()
        client = app.test_client()

        client.set_cookie("session", token)
        assert "Set-Cookie" not in client.get("/nothing").headers
        public = client.get("/public")
        assert public.text == "{'a': 1}"
        assert "Set-Cookie" not in public.headers

        response = client.get("/read")
        reissued = token_of(set_cookie(response))
        assert OracleFernet(NEW).decrypt(reissued) == b'{"a":1}'
        assert opened(app, reissued)[1] == issued_at
        assert response.headers["Vary"] == "Cookie"
        assert "Set-Cookie" not in client.get("/read").headers

    def test_a_changed_session_is_issued_now(self, make_app: MakeApp, clock: Clock) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))
        client = app.test_client()
        token = OracleFernet(OLD).encrypt_at_time(b'{"a":1}', int(clock.now) - 1000)
        client.set_cookie("session", token.decode())
        written = write(client, b=2)
        assert opened(app, written) == (b'{"a":1,"b":2}', int(clock.now))

    def test_a_permanent_session_keeps_its_end(
        self, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))
        app.config["SESSION_REFRESH_EACH_REQUEST"] = False
        app.config["PERMANENT_SESSION_LIFETIME"] = 3600
        issued_at = int(time.time()) - 1000
        token = OracleFernet(OLD).encrypt_at_time(b'{"_permanent":true}', issued_at)
        client = app.test_client()
        client.set_cookie("session", token.decode())
        response = client.get("/read")
        cookie = client.get_cookie("session")
        assert cookie is not None
        assert cookie.expires is not None
        assert abs(cookie.expires.timestamp() - (issued_at + 3600)) <= 2
        assert opened(app, token_of(set_cookie(response)))[1] == issued_at

    def test_an_expiration_from_a_hook_is_kept(self, make_app: MakeApp, clock: Clock) -> None:
        end = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

        class Fixed(EncryptedSessionInterface):
            def get_expiration_time(self, app: Flask, session: Any) -> datetime:
                return end

        app = add_views(make_app(Fixed(keys=[NEW, OLD]), SESSION_REFRESH_EACH_REQUEST=False))
        token = OracleFernet(OLD).encrypt_at_time(b'{"_permanent":true}', int(clock.now) - 1000)
        client = app.test_client()
        client.set_cookie("session", token.decode())
        header = set_cookie(client.get("/read"))
        assert "; Expires=Wed, 02 Jan 2030 03:04:05 GMT" in header

    def test_what_does_not_fit_stays_as_it_is(self, make_app: MakeApp) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))
        app.config["MAX_COOKIE_SIZE"] = 120
        client = app.test_client()
        client.set_cookie("session", OracleFernet(OLD).encrypt(b'{"a":"bcdefghijkl"}').decode())
        response = client.get("/read")
        assert response.text == "{'a': 'bcdefghijkl'}"
        assert "Set-Cookie" not in response.headers

    @pytest.mark.parametrize("item", [1, object()], ids=["writable", "not writable"])
    def test_what_flask_does_not_see_is_not_saved(self, make_app: MakeApp, item: object) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))

        @app.get("/lose")
        def lose() -> str:
            session["list"].append(item)
            return "lost"

        client = app.test_client()
        client.set_cookie("session", OracleFernet(OLD).encrypt(b'{"list":[]}').decode())
        response = client.get("/lose")
        assert response.text == "lost"
        assert opened(app, token_of(set_cookie(response)))[0] == b'{"list":[]}'


class TestSize:
    def sized_app(self, make_app: MakeApp, **config: Any) -> Flask:
        config = {"PROPAGATE_EXCEPTIONS": True, **config}
        return add_views(make_app(EncryptedSessionInterface(keys=[NEW]), **config))

    def noise(self, size: int) -> str:
        import random

        return "".join(random.Random(size).choices("0123456789abcdef", k=size))

    def test_a_session_is_compressed_only_when_it_would_not_fit(self, make_app: MakeApp) -> None:
        app = self.sized_app(make_app)
        client = app.test_client()
        assert OracleFernet(NEW).decrypt(write(client, a="b" * 2000))[:1] == b"{"
        assert OracleFernet(NEW).decrypt(write(client, a="b" * 5000))[:1] == b"."
        assert len(client.get("/read").text) > 5000

    def test_compression_never_leaves_a_session_as_it_is(self, make_app: MakeApp) -> None:
        client = self.sized_app(make_app, SESSION_COMPRESSION="never").test_client()
        write(client, a="b" * 2000)
        with pytest.raises(SessionTooLarge):
            write(client, a="b" * 5000)

    def test_compression_always_packs_what_gets_shorter(self, make_app: MakeApp) -> None:
        client = self.sized_app(make_app, SESSION_COMPRESSION="always").test_client()
        assert OracleFernet(NEW).decrypt(write(client, a="b" * 100))[:1] == b"."
        # A session that compression would not shorten is not compressed.
        assert OracleFernet(NEW).decrypt(write(client, a="b"))[:1] == b"{"

    @pytest.mark.parametrize("compression", ["fit", "always", "never"])
    def test_the_limit_is_exact(self, make_app: MakeApp, compression: str) -> None:
        app = self.sized_app(make_app, SESSION_COMPRESSION=compression)
        header = set_cookie(app.test_client().post("/write", json={"a": self.noise(1500)}))
        for limit, fits in [(len(header), True), (len(header) - 1, compression == "fit")]:
            app.config["MAX_COOKIE_SIZE"] = limit
            client = app.test_client()
            if fits:
                assert len(set_cookie(client.post("/write", json={"a": self.noise(1500)}))) <= limit
            else:
                with pytest.raises(SessionTooLarge) as raised:
                    client.post("/write", json={"a": self.noise(1500)})
                assert (raised.value.size, raised.value.limit) == (len(header), limit)

    def test_a_session_that_is_too_large_is_a_named_error(self, make_app: MakeApp) -> None:
        client = self.sized_app(make_app).test_client()
        with pytest.raises(SessionTooLarge, match="the limit is 4093") as raised:
            client.post("/write", json={"a": self.noise(9000)})
        assert raised.value.limit == 4093
        assert raised.value.size > 4093
        assert self.noise(9000)[:20] not in str(raised.value)

    def test_the_response_to_the_error_is_finished(
        self, make_app: MakeApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = self.sized_app(make_app, PROPAGATE_EXCEPTIONS=False)
        client = app.test_client()
        token = write(client, small=1)
        response = client.post("/write", json={"a": self.noise(9000)})
        assert response.status_code == 500
        assert response.headers["Vary"] == "Cookie"
        assert "Set-Cookie" not in response.headers
        assert [record.message for record in caplog.records] == ["Exception on /write [POST]"]
        cookie = client.get_cookie("session")
        assert cookie is not None
        assert cookie.value == token

    def test_an_error_handler_may_clear_the_session(self, make_app: MakeApp) -> None:
        app = self.sized_app(make_app, PROPAGATE_EXCEPTIONS=False)

        @app.errorhandler(500)
        def handle(error: Exception) -> Any:
            session.clear()
            session["error"] = type(error.original_exception).__name__  # type: ignore[attr-defined]
            return "sorry", 500

        client = app.test_client()
        client.post("/write", json={"a": self.noise(9000)})
        assert client.get("/read").text == "{'error': 'SessionTooLarge'}"

    def test_overflow_warn_sends_a_cookie_that_is_too_large(self, make_app: MakeApp) -> None:
        client = self.sized_app(make_app, SESSION_OVERFLOW="warn").test_client()
        with pytest.warns(UserWarning, match="cookie is too large"):
            response = client.post("/write", json={"a": self.noise(9000)})
        assert len(set_cookie(response)) > 4093

    def test_without_a_limit_a_cookie_is_as_long_as_one_that_opens(self, make_app: MakeApp) -> None:
        client = self.sized_app(make_app, MAX_COOKIE_SIZE=0).test_client()
        write(client, a=self.noise(100_000))
        assert len(client.get("/read").text) > 100_000
        write(client, a="b" * 900_000)
        assert len(client.get("/read").text) > 900_000
        with pytest.raises(SessionTooLarge) as raised:
            write(client, a="b" * 1_200_000)
        assert raised.value.limit == 2**20


def test_init_app_and_the_constructor_set_it() -> None:
    app = Flask(__name__)
    app.secret_key = SECRET
    interface = EncryptedSessionInterface(app)
    assert app.session_interface is interface
    other = Flask(__name__)
    interface.init_app(other)
    assert other.session_interface is interface


def test_an_interface_whose_constructor_forgets_its_parent_works(make_app: MakeApp) -> None:
    class Forgetful(EncryptedSessionInterface):
        def __init__(self) -> None:
            self.note = "mine"

    app = add_views(make_app(Forgetful()))
    client = app.test_client()
    write(client, a=1)
    assert client.get("/read").text == "{'a': 1}"


class TestOddClasses:
    """Classes whose instances have other attributes than a look at the class suggests."""

    def one(self, make_app: MakeApp, interface: EncryptedSessionInterface) -> Flask:
        return add_views(make_app(interface))

    @pytest.mark.parametrize("name", ["modified", "accessed"])
    def test_a_flag_of_a_session_may_be_a_descriptor(self, make_app: MakeApp, name: str) -> None:
        class Flag:
            def __get__(self, instance: Any, owner: Any) -> Any:
                return False if instance is None else instance.__dict__.get("_flag", False)

            def __set__(self, instance: Any, value: Any) -> None:
                instance.__dict__["_flag"] = value

        interface = EncryptedSessionInterface()
        interface.session_class = type("Flagged", (EncryptedSession,), {name: Flag()})
        app = self.one(make_app, interface)
        response = app.test_client().post("/write", json={"a": 1})
        assert response.headers["Vary"] == "Cookie"
        assert "Set-Cookie" in response.headers

    @pytest.mark.parametrize("how", ["descriptor", "getattribute"])
    def test_a_salt_that_changes_is_seen(self, make_app: MakeApp, how: str) -> None:
        salts = ["one"]

        class Salt:
            def __get__(self, instance: Any, owner: Any) -> str:
                return salts[0]

        class Descriptor(EncryptedSessionInterface):
            salt = Salt()

        class Getattribute(EncryptedSessionInterface):
            def __getattribute__(self, name: str) -> Any:
                return salts[0] if name == "salt" else super().__getattribute__(name)

        app = self.one(make_app, Descriptor() if how == "descriptor" else Getattribute())
        client = app.test_client()
        write(client, a=1)
        assert client.get("/read").text == "{'a': 1}"
        salts[0] = "two"
        assert client.get("/read").text == "{}"

    def test_a_class_between_flasks_class_and_its_bases_is_initialised(
        self, make_app: MakeApp
    ) -> None:
        from werkzeug.datastructures import CallbackDict

        class Audit(CallbackDict):  # type: ignore[type-arg]
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                self.audit = ["made"]

        class Audited(SecureCookieSession, Audit):
            pass

        interface = EncryptedSessionInterface()
        interface.session_class = Audited
        app = self.one(make_app, interface)

        @app.get("/audit")
        def audit() -> str:
            return str(session.audit)  # type: ignore[attr-defined]

        client = app.test_client()
        write(client, a=1)
        assert client.get("/audit").text == "['made']"

    def test_an_expired_session_is_not_made(self, make_app: MakeApp) -> None:
        made: list[Any] = []

        class Noting(SecureCookieSession):
            def __init__(self, initial: Any = None) -> None:
                made.append(initial)
                super().__init__(initial)

        interface = EncryptedSessionInterface(keys=[NEW])
        interface.session_class = Noting
        app = self.one(make_app, interface)
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 100
        client = app.test_client()
        old = OracleFernet(NEW).encrypt_at_time(b'{"a":1}', int(time.time()) - 200)
        client.set_cookie("session", old.decode())
        assert client.get("/read").text == "{}"
        assert made == [None]

    def test_a_configuration_may_supply_what_is_missing(self, make_app: MakeApp) -> None:
        secrets = [SECRET]

        class Supplying(Config):
            def __missing__(self, name: str) -> Any:
                if name == "SECRET_KEY":
                    return secrets[0]
                raise KeyError(name)

        app = self.one(make_app, EncryptedSessionInterface())
        app.config = Supplying("", app.config)
        del app.config["SECRET_KEY"]
        client = app.test_client()
        write(client, a=1)
        assert client.get("/read").text == "{'a': 1}"
        secrets[0] = SECRET[::-1]
        assert client.get("/read").text == "{}"

    def test_a_frozen_configuration_is_left_alone(self, make_app: MakeApp) -> None:
        class Frozen(Config):
            def __setitem__(self, name: str, value: Any) -> None:
                raise TypeError("frozen")

        for freeze in (lambda config: Frozen("", config), lambda config: MappingProxyType(config)):
            app = self.one(make_app, EncryptedSessionInterface())
            app.config = freeze(dict(app.config))  # type: ignore[assignment]
            before = dict(app.config)
            client = app.test_client()
            write(client, a=1)
            assert client.get("/read").text == "{'a': 1}"
            assert dict(app.config) == before


class TestObjects:
    def test_an_app_is_collected_once_nobody_has_it(self, make_app: MakeApp) -> None:
        """An app is collected even if its interface and its session class refer back to it."""

        def made(kind: str) -> weakref.ref[Flask]:
            app = add_views(make_app())

            class Interface(EncryptedSessionInterface):
                def extra(self) -> Flask:
                    return app

            class Session(EncryptedSession):
                def extra(self) -> Flask:
                    return app

            interface = EncryptedSessionInterface() if kind == "session class" else Interface()
            if kind != "interface":
                interface.session_class = Session
            app.session_interface = interface
            if kind != "unused":
                client = app.test_client()
                write(client, a=1)
                assert client.get("/read").text == "{'a': 1}"
            return weakref.ref(app)

        for kind in ("unused", "interface", "session class", "both"):
            references = [made(kind) for _ in range(3)]
            gc.collect()
            assert [reference() for reference in references] == [None] * 3, kind

    def test_copies_have_the_same_keys_and_attributes(self, make_app: MakeApp) -> None:
        class Slotted(EncryptedSessionInterface):
            __slots__ = ("extra",)
            extra: Any

        interface = Slotted(keys=[NEW])
        interface.extra = ["slot"]
        interface.salt = "another"
        shared = threading.Lock()
        vars(interface)["lock"] = shared
        copied = copy.copy(interface)
        assert vars(copied)["lock"] is shared
        assert copied.extra is interface.extra
        with pytest.raises(TypeError, match="pickle"):
            copy.deepcopy(interface)
        del vars(interface)["lock"]
        deep = copy.deepcopy(interface)
        assert deep.extra == ["slot"]
        assert deep.extra is not interface.extra
        for one in (interface, copied, deep):
            app = add_views(make_app(one))
            client = app.test_client()
            token = write(client, a=1)
            assert client.get("/read").text == "{'a': 1}"
            OracleFernet(NEW).decrypt(token)
            assert one.salt == "another"
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(EncryptedSessionInterface(keys=[NEW]))

    def test_a_slot_that_was_never_set_is_not_copied(self) -> None:
        class Slotted(EncryptedSessionInterface):
            __slots__ = "extra"
            extra: Any

        assert not hasattr(copy.copy(Slotted()), "extra")
