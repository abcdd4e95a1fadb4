"""Which cookie is sent: its size, its time, re-issued sessions, lost changes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from flask import Flask, Response, session
from flask.json.tag import JSONTag, TaggedJSONSerializer

from flask_fernet import (
    ConfigurationError,
    EncryptedSessionInterface,
    Fernet,
    SessionTooLarge,
    UnwritableValue,
)
from tests.apps import (
    MakeApp,
    add_views,
    expiry_of,
    opened,
    set_cookie,
    signed_app,
    token_of,
    write,
)
from tests.clock import Clock
from tests.oracles import OracleFernet

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


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

    @pytest.mark.parametrize("ago", [1000, 0, -5])
    def test_a_permanent_session_keeps_its_end_and_never_lasts_longer_than_from_now(
        self, make_app: MakeApp, clock: Clock, ago: int
    ) -> None:
        clock.freeze_flask()
        interface = EncryptedSessionInterface(keys=[NEW, OLD])
        app = add_views(make_app(interface, SESSION_REFRESH_EACH_REQUEST=False))
        app.config["PERMANENT_SESSION_LIFETIME"] = 3600
        # The host that issued it may be ahead.
        token = OracleFernet(OLD).encrypt_at_time(b'{"_permanent":true}', int(clock.now) - ago)
        client = app.test_client()
        client.set_cookie("session", token.decode())
        response = client.get("/read")
        assert expiry_of(client) == int(clock.now) - max(0, ago) + 3600
        assert opened(app, token_of(set_cookie(response)))[1] == int(clock.now) - ago

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
        for limit, fits in [(len(header), True), (len(header) - 1, compression != "never")]:
            app.config["MAX_COOKIE_SIZE"] = limit
            client = app.test_client()
            if fits:
                assert len(set_cookie(client.post("/write", json={"a": self.noise(1500)}))) <= limit
            else:
                with pytest.raises(SessionTooLarge) as raised:
                    client.post("/write", json={"a": self.noise(1500)})
                assert (raised.value.size, raised.value.limit) == (len(header), limit)

    def test_a_token_is_never_longer_than_one_that_opens(self, make_app: MakeApp) -> None:
        app = self.sized_app(
            make_app,
            SESSION_ENCRYPTION_FORMAT="xaes-256-gcm",
            SESSION_COMPRESSION="never",
            MAX_COOKIE_SIZE=0,
        )
        client = app.test_client()
        short = len(write(client, a="b" * 999))
        # Three bytes are four characters.
        longest = "b" * (999 + (2**20 - short) // 4 * 3)
        longest += "b" * ((2**20 - short) % 4 * 3 // 4)
        assert len(write(client, a=longest)) == 2**20
        with pytest.raises(SessionTooLarge):
            write(client, a=longest + "bbb")

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


class TestDebug:
    def test_debug_mode_warns_of_changes_that_are_lost(
        self, make_app: MakeApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = add_views(make_app(DEBUG=True))

        @app.get("/nested")
        def nested() -> str:
            session["list"].append(1)
            return ""

        @app.get("/nested-right")
        def nested_right() -> str:
            session["list"].append(1)
            session.modified = True
            return ""

        client = app.test_client()
        write(client, list=[], other={"b": 1, "a": 2})
        for path in ("/read", "/nothing", "/nested-right"):
            client.get(path)
            assert caplog.records == []
        client.get("/nested")
        (record,) = caplog.records
        assert "session.modified = True" in record.getMessage()
        client.get("/nested")
        assert len(caplog.records) == 2
        app.debug = False
        client.get("/nested")
        assert len(caplog.records) == 2

    @pytest.mark.parametrize("change", ["append", "pop", "unwritable"])
    def test_every_kind_of_nested_change_is_warned_of(
        self, make_app: MakeApp, caplog: pytest.LogCaptureFixture, change: str
    ) -> None:
        app = add_views(make_app(DEBUG=True))

        @app.get("/nested")
        def nested() -> str:
            if change == "pop":
                session["list"].pop()
            else:
                session["list"].append(1 if change == "append" else object())
            return ""

        client = app.test_client()
        write(client, list=[1])
        assert client.get("/nested").status_code == 200
        (record,) = caplog.records
        assert record.event == "session.changes_lost"  # type: ignore[attr-defined]

    def test_another_serializer_may_write_a_session_differently_each_time(
        self, make_app: MakeApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Varying(TaggedJSONSerializer):
            count = 0

            def dumps(self, value: Any) -> str:
                Varying.count += 1
                return super().dumps(value) + " " * Varying.count

        class Serializing(EncryptedSessionInterface):
            serializer = Varying()

        client = add_views(make_app(Serializing(keys=[NEW]), DEBUG=True)).test_client()
        write(client, a=1)
        assert client.get("/read").text == "{'a': 1}"
        assert caplog.records == []

    def test_without_debug_mode_nothing_is_compared(
        self, make_app: MakeApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))

        @app.get("/nested")
        def nested() -> Response:
            session["list"].append(1)
            response = app.response_class()
            # Not written anew under the newest key.
            response.cache_control.public = True
            return response

        client = app.test_client()
        client.set_cookie("session", OracleFernet(OLD).encrypt(b'{"list":[]}').decode())
        assert client.get("/nested").status_code == 200
        assert caplog.records == []


def test_a_compressed_session_that_becomes_signed_is_one_that_flask_reads(
    make_app: MakeApp,
) -> None:
    client = add_views(make_app(SESSION_COMPRESSION="always")).test_client()
    encrypted = write(client, a="b" * 500)
    app = add_views(
        make_app(SESSION_ENCRYPTION_FORMAT="flask-signed", SESSION_ENCRYPTION_ACCEPT=["fernet"])
    )
    client = app.test_client()
    client.set_cookie("session", encrypted)
    signed = token_of(set_cookie(client.get("/read")))
    flasks = signed_app().test_client()
    flasks.set_cookie("session", signed)
    assert flasks.get("/read").text == repr({"a": "b" * 500})


def test_a_session_without_a_dict_that_is_too_large_is_a_named_error(make_app: MakeApp) -> None:
    class Bare(dict):  # type: ignore[type-arg]
        __slots__ = ()
        modified = accessed = permanent = True

    interface = EncryptedSessionInterface(keys=[NEW])
    app = make_app(interface, SESSION_COMPRESSION="never")
    with app.test_request_context(), pytest.raises(SessionTooLarge):
        interface.save_session(app, Bare(a="b" * 9000), app.response_class())  # type: ignore[arg-type]


def test_a_session_that_could_not_be_opened_is_one_error(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = add_views(make_app(SESSION_COMPRESSION="broken"))
    assert app.test_client().get("/read").status_code == 500
    (record,) = caplog.records
    assert record.message == "Exception on /read [GET]"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ConfigurationError)


def test_a_refresh_that_does_not_fit_leaves_the_old_cookie(make_app: MakeApp) -> None:
    """Only a view that changed its session is told that it does not fit."""
    app = add_views(make_app(PROPAGATE_EXCEPTIONS=True, SESSION_COMPRESSION="never"))
    client = app.test_client()
    write(client, a="b" * 1000, _permanent=True)
    app.config["MAX_COOKIE_SIZE"] = 1000
    response = client.get("/read")
    assert "b" * 1000 in response.text
    assert "Set-Cookie" not in response.headers
    with pytest.raises(SessionTooLarge):
        write(client, c=1)


@pytest.mark.parametrize("late", [False, True])
def test_a_late_response_does_not_reissue(make_app: MakeApp, clock: Clock, late: bool) -> None:
    """Another request may have logged the user out meanwhile. The next request re-issues."""
    clock.freeze_monotonic()
    app = add_views(make_app(EncryptedSessionInterface(keys=[NEW, OLD])))

    @app.get("/slow")
    def slow() -> str:
        clock.monotonic += 2.1 if late else 1.9
        return repr(dict(session))

    for view, reissued in (("/slow", not late), ("/read", True)):
        client = app.test_client()
        client.set_cookie("session", OracleFernet(OLD).encrypt(b'{"a":1}').decode())
        response = client.get(view)
        assert response.text == "{'a': 1}"
        assert ("Set-Cookie" in response.headers) == reissued


class Odd:
    def __repr__(self) -> str:
        return "the contents"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Odd(), "session['a'] cannot be written: the session's serializer does not write this Odd"),
        ({"profile": [Odd()]}, "session['a']['profile'][0] cannot"),
        ([1, (2, {"x": Odd()})], "session['a'][1][1]['x'] cannot"),
        ({1: 1, "b": 2}, "session['a'] cannot be written: the session's serializer does not write "
         "this dict with keys of type int and str"),
        ([10**5000], "session['a'][0] cannot be written"),
        ({"k" * 100: Odd()}, f"session['a']['{'k' * 56}...] cannot"),
        ({3: Odd()}, "session['a'][3] cannot"),
        ({(1, 2): 3}, "session['a'] cannot"),
        ({Odd(): 3}, "session['a'] cannot"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_written_is_named_by_its_path(
    make_app: MakeApp, value: object, path: str
) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=True)

    @app.get("/")
    def view() -> str:
        session.update(a=value, fine=1)
        return ""

    with pytest.raises(UnwritableValue) as raised:
        app.test_client().get("/")
    assert str(raised.value).startswith(path)
    assert isinstance(raised.value, TypeError)
    assert "the contents" not in str(raised.value)


def test_a_value_nested_without_end_has_a_short_path(make_app: MakeApp) -> None:
    class Tag(JSONTag):
        key = " odd"

        def check(self, value: Any) -> bool:
            return isinstance(value, Odd)

        def to_json(self, value: Any) -> Any:
            raise TypeError

    interface = EncryptedSessionInterface()
    interface.serializer = TaggedJSONSerializer()
    interface.serializer.register(Tag)
    app = make_app(interface, PROPAGATE_EXCEPTIONS=True)
    deep: Any = Odd()
    for _ in range(30):
        deep = [deep]

    @app.get("/")
    def view() -> str:
        session["a"] = deep
        return ""

    with pytest.raises(UnwritableValue) as raised:
        app.test_client().get("/")
    assert raised.value.path == "session['a']" + "[0]" * 19


def test_a_session_that_is_too_large_names_its_largest_keys(make_app: MakeApp) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=True, SESSION_COMPRESSION="never")

    @app.get("/")
    def view() -> str:
        session.update(big="x" * 9000, some=["y"] * 100, small=1, number=12345, tuple=(1,))
        return ""

    with pytest.raises(SessionTooLarge) as raised:
        app.test_client().get("/")
    assert raised.value.largest == (("big", 9002), ("some", 401), ("tuple", 10))
    assert "'big' with 9002 bytes, 'some' with 401 bytes" in str(raised.value)
    assert "yyy" not in str(raised.value)


def test_a_handler_of_status_500_sees_that_a_session_is_too_large(make_app: MakeApp) -> None:
    app = add_views(make_app(SESSION_COMPRESSION="never"))
    called = []

    @app.errorhandler(SessionTooLarge)
    def never(error: SessionTooLarge) -> Any:
        raise AssertionError("Flask calls it only for errors of views")

    @app.errorhandler(500)
    def explain(error: Any) -> Any:
        called.append(error.original_exception)
        return "too large", 500

    response = app.test_client().post("/write", json={"a": "x" * 9000})
    assert (response.status_code, response.text) == (500, "too large")
    assert isinstance(called[0], SessionTooLarge)


def test_the_cause_of_an_unwritable_value_has_no_frame_with_the_session(make_app: MakeApp) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=True)
    endless: list[Any] = []
    endless.append(endless)
    values: list[Any] = [Odd(), endless]

    @app.get("/<int:number>")
    def view(number: int) -> str:
        session.update(a=values[number], password="the secret")
        return ""

    for number in range(len(values)):
        with pytest.raises(UnwritableValue) as raised:
            app.test_client().get(f"/{number}")
        cause = raised.value.__cause__
        assert cause is not None
        assert cause.__traceback__ is None
        assert raised.value.__context__ in (None, cause)
