"""``flask fernet``, with an app and as the entry point of Flask's command line."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet, KeyRing
from tests.apps import SECRET, add_views, signed_app, write
from tests.clock import Clock
from tests.commands import run, states, succeed
from tests.oracles import OracleFernet, derived_key


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = add_views(Flask(__name__, instance_path=str(tmp_path)))
    app.secret_key = SECRET
    app.session_interface = EncryptedSessionInterface()
    return app


def test_generate_key(app: Flask) -> None:
    first, second = (succeed(app, "generate-key").strip() for _ in range(2))
    assert first != second
    OracleFernet(first)


def test_the_life_of_a_ring(app: Flask, tmp_path: Path) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "session-keys.json"
    app.config["PERMANENT_SESSION_LIFETIME"] = 3600
    assert "replaced keys open for 3,600 seconds" in succeed(app, "ring", "init")
    again = run(app, "ring", "init")
    assert (again.exit_code, again.stderr) == (1, "Error: There is a key ring already.\n")
    assert states(app) == ["primary"]
    client = app.test_client()
    token = write(client, a=1)
    # As if it had been made a while ago.
    KeyRing(tmp_path / "session-keys.json").change(
        lambda ring: replace(ring, keys=(replace(ring.keys[0], activates=int(time.time()) - 100),))
    )
    succeed(app, "ring", "rotate", "--activate-in", "600")
    assert states(app) == ["primary", "staged"]
    refused = run(app, "ring", "rotate")
    assert refused.exit_code == 1
    assert "still staged" in refused.stderr
    succeed(app, "ring", "rotate", "--force", "--activate-in", "0")
    # What was staged comes right before the new key: for up to a second.
    time.sleep(1.1)
    assert states(app) == ["retired", "retired", "primary"]
    ring = KeyRing(tmp_path / "session-keys.json").load()
    needed = json.loads(succeed(app, "ring", "needed", "--json", input=f"{token}\n\nx\n"))
    assert needed == {key.id: int(key is ring.keys[0]) for key in ring.keys} | {"none of them": 1}
    succeed(app, "ring", "revoke", ring.keys[0].id)
    assert states(app) == ["revoked", "retired", "primary"]
    unknown = run(app, "ring", "revoke", "nothing")
    assert unknown.exit_code == 1
    assert "none of the keys in use" in unknown.stderr
    succeed(app, "ring", "prune")
    shown = succeed(app, "ring", "list")
    assert not any(key.key in shown for key in ring.keys)


@pytest.mark.parametrize("source", ["secret", "explicit"])
def test_taking_over_the_keys_in_use(app: Flask, tmp_path: Path, source: str) -> None:
    keys = [Fernet.generate_key(), Fernet.generate_key()]
    if source == "explicit":
        app.config["SESSION_ENCRYPTION_KEYS"] = keys
    else:
        app.config["SECRET_KEY_FALLBACKS"] = ["the secret of last year"]
        keys = [derived_key(SECRET.encode()), derived_key(b"the secret of last year")]
    path = tmp_path / "ring.json"
    succeed(app, "ring", "init", "--import", "--path", str(path))
    token = write(app.test_client(), a=1)
    moved = add_views(Flask("moved", instance_path=str(tmp_path)))
    moved.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    EncryptedSessionInterface(moved)
    client = moved.test_client()
    for cookie in (token, OracleFernet(keys[1]).encrypt(b'{"a":1}').decode()):
        client.set_cookie("session", cookie)
        assert client.get("/read").text == "{'a': 1}"
    # A worker that has not moved yet reads what one writes that has.
    behind = app.test_client()
    behind.set_cookie("session", write(moved.test_client(), a=2))
    assert behind.get("/read").text == "{'a': 2}"


FACTORY = """
from flask import Flask
from flask_fernet import EncryptedSessionInterface

def create_app():
    app = Flask("wsgi", instance_path={instance!r})
    app.config.update(SECRET_KEY="a secret of many bytes", PERMANENT_SESSION_LIFETIME=77)
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    EncryptedSessionInterface(app)
    return app
