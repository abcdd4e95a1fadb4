"""``flask fernet ring``: the life of a ring from its creation to its pruning."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet, KeyRing
from flask_fernet.keys.wrapping import WrappedStore
from tests.apps import SECRET, add_views, write
from tests.commands import run, run_from, states, succeed
from tests.oracles import OracleFernet, derived_key


def test_a_ring_is_made_rotated_revoked_and_pruned(app: Flask, tmp_path: Path) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "session-keys.json"
    app.config["PERMANENT_SESSION_LIFETIME"] = 3600
    assert "Replaced keys open for 3,600 seconds" in succeed(app, "ring", "init")
    again = run(app, "ring", "init")
    place = tmp_path / "session-keys.json"
    assert (again.exit_code, again.stderr) == (
        1,
        f"Error: There is a key ring at {place} already.\n",
    )
    assert states(app) == ["primary"]
    client = app.test_client()
    token = write(client, a=1)
    # The first key is backdated, as if the ring had been created a while ago.
    KeyRing(tmp_path / "session-keys.json").change(
        lambda ring: replace(ring, keys=(replace(ring.keys[0], activates=int(time.time()) - 100),))
    )
    succeed(app, "ring", "rotate", "--activate-in", "600")
    assert states(app) == ["primary", "staged"]
    refused = run(app, "ring", "rotate")
    assert refused.exit_code == 1
    assert "still staged" in refused.stderr
    succeed(app, "ring", "rotate", "--force", "--activate-in", "0")
    # The key that was staged stays primary for up to a second before the new key replaces it.
    time.sleep(1.1)
    assert states(app) == ["retired", "retired", "primary"]
    ring = KeyRing(tmp_path / "session-keys.json").load()
    needed = json.loads(succeed(app, "ring", "needed", "--json", input=f"{token}\n\nx\n"))
    counts = {key.id: int(key is ring.keys[0]) for key in ring.keys}
    assert needed == {"keys": counts, "none": 1}
    succeed(app, "ring", "revoke", ring.keys[0].id)
    assert states(app) == ["revoked", "retired", "primary"]
    unknown = run(app, "ring", "revoke", "nothing")
    assert unknown.exit_code == 1
    assert "keys in use: " in unknown.stderr
    succeed(app, "ring", "prune")
    shown = succeed(app, "ring", "list")
    assert not any(key.key in shown for key in ring.keys)


@pytest.mark.parametrize("source", ["secret", "explicit"])
def test_the_keys_in_use_can_be_taken_over(app: Flask, tmp_path: Path, source: str) -> None:
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
    # A worker that has not moved yet reads the sessions of one that has.
    behind = app.test_client()
    behind.set_cookie("session", write(moved.test_client(), a=2))
    assert behind.get("/read").text == "{'a': 2}"


def test_needed_counts_the_keys_that_session_cookies_need(app: Flask, tmp_path: Path) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    (key,) = json.loads(succeed(app, "ring", "init", "--json"))["keys"]
    tokens = [write(app.test_client(), a=1)]
    app.config["SESSION_ENCRYPTION_FORMAT"] = "xaes-256-gcm"
    tokens += [write(app.test_client(), a=1), "garbage"]
    counts = json.loads(succeed(app, "ring", "needed", "--json", "-", input="\n".join(tokens)))
    assert counts == {"keys": {key["id"]: 2}, "none": 1}


def test_what_is_not_a_key_is_not_taken_over(app: Flask, tmp_path: Path) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    app.config["SESSION_ENCRYPTION_ACCEPT"] = ["keyring"]
    for keys in (["no key at all, just a text"], [b"\xff\xfe"]):
        app.config["SESSION_ENCRYPTION_KEYS"] = keys
        result = run(app, "ring", "init", "--import")
        assert (result.exit_code, "is not a key" in result.stderr) == (1, True)
        assert "just a text" not in result.output
        assert not (tmp_path / "ring.json").exists()


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
def test_times_without_bounds_are_refused(app: Flask, tmp_path: Path, arguments: list[str]) -> None:
    path = str(tmp_path / "ring.json")
    if arguments[0] == "rotate":
        succeed(app, "ring", "init", "--path", path)
    result = run(app, "ring", *arguments, "--path", path)
    assert result.exit_code == 1
    assert "seconds" in result.stderr


def test_without_keys_there_is_nothing_to_take_over(app: Flask, tmp_path: Path) -> None:
    app.secret_key = None
    path = tmp_path / "ring.json"
    result = run(app, "ring", "init", "--import", "--path", str(path))
    assert (result.exit_code, "no keys to take over" in result.stderr) == (1, True)
    assert not path.exists()


def test_rewrapping_stops_when_somebody_else_changes_the_ring(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    succeed(app, "ring", "init")
    before = (tmp_path / "ring.json").read_bytes()
    monkeypatch.setattr(WrappedStore, "rewrap", lambda _: False)
    result = run(app, "ring", "rewrap")
    assert (result.exit_code, "Try again" in result.stderr) == (1, True)
    assert (tmp_path / "ring.json").read_bytes() == before


def test_needed_counts_the_keys_of_data_without_an_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = run_from(None, "ring", "init", "--purpose", "data", "--path", "ring.json")
    assert (made.exit_code, "retention is 2,678,400 seconds" in made.stderr) == (0, True)
    (key,) = KeyRing("ring.json").load().keys
    tokens = [Fernet(key.key).encrypt(b"data").decode(), "garbage", "é"]
    counted = run_from(None, "ring", "needed", "--path", "ring.json", input="\n".join(tokens))
    assert counted.exit_code == 0
    lines = [line.split() for line in counted.stdout.splitlines()]
    assert lines == [["KEY", "TOKENS"], [key.id, "1"], ["none", "of", "them", "2"]]


def test_quiet_commands_print_errors_alone(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    for command in ("init", "rotate --activate-in 0", "prune", "rewrap", "reinstate"):
        done = run(app, "ring", *command.split(), "--quiet", "--path", str(path))
        assert (done.exit_code, done.output) == (0, "")
    key_id = KeyRing(path).load().keys[0].id
    done = run(app, "ring", "revoke", key_id, "--quiet", "--path", str(path))
    assert (done.exit_code, done.output) == (0, "")
    failed = run(app, "ring", "init", "--quiet", "--path", str(path))
    assert failed.exit_code == 1
    assert failed.stderr == f"Error: There is a key ring at {path} already.\n"


def test_a_ring_is_made_beside_an_app_that_fails_to_load(tmp_path: Path) -> None:
    def create_app() -> Flask:
        raise LookupError("the database is away")

    path = str(tmp_path / "ring.json")
    made = run_from(create_app, "ring", "init", "--path", path)
    assert made.exit_code == 0
    assert "without the app, which cannot be loaded: LookupError\n" in made.stderr
    assert run_from(create_app, "ring", "list", "--path", path).exit_code == 0
    # The app's own ring cannot be found without the app.
    assert isinstance(run_from(create_app, "ring", "list").exception, LookupError)


def test_a_damaged_ring_is_named_by_its_path(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    path.write_text("{")
    path.chmod(0o600)
    failed = run(app, "ring", "list", "--path", str(path))
    assert failed.stderr == f"Error: The key ring at {path} is not valid JSON.\n"


def test_the_folder_of_a_new_ring_is_made(app: Flask, tmp_path: Path) -> None:
    succeed(app, "ring", "init", "--path", str(tmp_path / "new" / "ring.json"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    failed = run(app, "ring", "init", "--path", str(tmp_path / "far" / "away" / "ring.json"))
    assert (failed.exit_code, "Make its folder first" in failed.stderr) == (1, True)


@pytest.mark.parametrize("lifetime", ["a day", None, float("nan")])
def test_a_lifetime_that_is_none_is_an_error_without_a_traceback(
    app: Flask, tmp_path: Path, lifetime: object
) -> None:
    app.config["PERMANENT_SESSION_LIFETIME"] = lifetime
    failed = run(app, "ring", "init", "--path", str(tmp_path / "ring.json"))
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Error: PERMANENT_SESSION_LIFETIME must be")
    assert "PERMANENT_SESSION_LIFETIME must be" in run(app, "doctor").stdout


def test_why_an_app_cannot_be_loaded_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ends.py").write_text("raise SystemExit('DATABASE_URL is not set')")
    for number, name in enumerate(("ends", "missing_module")):
        path = f"ring{number}.json"
        command = [sys.executable, "-m", "flask", "--app", name, "fernet", "ring", "init"]
        made = subprocess.run(
            [*command, "--path", path], capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        assert "The command goes on without the app" in made.stderr


@pytest.mark.parametrize("error", [ConfigurationError("A_SETTING is wrong."), SystemExit("no")])
def test_a_ring_is_made_without_an_app_that_ends(tmp_path: Path, error: BaseException) -> None:
    def create_app() -> Flask:
        raise error

    made = run_from(create_app, "ring", "init", "--path", str(tmp_path / "ring.json"))
    assert made.exit_code == 0
    assert "without the app" in made.stderr
