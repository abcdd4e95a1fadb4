"""The ring that a command works on, its wrapping, and apps that have no ring yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flask import Flask

from flask_fernet import ConfigurationError, EncryptedSessionInterface, KeyRing
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.apps import RING_NAME, SECRET, secret_ring_app, started_ring_app, works
from tests.commands import run, run_from, succeed
from tests.oracles import derived_key

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
def test_an_app_that_checks_at_start_can_make_its_first_ring(
    tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "wsgi.py").write_text(FACTORY.format(instance=str(tmp_path)))

    def flask(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "fernet", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    before = flask("doctor", "--json")
    assert before.returncode == 1
    assert [check["verdict"] for check in json.loads(before.stdout)["checks"]] == ["fail"]
    assert "ring init" in before.stdout
    made = flask("ring", "init", *options)
    assert made.returncode == 0, made.stderr
    assert "open for 77 seconds more" in made.stdout
    (key,) = KeyRing(tmp_path / "ring.json").load().keys
    assert (key.key == derived_key(b"a secret of many bytes").decode()) == bool(options)
    assert flask("doctor").returncode == 0


def test_a_ring_that_may_not_be_read_is_an_error_in_one_line(app: Flask, tmp_path: Path) -> None:
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


@pytest.fixture
def wrapped_app(tmp_path: Path) -> Flask:
    return secret_ring_app(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING="secret-key")


def test_an_option_says_how_a_ring_is_kept(tmp_path: Path) -> None:
    app = secret_ring_app(tmp_path)
    path = str(tmp_path / "data.json")
    arguments = ("--purpose", "data", "--retention", "5", "--path", path)
    succeed(app, "ring", "init", "--wrapping", "secret-key", *arguments)
    succeed(app, "ring", "rotate", "--path", path)
    assert len(KeyRing(path, secrets=[SECRET]).load().keys) == 2
    succeed(app, "ring", "rewrap", "--path", path, "--wrapping", "plain")
    assert len(KeyRing(path).load().keys) == 2
    succeed(app, "ring", "rewrap", "--path", path, "--wrapping", "secret-key")
    assert "staged" in succeed(app, "ring", "list", "--path", path)
    refused = run(app, "ring", "rewrap", "--path", path, "--wrapping", "command")
    assert (refused.exit_code, "KEYRING_COMMAND" in refused.stderr) == (1, True)


def test_the_command_line_leaves_no_ring_that_the_app_does_not_open(
    wrapped_app: Flask, tmp_path: Path
) -> None:
    app = wrapped_app
    # A ring that is given by its path is still recognised as the app's ring.
    succeed(app, "ring", "init", "--path", str(tmp_path / RING_NAME))
    works(app)
    refused = run(app, "ring", "rewrap", "--wrapping", "plain")
    assert (refused.exit_code, "does not open" in refused.stderr) == (1, True)
    works(secret_ring_app(tmp_path, **app.config))
    # Rewrapping makes a ring that the app cannot open one that it can.
    (tmp_path / RING_NAME).unlink()
    KeyRing(tmp_path / RING_NAME).create(new_ring(SESSIONS, time.time()))
    assert run(app, "ring", "list").exit_code == 1
    succeed(app, "ring", "rewrap")
    works(secret_ring_app(tmp_path, **app.config))


def test_without_an_app_a_file_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = run_from(None, "ring", "init")
    assert nothing.exit_code != 0
    assert "Could not locate a Flask application" in nothing.stderr
    made = run_from(None, "ring", "init", "--path", "ring.json")
    assert (made.exit_code, "no --retention is given" in made.stderr) == (0, True)
    assert run_from(None, "ring", "list", "--path", "ring.json").exit_code == 0


def test_a_wrapped_ring_needs_the_app(
    wrapped_app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed(wrapped_app, "ring", "init")
    monkeypatch.chdir(tmp_path)
    refused = run_from(None, "ring", "list", "--path", RING_NAME)
    assert (refused.exit_code, "Only the app knows the secret" in refused.stderr) == (1, True)


def test_an_app_without_a_ring_needs_a_path(tmp_path: Path) -> None:
    app = secret_ring_app(tmp_path, SESSION_ENCRYPTION_KEYRING=None)
    refused = run(app, "ring", "list")
    assert (refused.exit_code, "give a --path" in refused.stderr) == (1, True)


def test_an_app_that_checks_at_start_is_loaded_without_its_ring(tmp_path: Path) -> None:
    """An app loads without its ring in this process too, where coverage counts the lines."""

    def create_app() -> Flask:
        return started_ring_app(tmp_path, SECRET_KEY=SECRET)

    early = run_from(create_app, "doctor")
    assert (early.exit_code, "cannot be read" in early.stdout) == (1, True)
    assert run_from(create_app, "ring", "init", "--import").exit_code == 0
    assert run_from(create_app, "doctor").exit_code == 0
    (key,) = KeyRing(tmp_path / RING_NAME).load().keys
    assert key.key == derived_key(SECRET.encode()).decode()


def test_an_app_that_does_not_start_is_one_failed_check() -> None:
    def create_app() -> Flask:
        raise ConfigurationError("SOME_SETTING cannot be used.")

    result = run_from(create_app, "doctor", "--json")
    assert result.exit_code == 1
    (check,) = json.loads(result.stdout)["checks"]
    assert check == {
        "verdict": "fail",
        "name": "configuration",
        "message": "SOME_SETTING cannot be used.",
        "key_id": None,
    }
