"""``flask fernet doctor``: the checks of an app's configuration for production."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from flask_fernet import EncryptedSessionInterface, Fernet, KeyRing
from tests.apps import OTHER_SECRET, SECRET, secret_ring_app
from tests.clock import Clock
from tests.commands import run, succeed

#: A random text. One that is drawn may happen to have a word in it.
GOOD_SECRET = "qzvkxw82mhrtbnjlpdfgsyceaiou3579"


class TestDoctor:
    def verdicts(self, app: Flask, *arguments: str) -> tuple[int, dict[str, str]]:
        result = run(app, "doctor", "--json", *arguments)
        return result.exit_code, {
            check["name"]: check["verdict"] for check in json.loads(result.stdout)["checks"]
        }

    def test_a_well_configured_app_passes(self, app: Flask) -> None:
        app.config.update(SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax")
        app.secret_key = GOOD_SECRET
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
            ({"SESSION_COOKIE_NAME": "__Host-s"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_NAME": "__host-s", "SESSION_COOKIE_SECURE": True,
              "SESSION_COOKIE_DOMAIN": "example.com"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_NAME": "__Host-s", "SESSION_COOKIE_SECURE": True,
              "APPLICATION_ROOT": "/app"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_NAME": "__Secure-s"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_SAMESITE": "none"}, "SESSION_COOKIE_SAMESITE", "fail"),
            ({"SESSION_COOKIE_PARTITIONED": True}, "SESSION_COOKIE_PARTITIONED", "fail"),
            ({"SESSION_COOKIE_SAMESITE": "lose"}, "SESSION_COOKIE_SAMESITE", "fail"),
            ({"SESSION_COOKIE_SAMESITE": 1}, "SESSION_COOKIE_SAMESITE", "fail"),
            ({"SESSION_COOKIE_NAME": "a b"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_NAME": "a;b"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_NAME": ""}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_DOMAIN": 5}, "SESSION_COOKIE_NAME", "fail"),
            ({"MAX_COOKIE_SIZE": "4093"}, "MAX_COOKIE_SIZE", "fail"),
            ({"MAX_COOKIE_SIZE": float("nan")}, "MAX_COOKIE_SIZE", "fail"),
            ({"MAX_COOKIE_SIZE": True}, "MAX_COOKIE_SIZE", "fail"),
            ({"SESSION_COOKIE_NAME": "schl\u00fcssel"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_NAME": "\u65e5"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_NAME": "a\nb"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_NAME": 5}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_DOMAIN": "a.org\nb"}, "SESSION_COOKIE_NAME", "fail"),
            ({"SESSION_COOKIE_DOMAIN": "https://a.org"}, "SESSION_COOKIE_DOMAIN", "fail"),
            ({"SESSION_COOKIE_PATH": "app"}, "SESSION_COOKIE_PATH", "fail"),
            ({"SESSION_COOKIE_SECURE": "False"}, "SESSION_COOKIE_SECURE", "fail"),
            ({"PERMANENT_SESSION_LIFETIME": 10**12}, "PERMANENT_SESSION_LIFETIME", "fail"),
            ({"PERMANENT_SESSION_LIFETIME": -1}, "PERMANENT_SESSION_LIFETIME", "fail"),
            ({"PERMANENT_SESSION_LIFETIME": 0}, "PERMANENT_SESSION_LIFETIME", "fail"),
            ({"SESSION_ENCRYPTION_KEYRING": "a\0b"}, "configuration", "fail"),
            ({"SESSION_ENCRYPTION_ACCEPT": ["secret-key"]}, "SESSION_ENCRYPTION_ACCEPT", "warn"),
            ({"SESSION_ENCRYPTION_ACCEPT": ["fernet"]}, "SESSION_ENCRYPTION_ACCEPT", "warn"),
            ({"MAX_COOKIE_SIZE": -1}, "MAX_COOKIE_SIZE", "fail"),
            ({"MAX_COOKIE_SIZE": 100}, "MAX_COOKIE_SIZE", "fail"),
            ({"PERMANENT_SESSION_LIFETIME": "1 day"}, "configuration", "fail"),
            ({"SESSION_ENCRYPTON_KEYS": []}, "SESSION_ENCRYPTON_KEYS", "fail"),
            ({"SESSION_OVERFLOV": "warn"}, "SESSION_OVERFLOV", "fail"),
            ({"SESION_COMPRESSION": "always"}, "SESION_COMPRESSION", "fail"),
            ({"SECRET_KEY_FALLBACKS": [SECRET]}, "keys", "warn"),
        ],
    )  # fmt: skip
    def test_each_finding_has_its_verdict(
        self, app: Flask, config: dict[str, Any], name: str, verdict: str
    ) -> None:
        app.config.update(config)
        code, verdicts = self.verdicts(app)
        assert verdicts[name] == verdict
        assert code == (verdict == "fail")
        assert self.verdicts(app, "--strict")[0] == 1

    def test_a_ring_is_examined_with_its_file(self, app: Flask, tmp_path: Path) -> None:
        app.config.update(SESSION_ENCRYPTION_KEYRING="ring.json")
        succeed(app, "ring", "init", "--retention", "5")
        result = run(app, "doctor")
        assert "mode 0600" in result.stdout
        assert "less than PERMANENT_SESSION_LIFETIME" in result.stdout
        assert result.exit_code == 1
        (key,) = KeyRing(tmp_path / "ring.json").load().keys
        assert f"the oldest key that opens, {key.id}, is 0 days old" in result.stdout
        tmp_path.chmod(0o777)
        assert "everybody may replace the file" in run(app, "doctor").stdout
        tmp_path.chmod(0o1777)
        assert "everybody may replace the file" not in run(app, "doctor").stdout
        (tmp_path / "ring.json").chmod(0o644)
        assert "open to everybody" in run(app, "doctor").stdout

    def test_a_good_cookie_of_each_kind_passes(self, app: Flask) -> None:
        app.secret_key = GOOD_SECRET
        app.config.update(SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="None")
        for name in ("session", "__Host-session", "__Secure-session", "a.b"):
            app.config.update(SESSION_COOKIE_NAME=name, SESSION_COOKIE_PARTITIONED=True)
            assert self.verdicts(app, "--strict")[0] == 0, name
        app.config.update(SESSION_TYPE="redis", SESSION_PERMANENT=True, MAX_COOKIE_SIZE=0)
        assert self.verdicts(app, "--strict")[0] == 0

    def test_it_says_what_is_in_force(self, app: Flask) -> None:
        app.config.update(
            SESSION_ENCRYPTION_KEYS=[Fernet.generate_key(), Fernet.generate_key()],
            SESSION_ENCRYPTION_ACCEPT=["secret-key", "flask-signed"],
            SESSION_ABSOLUTE_LIFETIME=86400,
            SESSION_REFRESH_AFTER=0.1,
            SESSION_COMPRESSION="always",
        )
        in_force = json.loads(succeed(app, "doctor", "--json"))["in_force"]
        assert in_force == {
            "written_under": {"name": "SESSION_ENCRYPTION_KEYS[0]", "key_id": None},
            "also_opens": [
                {"name": "SESSION_ENCRYPTION_KEYS[1]", "key_id": None},
                {"name": "SECRET_KEY", "key_id": None},
                {"name": "SECRET_KEY", "key_id": None},
            ],
            "format": "fernet",
            "accepted": ["secret-key", "flask-signed"],
            "cookie": {
                "name": "session", "domain": None, "path": "/", "secure": False,
                "partitioned": False, "samesite": None, "httponly": True,
            },
            "cookie_limit": 4093,
            "overflow": "error",
            "idle_lifetime": 31 * 86400.0,
            "absolute_lifetime": 86400,
            "refreshes": True,
            "refreshed_from": 31 * 8640.0,
            "compression": "always",
            "store": None,
            "ring": None,
        }  # fmt: skip
        shown = " ".join(succeed(app, "doctor").split())
        assert "also opens SESSION_ENCRYPTION_KEYS[1], SECRET_KEY format fernet" in shown
        assert "when changed, or permanent and 3 days, 2:24:00 old" in shown
        assert "4093 bytes, then error" in shown
        app.config["SESSION_REFRESH_EACH_REQUEST"] = False
        app.config.update(SESSION_ENCRYPTION_FORMAT="flask-signed", MAX_COOKIE_SIZE=0)
        app.config.update(SESSION_ENCRYPTION_ACCEPT=["fernet"])
        shown = succeed(app, "doctor")
        assert "written under      SECRET_KEY" in shown
        assert "refreshed          when changed\n" in shown
        assert "cookie limit       none" in shown

    def test_the_state_of_a_ring_is_in_force(self, app: Flask) -> None:
        app.config.update(SESSION_ENCRYPTION_KEYRING="ring.json")
        made = json.loads(succeed(app, "ring", "init", "--json"))
        in_force = json.loads(succeed(app, "doctor", "--json"))["in_force"]
        assert in_force["ring"] == {"serial": made["serial"], "states": {"primary": 1}}
        assert in_force["written_under"]["key_id"] == made["keys"][0]["id"]
        assert f"serial {made['serial']}; 1 primary" in run(app, "doctor").stdout

    def test_no_key_names_the_sources(self, app: Flask) -> None:
        app.secret_key = None
        shown = run(app, "doctor").stdout
        for source in ("SECRET_KEY", "SESSION_ENCRYPTION_KEYS", "SESSION_ENCRYPTION_KEYRING"):
            assert source in shown
        assert "no key" in shown

    def test_a_made_up_secret_is_never_called_good(self, app: Flask) -> None:
        for secret in ("dev", "change-me-before-production"):
            app.secret_key = secret
            assert "long enough" not in run(app, "doctor").stdout
        app.secret_key = GOOD_SECRET
        assert "long enough" in run(app, "doctor").stdout

    def test_the_first_step_of_a_move_is_not_undone(self, app: Flask) -> None:
        app.config.update(
            SESSION_ENCRYPTION_FORMAT="flask-signed", SESSION_ENCRYPTION_ACCEPT=["fernet"]
        )
        shown = succeed(app, "doctor")
        assert "'fernet' opens everywhere: the next deploy may write it" in shown
        assert "remove it" not in shown
        app.config.update(
            SESSION_ENCRYPTION_FORMAT="fernet",
            SESSION_ENCRYPTION_KEYS=[Fernet.generate_key()],
            SESSION_ENCRYPTION_ACCEPT=["keys"],
        )
        shown = succeed(app, "doctor")
        assert "In the first step of a move, let it be written" in shown

    def test_hooks_decide_on_the_cookie(self, app: Flask) -> None:
        class Own(EncryptedSessionInterface):
            def get_cookie_secure(self, app: Flask) -> bool:
                return True

        app.session_interface = Own()
        app.config.update(SESSION_COOKIE_NAME="__Host-s")
        assert self.verdicts(app)[1].get("SESSION_COOKIE_NAME") is None

    def test_settings_that_work_as_in_flask_pass(self, app: Flask) -> None:
        app.secret_key = GOOD_SECRET
        for limit in (None, "", 0, False, 4093.0):
            app.config["MAX_COOKIE_SIZE"] = limit
            assert self.verdicts(app)[0] == 0, limit
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 1e300
        assert "1e+300 seconds" in succeed(app, "doctor")

    def test_a_hook_that_needs_a_request_is_left_alone(self, app: Flask) -> None:
        class Own(EncryptedSessionInterface):
            def get_cookie_domain(self, app: Flask) -> str | None:
                raise RuntimeError("Working outside of request context.")

        Own(app)
        shown = succeed(app, "doctor")
        assert "a hook of the cookie needs a request: the cookie was not checked" in shown
        assert "decided at each request" in shown

    def test_a_setting_of_flasks_that_is_gone_is_a_finding(self, app: Flask) -> None:
        for name in ("SESSION_COOKIE_SAMESITE", "SESSION_REFRESH_EACH_REQUEST", "MAX_COOKIE_SIZE"):
            value = app.config.pop(name)
            assert self.verdicts(app)[1][name] == "fail"
            app.config[name] = value

    def test_no_step_of_a_move_between_formats_is_undone(self, app: Flask) -> None:
        for accepted in ("xaes-256-gcm", "flask-signed"):
            app.config["SESSION_ENCRYPTION_ACCEPT"] = [accepted]
            assert "In the first step of a move" in succeed(app, "doctor")
        app.config["SESSION_ENCRYPTION_ACCEPT"] = ["fernet", "fernet"]
        assert succeed(app, "doctor").count("is what is written") == 1

    def test_an_app_with_another_interface_fails(self, app: Flask) -> None:
        app.session_interface = SecureCookieSessionInterface()
        assert self.verdicts(app) == (1, {"session_interface": "fail"})


def test_the_wrapping_of_a_ring_is_examined(tmp_path: Path) -> None:
    app = secret_ring_app(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING=["secret-key", "plain"])
    succeed(app, "ring", "init", "--wrapping", "plain")
    assert "still stored as 'plain'" in succeed(app, "doctor")
    succeed(app, "ring", "rewrap")
    assert "'plain' is still accepted" in succeed(app, "doctor")
    app.config["SESSION_ENCRYPTION_KEYRING_WRAPPING"] = "secret-key"
    assert "plain" not in succeed(app, "doctor").replace("plain HTTP", "")
    app.config.update(SECRET_KEY=OTHER_SECRET, SECRET_KEY_FALLBACKS=[SECRET])
    assert "still under an older secret" in succeed(app, "doctor")
    app.config["SECRET_KEY_FALLBACKS"] = []
    failed = run(app, "doctor")
    assert (failed.exit_code, "another secret-key" in failed.stdout) == (1, True)


def test_a_source_that_is_set_and_not_used_fails(app: Flask) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    succeed(app, "ring", "init")
    app.config["SESSION_ENCRYPTION_KEYS"] = [Fernet.generate_key()]
    result = run(app, "doctor")
    assert (result.exit_code, "'keyring' is set but unused" in result.stdout) == (1, True)


def test_a_secret_that_no_key_depends_on_is_only_warned_of(app: Flask) -> None:
    app.config.update(SESSION_ENCRYPTION_KEYS=[Fernet.generate_key()], SECRET_KEY=5)
    shown = json.loads(succeed(app, "doctor", "--json"))["checks"]
    checks = {check["name"]: check for check in shown}
    assert checks["SECRET_KEY"]["verdict"] == "warn"


def test_a_clock_years_behind_fails(app: Flask, clock: Clock) -> None:
    clock.now = 1_000_000_000
    result = run(app, "doctor")
    assert (result.exit_code, "is years behind" in result.stdout) == (1, True)


def test_a_clock_behind_that_of_the_ring_fails(app: Flask, clock: Clock) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    succeed(app, "ring", "init")
    clock.now -= 60
    assert "behind the clock that made" not in succeed(app, "doctor")
    clock.now -= 1
    result = run(app, "doctor")
    assert (result.exit_code, "behind the clock that made" in result.stdout) == (1, True)


def test_keys_that_have_expired_and_a_primary_of_a_year_are_warned_of(
    app: Flask, clock: Clock
) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    succeed(app, "ring", "init")
    clock.now += 100
    succeed(app, "ring", "rotate", "--activate-in", "0")
    clock.now += 366 * 24 * 3600
    shown = succeed(app, "doctor")
    assert "expired keys: 1; 'flask fernet ring prune' removes them" in shown
    assert any(line.startswith("warn") and "is 366 days old" in line for line in shown.splitlines())
    succeed(app, "ring", "prune")
    assert "expired" not in succeed(app, "doctor")


def test_a_ring_that_is_gone_since_the_start_is_a_finding(app: Flask, tmp_path: Path) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    succeed(app, "ring", "init")
    succeed(app, "doctor")
    (tmp_path / "ring.json").unlink()
    result = run(app, "doctor")
    assert (result.exit_code, "cannot be read" in result.stdout) == (1, True)
