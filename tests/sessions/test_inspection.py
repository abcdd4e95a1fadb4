"""``flask fernet inspect``: the description of a session cookie, and when it shows contents."""

from __future__ import annotations

import ast
import json
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fernet import Fernet, KeyRing
from flask_fernet.sessions.inspection import pasted
from tests.apps import RING_NAME, SECRET, signed_app, write
from tests.clock import Clock
from tests.commands import run, succeed
from tests.oracles import OracleFernet, derived_key


class TestInspect:
    def test_a_session_is_described_without_its_contents(self, app: Flask) -> None:
        token = write(app.test_client(), user="ada")
        shown = json.loads(succeed(app, "inspect", "--json", "-", input=token + "\n"))
        assert shown.pop("age") in (0, 1)
        assert shown["expires"] > shown["issued"]
        assert (shown["format"], shown["key"], shown["size"]) == ("fernet", "SECRET_KEY", 14)
        assert "size:      14 bytes" in succeed(app, "inspect", token)
        assert "ada" not in succeed(app, "inspect", token)
        assert "contents:  {'user': 'ada'}" in succeed(app, "inspect", "--show", token)

    def test_flasks_own_cookie_is_refused_unless_it_is_accepted(self, app: Flask) -> None:
        token = write(signed_app().test_client(), user="ada")
        result = run(app, "inspect", token)
        assert result.exit_code == 1
        assert "refused:   not accepted" in result.stdout
        app.config["SESSION_ENCRYPTION_ACCEPT"] = ["flask-signed"]
        shown = succeed(app, "inspect", "--show", token)
        assert "flask-signed" in shown
        assert "{'user': 'ada'}" in shown

    def test_the_key_that_made_a_cookie_is_named(self, app: Flask, tmp_path: Path) -> None:
        app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
        app.config["SESSION_ENCRYPTION_ACCEPT"] = ["secret-key"]
        succeed(app, "ring", "init")
        (key,) = KeyRing(tmp_path / "ring.json").load().keys
        assert f"key {key.id} of the ring" in succeed(app, "inspect", write(app.test_client(), a=1))
        old = OracleFernet(derived_key(SECRET.encode())).encrypt(b"{}").decode()
        assert "key:       SECRET_KEY" in succeed(app, "inspect", old)

    def test_nothing_is_told_of_a_token_of_others(self, app: Flask) -> None:
        stranger = OracleFernet(Fernet.generate_key()).encrypt_at_time(b"{}", 5).decode()
        for token, reason in [(stranger, "unauthentic"), ("x", "malformed"), ("a.b.c", "unauth")]:
            result = run(app, "inspect", "--show", token)
            assert result.exit_code == 1
            assert result.output.startswith(f"refused:   {reason}")
            assert "issued" not in result.output

    def test_an_expired_cookie_is_refused(self, app: Flask) -> None:
        key = derived_key(SECRET.encode())
        old = OracleFernet(key).encrypt_at_time(b'{"a":1}', int(time.time()) - 10**8).decode()
        result = run(app, "inspect", "--json", old)
        assert result.exit_code == 1
        assert json.loads(result.output)["refused"] == "expired"

    def test_a_cookie_beyond_the_absolute_lifetime_is_refused(
        self, app: Flask, clock: Clock
    ) -> None:
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 100
        token = write(app.test_client(), a=1)
        shown = json.loads(succeed(app, "inspect", "--show", "--json", token))
        assert shown["contents"] == {"a": 1}
        assert shown["created"] == shown["issued"]
        clock.now += 150
        late = run(app, "inspect", "--json", token)
        assert (late.exit_code, json.loads(late.stdout)["refused"]) == (1, "expired")

    def test_a_cookie_from_the_future_is_refused(self, app: Flask, clock: Clock) -> None:
        token = write(app.test_client(), a=1)
        clock.now -= 60
        assert "refused" not in succeed(app, "inspect", token)
        clock.now -= 1
        result = run(app, "inspect", "--json", token)
        assert (result.exit_code, json.loads(result.stdout)["refused"]) == (1, "from_future")

    @pytest.mark.parametrize("payload", [b"no json", b"[1]", b".broken"])
    def test_a_payload_that_no_session_is_in_is_refused(self, app: Flask, payload: bytes) -> None:
        token = OracleFernet(derived_key(SECRET.encode())).encrypt(payload).decode()
        result = run(app, "inspect", "--json", "--show", token)
        found = json.loads(result.stdout)
        assert (result.exit_code, found["refused"]) == (1, "undecodable")
        assert "contents" not in found


