"""Moves between formats: each format opens where it is listed, and nowhere else."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from flask import Flask, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner

from flask_fernet import (
    ConfigurationError,
    EncryptedSessionInterface,
    Fernet,
    Reason,
    session_migrated,
)
from flask_fernet.settings import FORMATS
from tests.apps import MakeApp, add_views, deploy, opened, set_cookie, signed_app, token_of, write
from tests.clock import NOW, Clock
from tests.strategies import EVERYTHING

pytestmark = pytest.mark.usefixtures("clock")


def cookie_at(age: int, app: Flask, clock: Clock, **values: Any) -> str:
    """Returns the cookie of a session that was written ``age`` seconds ago."""
    with clock.at(NOW - age):
        return write(app.test_client(), **values)


class TestFromSigned:
    def test_a_signed_session_is_reissued_encrypted_in_the_same_response(
        self, make_app: MakeApp, clock: Clock
    ) -> None:
        cookie = cookie_at(1000, signed_app(), clock, user="ada")
        app = add_views(make_app(SESSION_ENCRYPTION_ACCEPT=["flask-signed"]))
        seen: list[Any] = []
        client = app.test_client()
        client.set_cookie("session", cookie)
        with session_migrated.connected_to(lambda _, format: seen.append(format), sender=app):
            response = client.get("/read")
            assert response.text == "{'user': 'ada'}"
            token = token_of(set_cookie(response))
            assert opened(app, token) == (b'{"user":"ada"}', NOW - 1000)
            assert "Set-Cookie" not in client.get("/read").headers
        assert seen == ["flask-signed"]
        interface: Any = app.session_interface
        assert interface.migrations["flask-signed"].count == 1
        assert interface.migrations["flask-signed"].last_seen == NOW

    def test_an_app_that_writes_signed_sessions_does_not_reissue_them(
        self, make_app: MakeApp
    ) -> None:
        app = add_views(make_app(SESSION_ENCRYPTION_FORMAT="flask-signed"))
        client = app.test_client()
        client.set_cookie("session", write(signed_app().test_client(), user="ada"))
        response = client.get("/read")
        assert response.text == "{'user': 'ada'}"
        assert "Set-Cookie" not in response.headers

    def test_a_session_that_nobody_looks_at_is_not_rewritten(self, make_app: MakeApp) -> None:
        app = add_views(make_app(SESSION_ENCRYPTION_ACCEPT=["flask-signed"]))
        client = app.test_client()
        client.set_cookie("session", write(signed_app().test_client(), user="ada"))
        assert "Set-Cookie" not in client.get("/nothing").headers

    def test_every_type_opens_compressed_or_not(self, make_app: MakeApp) -> None:
        for more in ({}, {"long": "a" * 3000}):
            there = signed_app()
            here = make_app(SESSION_ENCRYPTION_ACCEPT=["flask-signed"])
            for app in (there, here):
                app.add_url_rule(
                    "/all", "all", lambda more=more: session.update(EVERYTHING, **more) or ""
                )
            add_views(here)
            header = there.test_client().get("/all").headers["Set-Cookie"]
            assert token_of(header).startswith(".")
            client = here.test_client()
            client.set_cookie("session", token_of(header))
            read = there.test_client()
            read.set_cookie("session", token_of(header))
            assert client.get("/read").text == read.get("/read").text
            assert client.get("/read").text == read.get("/read").text

    @pytest.mark.parametrize("place", [0, 1])
    def test_a_cookie_under_a_fallback_secret_opens(self, make_app: MakeApp, place: int) -> None:
        olds = ["the secret of last year", b"the secret of the year before"]
        cookie = write(signed_app(SECRET_KEY=olds[place]).test_client(), user="ada")
        app = add_views(
            make_app(SECRET_KEY_FALLBACKS=olds, SESSION_ENCRYPTION_ACCEPT="flask-signed")
        )
        client = app.test_client()
        client.set_cookie("session", cookie)
        assert client.get("/read").text == "{'user': 'ada'}"

    def refused(self, make_app: MakeApp, cookie: str, **config: Any) -> dict[str, int]:
        app = add_views(make_app(SESSION_ENCRYPTION_ACCEPT=["flask-signed"], **config))
        client = app.test_client(use_cookies=False)
        assert client.get("/read", headers={"Cookie": f"session={cookie}"}).text == "{}"
        interface: Any = app.session_interface
        return {reason: count for reason, count in interface.rejections.items() if count}

    def test_a_cookie_out_of_its_time_is_refused(self, make_app: MakeApp, clock: Clock) -> None:
        config = {"PERMANENT_SESSION_LIFETIME": 100}
        old = cookie_at(101, signed_app(), clock, user="ada")
        assert self.refused(make_app, old, **config) == {Reason.EXPIRED: 1}
        ahead = cookie_at(-61, signed_app(), clock, user="ada")
        assert self.refused(make_app, ahead, **config) == {Reason.FROM_FUTURE: 1}

    def test_a_changed_cookie_or_one_of_another_secret_is_refused(self, make_app: MakeApp) -> None:
        cookie = write(signed_app().test_client(), user="ada")
        assert self.refused(make_app, cookie[:-3] + "AAA") == {Reason.UNAUTHENTIC: 1}
        other = write(signed_app(SECRET_KEY="another secret altogether").test_client(), a=1)
        assert self.refused(make_app, other) == {Reason.UNAUTHENTIC: 1}
        assert self.refused(make_app, "a.b" * 400_000) == {Reason.TOO_LARGE: 1}

    def test_a_bomb_is_not_unpacked(self, make_app: MakeApp) -> None:
        serializer: Any = SecureCookieSessionInterface().get_signing_serializer(signed_app())
        signer: TimestampSigner = serializer.make_signer(serializer.salt)
        for packed in (zlib.compress(b" " * (1 << 20) + b"{}"), b"no zlib"):
            payload = b"." + base64.urlsafe_b64encode(packed).rstrip(b"=")
            cookie = signer.sign(payload).decode()
            assert self.refused(make_app, cookie) == {Reason.UNDECODABLE: 1}

    def test_accepting_signed_cookies_needs_a_secret(self) -> None:
        app = Flask(__name__)
        app.config["SESSION_ENCRYPTION_ACCEPT"] = ["flask-signed"]
        with pytest.raises(ConfigurationError, match="SECRET_KEY"):
            EncryptedSessionInterface(app, keys=[Fernet.generate_key()])


class TestWritingSigned:
    def test_a_signed_cookie_is_byte_for_byte_flasks(
        self, make_app: MakeApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        for values in ({"user": "ada"}, {"long": "a" * 3000}, {"_permanent": True}):
            theirs = signed_app().test_client().post("/write", json=values)
            app = add_views(make_app(SESSION_ENCRYPTION_FORMAT="flask-signed"))
            ours = app.test_client().post("/write", json=values)
            expected = token_of(theirs.headers["Set-Cookie"])
            assert token_of(ours.headers["Set-Cookie"]) == expected
            assert "written signed, not encrypted" in caplog.text

    def test_helpers_get_flasks_serializer(self, make_app: MakeApp) -> None:
        app = make_app(SESSION_ENCRYPTION_FORMAT="flask-signed")
        interface: Any = app.session_interface
        token = interface.get_signing_serializer(app).dumps({"a": 1})
        theirs: Any = SecureCookieSessionInterface().get_signing_serializer(signed_app())
        assert theirs.loads(token) == {"a": 1}

    def test_an_encrypted_session_goes_back_to_a_signed_cookie(self, make_app: MakeApp) -> None:
        cookie = write(add_views(make_app()).test_client(), user="ada")
        app = add_views(
            make_app(SESSION_ENCRYPTION_FORMAT="flask-signed", SESSION_ENCRYPTION_ACCEPT=["fernet"])
        )
        client = app.test_client()
        client.set_cookie("session", cookie)
        response = client.get("/read")
        assert response.text == "{'user': 'ada'}"
        plain = signed_app().test_client()
        plain.set_cookie("session", token_of(set_cookie(response)))
        assert plain.get("/read").text == "{'user': 'ada'}"


@pytest.mark.parametrize("made_in", FORMATS)
@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("listed", [True, False])
def test_only_what_is_listed_opens(
    make_app: MakeApp, made_in: str, written: str, listed: bool
) -> None:
    """A cookie opens only in its own format or in a listed one, for every pair of formats."""
    maker = add_views(make_app(SESSION_ENCRYPTION_FORMAT=made_in))
    cookie = write(maker.test_client(), user="ada")
    accepted = [made_in] if listed else []
    app = add_views(make_app(SESSION_ENCRYPTION_FORMAT=written, SESSION_ENCRYPTION_ACCEPT=accepted))
    client = app.test_client()
    client.set_cookie("session", cookie)
    opens = listed or made_in == written
    assert client.get("/read").text == ("{'user': 'ada'}" if opens else "{}")


@pytest.mark.parametrize("way", ["there", "back"])
@pytest.mark.parametrize(
    ("first", "second"), [("flask-signed", "fernet"), ("fernet", "xaes-256-gcm")]
)
def test_a_rolling_deploy_in_two_steps_logs_nobody_out(
    make_app: MakeApp, way: str, first: str, second: str
) -> None:
    """Nobody is logged out while old and new workers serve the same users."""
    configurations: list[Any] = [
        "flask" if first == "flask-signed" else {},
        {"SESSION_ENCRYPTION_FORMAT": first, "SESSION_ENCRYPTION_ACCEPT": [second]},
        {"SESSION_ENCRYPTION_FORMAT": second, "SESSION_ENCRYPTION_ACCEPT": [first]},
        {"SESSION_ENCRYPTION_FORMAT": second},
    ]
    if way == "back":
        configurations.reverse()
    workers = [
        signed_app() if config == "flask" else add_views(make_app(**config))
        for config in configurations
    ]
    deploy(workers)