"""


@pytest.mark.parametrize("options", [[], ["--import"]], ids=["fresh", "import"])
def test_the_first_ring_of_an_app_that_checks_at_start(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "wsgi.py").write_text(FACTORY.format(instance=str(tmp_path)))

    def flask(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "fernet", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    before = flask("doctor", "--json")
    assert before.returncode == 1
    assert [check["verdict"] for check in json.loads(before.stdout)] == ["fail"]
    assert "ring init" in before.stdout
    made = flask("ring", "init", *options)
    assert made.returncode == 0, made.stderr
    assert "open for 77 seconds more" in made.stdout
    (key,) = KeyRing(tmp_path / "ring.json").load().keys
    assert (key.key == derived_key(b"a secret of many bytes").decode()) == bool(options)
    assert flask("doctor").returncode == 0


def test_programs_read_what_is_changed(app: Flask) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    (key,) = json.loads(succeed(app, "ring", "init", "--json"))["keys"]
    assert len(json.loads(succeed(app, "ring", "rotate", "--json"))["keys"]) == 2
    revoked = json.loads(succeed(app, "ring", "revoke", key["id"], "--json"))["keys"][0]
    assert revoked["revoked"] in succeed(app, "ring", "list")
    assert len(json.loads(succeed(app, "ring", "prune", "--json"))["keys"]) == 3


def test_which_keys_session_cookies_need(app: Flask, tmp_path: Path) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    (key,) = json.loads(succeed(app, "ring", "init", "--json"))["keys"]
    tokens = [write(app.test_client(), a=1)]
    app.config["SESSION_ENCRYPTION_FORMAT"] = "xaes-256-gcm"
    tokens += [write(app.test_client(), a=1), "garbage"]
    counts = json.loads(succeed(app, "ring", "needed", "--json", "-", input="\n".join(tokens)))
    assert counts == {key["id"]: 2, "none of them": 1}


def test_keys_that_are_none_are_not_taken_over(app: Flask, tmp_path: Path) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    app.config["SESSION_ENCRYPTION_ACCEPT"] = ["keyring"]
    for keys in (["no key at all, just a text"], [b"\xff\xfe"]):
        app.config["SESSION_ENCRYPTION_KEYS"] = keys
        result = run(app, "ring", "init", "--import")
        assert (result.exit_code, "is not a key" in result.stderr) == (1, True)
        assert "just a text" not in result.output
        assert not (tmp_path / "ring.json").exists()


def test_a_ring_that_may_not_be_read(app: Flask, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    succeed(app, "ring", "init")
    tmp_path.chmod(0o700)
    os.seteuid(65534)
    try:
        results = [
            run(app, *arguments)
            for arguments in (
                ["doctor"],
                ["ring", "list"],
                ["ring", "list", "--path", str(tmp_path / "ring.json")],
                ["ring", "init", "--path", str(tmp_path / "ring.json")],
            )
        ]
        with pytest.raises(ConfigurationError, match="Permission denied"):
            EncryptedSessionInterface(app)
    finally:
        os.seteuid(0)
    for result in results:
        assert result.exit_code == 1
        assert "Permission denied" in result.output
        assert isinstance(result.exception, SystemExit)


def test_the_keys_of_sessions_are_for_nothing_else(app: Flask, tmp_path: Path) -> None:
    path = str(tmp_path / "data.json")
    result = run(app, "ring", "init", "--purpose", "data", "--import", "--path", path)
    assert result.exit_code == 1
    assert not (tmp_path / "data.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [["init", "--retention", "9" * 30], ["rotate", "--activate-in", "9" * 30]],
    ids=["retention", "delay"],
)
def test_times_without_bounds(app: Flask, tmp_path: Path, arguments: list[str]) -> None:
    path = str(tmp_path / "ring.json")
    if arguments[0] == "rotate":
        succeed(app, "ring", "init", "--path", path)
    result = run(app, "ring", *arguments, "--path", path)
    assert result.exit_code == 1
    assert "seconds" in result.stderr


class TestInspect:
    def test_a_session(self, app: Flask) -> None:
        token = write(app.test_client(), user="ada")
        shown = json.loads(succeed(app, "inspect", "--json", "-", input=token + "\n"))
        assert shown.pop("age") in (0, 1)
        assert shown["expires"] > shown["issued"]
        assert (shown["format"], shown["key"], shown["size"]) == ("fernet", "SECRET_KEY", 14)
        assert "size:      14 bytes" in succeed(app, "inspect", token)
        assert "ada" not in succeed(app, "inspect", token)
        assert "contents:  {'user': 'ada'}" in succeed(app, "inspect", "--show", token)

    def test_flasks_own(self, app: Flask) -> None:
        token = write(signed_app().test_client(), user="ada")
        result = run(app, "inspect", token)
        assert result.exit_code == 1
        assert "refused:   not accepted" in result.stdout
        app.config["SESSION_ENCRYPTION_ACCEPT"] = ["flask-signed"]
        shown = succeed(app, "inspect", "--show", token)
        assert "flask-signed" in shown
        assert "{'user': 'ada'}" in shown

    def test_which_key(self, app: Flask, tmp_path: Path) -> None:
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

    def test_an_expired_one(self, app: Flask) -> None:
        key = derived_key(SECRET.encode())
        old = OracleFernet(key).encrypt_at_time(b'{"a":1}', int(time.time()) - 10**8).decode()
        result = run(app, "inspect", "--json", old)
        assert result.exit_code == 1
        assert json.loads(result.output)["refused"] == "expired"

    def test_the_absolute_lifetime(self, app: Flask, clock: Clock) -> None:
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 100
        token = write(app.test_client(), a=1)
        shown = json.loads(succeed(app, "inspect", "--show", "--json", token))
        assert shown["contents"] == "{'a': 1}"
        assert shown["created"] == shown["issued"]
        clock.now += 150
        late = run(app, "inspect", "--json", token)
        assert (late.exit_code, json.loads(late.stdout)["refused"]) == (1, "expired")

    def test_bytes_that_are_no_text(self, app: Flask) -> None:
        result = run(app, "inspect", "-", input=b"\xff\xfe")
        assert (result.exit_code, result.output) == (1, "refused:   malformed\n")


class TestDoctor:
    def verdicts(self, app: Flask, *arguments: str) -> tuple[int, dict[str, str]]:
        result = run(app, "doctor", "--json", *arguments)
        return result.exit_code, {
            check["name"]: check["verdict"] for check in json.loads(result.stdout)
        }

    def test_all_is_well(self, app: Flask) -> None:
        app.config.update(SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax")
        app.secret_key = secrets.token_urlsafe(32)
        code, verdicts = self.verdicts(app, "--strict")
        assert code == 0
        assert set(verdicts.values()) == {"ok"}

    @pytest.mark.parametrize(
        ("config", "name", "verdict"),
        [
            ({"SECRET_KEY": "dev"}, "SECRET_KEY", "fail"),
            ({"SECRET_KEY": None}, "keys", "fail"),
            ({"SECRET_KEY": "a" * 40}, "SECRET_KEY", "warn"),
            ({"SECRET_KEY": "qzvkxw82" * 4}, "SECRET_KEY", "warn"),
            ({"SECRET_KEY": "Change-me-before-2031"}, "SECRET_KEY", "warn"),
            ({"SESSION_ENCRYPTION_KEYS": ["x"]}, "configuration", "fail"),
            ({"SESSION_ENCRYPTION_FORMAT": "flask-signed"}, "SESSION_ENCRYPTION_FORMAT", "warn"),
            ({"SESSION_ENCRYPTION_ACCEPT": "flask-signed"}, "SESSION_ENCRYPTION_ACCEPT", "warn"),
            ({}, "SESSION_COOKIE_SECURE", "warn"),
            ({"SESSION_COOKIE_HTTPONLY": False}, "SESSION_COOKIE_HTTPONLY", "warn"),
            ({}, "SESSION_COOKIE_SAMESITE", "warn"),
        ],
    )
    def test_findings(self, app: Flask, config: dict[str, Any], name: str, verdict: str) -> None:
        app.config.update(config)
        code, verdicts = self.verdicts(app)
        assert verdicts[name] == verdict
        assert code == (verdict == "fail")
        assert self.verdicts(app, "--strict")[0] == 1

    def test_a_ring(self, app: Flask, tmp_path: Path) -> None:
        app.config.update(SESSION_ENCRYPTION_KEYRING="ring.json")
        succeed(app, "ring", "init", "--retention", "5")
        result = run(app, "doctor")
        assert "mode 0600" in result.stdout
        assert "less than PERMANENT_SESSION_LIFETIME" in result.stdout
        assert result.exit_code == 1
        (key,) = KeyRing(tmp_path / "ring.json").load().keys
        assert f"the oldest key that opens, {key.id}, is 0 days old" in result.stdout
        tmp_path.chmod(0o777)
        assert "everybody may replace it" in run(app, "doctor").stdout
        tmp_path.chmod(0o1777)
        assert "everybody may replace it" not in run(app, "doctor").stdout
        (tmp_path / "ring.json").chmod(0o644)
        assert "open to everybody" in run(app, "doctor").stdout

    def test_another_interface(self, app: Flask) -> None:
        app.session_interface = SecureCookieSessionInterface()
        assert self.verdicts(app) == (1, {"session_interface": "fail"})


def test_the_entry_point(tmp_path: Path) -> None:
    """Nothing to import in the app."""
    (tmp_path / "wsgi.py").write_text("from flask import Flask\napp = Flask('wsgi')\n")
    arguments = [sys.executable, "-m", "flask", "--app", "wsgi", "fernet", "generate-key"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    OracleFernet(done.stdout.strip())