@pytest.mark.parametrize(
    "form",
    [
        "{}", "session={}", " session={}; Path=/; HttpOnly\n", "Cookie: a=b; session={}; c=d",
        "cookie:session={}", "Set-Cookie: session={}; Secure", "'session={}'", '"{}"', "`{}`",
        'session="{}"', "\"session\"=\"{}\"", "{}; HttpOnly", "session: {}", 'session:"{}"',
        "session\t{}\tlocalhost\t/\tSession", 'document.cookie = "session={}"',
        "curl -H 'Cookie: session={}' https://example.org", "curl -b session={} https://a.b",
    ],
)  # fmt: skip
def test_what_people_copy_holds_the_cookie(form: str) -> None:
    for token in ("gAAAAAB_-x==", ".eJw.Z.s-_"):
        assert pasted(form.format(token), "session") == [token]


def test_contents_are_tagged_json_and_the_id_of_a_key_stands_alone(
    app: Flask, ring: KeyRing
) -> None:
    app.config.update(SESSION_ENCRYPTION_KEYRING=RING_NAME)
    token = write(app.test_client(), a=[1])
    app.config.update(SESSION_ABSOLUTE_LIFETIME=1000)
    shown = json.loads(succeed(app, "inspect", "--show", "--json", f"session={token}; Path=/"))
    assert shown["contents"] == {"a": [1]}
    assert shown["key_id"] == ring.load().keys[0].id
    assert "key_id" not in succeed(app, "inspect", token)
    with app.test_client() as client, client.session_transaction() as session:
        session["when"] = (1, b"2")
    cookie = client.get_cookie("session")
    assert cookie is not None
    shown = json.loads(succeed(app, "inspect", "--show", "--json", cookie.value))
    assert shown["contents"] == {"when": {" t": [1, {" b": "Mg=="}]}}
    app.config.update(SESSION_ENCRYPTION_KEYRING=None)
    shown = json.loads(succeed(app, "inspect", "--json", write(app.test_client(), a=1)))
    assert (shown["key"], shown["key_id"]) == ("SECRET_KEY", None)


def test_contents_of_another_serializer_are_text(app: Flask) -> None:
    class Reprs:
        def dumps(self, value: Any) -> str:
            return repr(value)

        def loads(self, text: str) -> Any:
            return ast.literal_eval(text)

    app.session_interface.serializer = Reprs()  # type: ignore[attr-defined]
    token = write(app.test_client(), a=1)
    assert json.loads(succeed(app, "inspect", "--show", "--json", token))["contents"] == "{'a': 1}"


def test_json_holds_the_cookie_too() -> None:
    assert pasted('{"session": "gAAAAAB_-x=="}', "session") == ["gAAAAAB_-x=="]
    assert pasted("Cookie: session=a; session=b", "session") == ["a", "b"]


@pytest.mark.parametrize("text", ["", " ", "Cookie: other=gAAA", "other=gAAA", "{}", "''"])
def test_what_holds_no_cookie_is_an_error(app: Flask, text: str) -> None:
    assert pasted(text, "session") == []
    failed = run(app, "inspect", "-", input=text)
    assert failed.stderr == "Error: There is no cookie named 'session' in what was given.\n"


def test_the_first_cookie_that_opens_is_inspected(app: Flask) -> None:
    good = write(app.test_client(), a=1)
    shown = succeed(app, "inspect", "--show", "-", input=f"Cookie: session=gAAA; session={good}")
    assert "{'a': 1}" in shown
    app.config["PERMANENT_SESSION_LIFETIME"] = 10**12
    assert "9999-12-31T23:59:59Z" in succeed(app, "inspect", good)
