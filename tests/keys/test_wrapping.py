"""Key rings that are encrypted where they are kept."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fernet import ConfigurationError, KeyRing, KeyRingError
from flask_fernet._core import unwrap, wrap
from flask_fernet.keyring import SESSIONS, new_ring
from tests.apps import RING_NAME, SECRET, ring_app, works, write
from tests.clock import until
from tests.commands import run, states, succeed
from tests.oracles import OracleFernet, OracleInvalidToken, read_wrapped_ring

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/wrapped_rings.json").read_text())
OTHER = "another secret of more than sixteen bytes"


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors(vector: dict[str, str]) -> None:
    secret, document = vector["secret"].encode(), vector["document"].encode()
    assert unwrap(secret, vector["wrapped"]) == document
    assert unwrap(secret + b"!", vector["wrapped"]) is None
    made = wrap(secret, document)
    assert made != wrap(secret, document)
    assert read_wrapped_ring(vector["secret"], made) == document


class TestRing:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / RING_NAME
        KeyRing(path, secrets=[SECRET]).create(new_ring("data", time.time()))
        return path

    def test_the_file_alone_is_useless(self, path: Path) -> None:
        (key,) = KeyRing(path, secrets=[SECRET]).load().keys
        assert key.key not in path.read_text()
        assert key.id not in path.read_text()
        document = read_wrapped_ring(SECRET, json.loads(path.read_text())["ring"])
        assert json.loads(document)["keys"][0]["key"] == key.key
        for ring in (KeyRing(path, secrets=[OTHER]), KeyRing(path)):
            with pytest.raises(KeyRingError):
                ring.load()
            with pytest.raises(KeyRingError):
                ring.change(lambda ring: ring.rotated(time.time(), force=True))

    def test_a_plain_one_is_no_wrapped_one(self, path: Path, tmp_path: Path) -> None:
        """Whoever can write the file cannot put keys of their own into it."""
        plain = tmp_path / "plain.json"
        KeyRing(plain).create(new_ring("data", time.time()))
        path.write_bytes(plain.read_bytes())
        with pytest.raises(KeyRingError, match="kept as 'plain'"):
            KeyRing(path, secrets=[SECRET]).load()

    def test_the_secret_is_replaced(self, path: Path) -> None:
        before = KeyRing(path, secrets=[SECRET]).load()
        both = KeyRing(path, secrets=[OTHER, SECRET])
        assert both.load() == before
        after = both.change(lambda ring: ring.rotated(time.time(), activate_in=0))
        assert KeyRing(path, secrets=[OTHER.encode()]).load() == after
        with pytest.raises(KeyRingError, match="another secret-key"):
            KeyRing(path, secrets=[SECRET]).load()

    def test_data_is_kept_under_it(self, path: Path) -> None:
        fernet = KeyRing(path, secrets=[SECRET]).fernet()
        assert fernet.decrypt(fernet.encrypt(b"data")) == b"data"

    def test_every_changed_letter_is_seen(self, path: Path) -> None:
        whole = json.loads(path.read_text())
        for position in range(0, len(whole["ring"]), 7):
            letter = "A" if whole["ring"][position] != "A" else "B"
            ring = whole["ring"][:position] + letter + whole["ring"][position + 1 :]
            path.write_text(json.dumps({**whole, "ring": ring}))
            with pytest.raises(KeyRingError, match="does not open"):
                KeyRing(path, secrets=[SECRET]).load()

    @pytest.mark.parametrize(
        "envelope",
        [
            {"version": 2, "wrapped": "secret-key", "ring": ""},
            {"version": 1, "wrapped": "plain", "ring": ""},
            {"version": 1, "wrapped": ["secret-key"], "ring": ""},
            {"version": 1, "wrapped": "secret-key", "ring": None},
            {"version": 1, "wrapped": "secret-key"},
            {"version": 1, "wrapped": "secret-key", "ring": "\ud800"},
        ],
    )
    def test_odd_envelopes(self, path: Path, envelope: Any) -> None:
        path.write_text(json.dumps(envelope))
        with pytest.raises(KeyRingError, match="wrapped in a way"):
            KeyRing(path, secrets=[SECRET]).load()

    @pytest.mark.parametrize(
        "secrets", [SECRET, SECRET.encode(), [], [""], [5], ["\ud800" * 20], ["short"]]
    )
    def test_odd_secrets(self, path: Path, secrets: Any) -> None:
        with pytest.raises(ConfigurationError):
            KeyRing(path, secrets=secrets)


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return configured(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING="secret-key")


def configured(tmp_path: Path, **config: Any) -> Flask:
    return ring_app(tmp_path, **{"TESTING": True, "SECRET_KEY": SECRET, **config})


class TestApp:
    def test_a_life_under_the_secret_key(self, app: Flask, tmp_path: Path) -> None:
        path = tmp_path / RING_NAME
        succeed(app, "ring", "init")
        assert json.loads(path.read_text())["wrapped"] == "secret-key"
        works(app)
        succeed(app, "ring", "rotate", "--activate-in", "0")
        assert len(states(app)) == 2
        works(app)
        # A new secret, with the former one as a fallback: nobody is logged out.
        client = app.test_client()
        write(client, a=1)
        app.config.update(SECRET_KEY=OTHER, SECRET_KEY_FALLBACKS=[SECRET])
        assert client.get("/read").text == "{'a': 1}"
        succeed(app, "ring", "rewrap")
        app.config["SECRET_KEY_FALLBACKS"] = []
        assert client.get("/read").text == "{'a': 1}"
        app.config["SECRET_KEY"] = SECRET
        with pytest.raises(ConfigurationError, match="another secret-key") as raised:
            configured(tmp_path, **app.config).test_client().get("/read")
        assert "ring init" not in str(raised.value)

    def test_moving_an_app_to_a_wrapped_ring_and_back(self, tmp_path: Path) -> None:
        """By two deploys each way, with workers of both kinds at once."""
        plain = configured(tmp_path)
        succeed(plain, "ring", "init")
        both = configured(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING="secret-key,plain")
        wrapped = configured(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING=["secret-key"])
        client = plain.test_client()
        token = write(client, a=1)

        def reads(app: Flask) -> bool:
            client = app.test_client()
            client.set_cookie("session", token)
            return client.get("/read").text == "{'a': 1}"

        assert reads(plain)
        assert reads(both)
        with pytest.raises(ConfigurationError, match="kept as 'plain'"):
            reads(wrapped)
        succeed(both, "ring", "rewrap")
        for app in (plain, both, wrapped):
            # The first has what it read last.
            assert reads(app)
        with pytest.raises(ConfigurationError, match="kept as 'secret-key'"):
            reads(configured(tmp_path))
        back = configured(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING=["plain", "secret-key"])
        assert reads(back)
        succeed(back, "ring", "rewrap")
        assert reads(configured(tmp_path))

    def test_the_command_line_says_how(self, tmp_path: Path) -> None:
        app = configured(tmp_path)
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
        self, app: Flask, tmp_path: Path
    ) -> None:
        # By its path it is the app's ring all the same.
        succeed(app, "ring", "init", "--path", str(tmp_path / RING_NAME))
        works(app)
        refused = run(app, "ring", "rewrap", "--wrapping", "plain")
        assert (refused.exit_code, "does not open" in refused.stderr) == (1, True)
        works(configured(tmp_path, **app.config))
        # And one that it does not open is made such that it does.
        (tmp_path / RING_NAME).unlink()
        KeyRing(tmp_path / RING_NAME).create(new_ring(SESSIONS, time.time()))
        assert run(app, "ring", "list").exit_code == 1
        succeed(app, "ring", "rewrap")
        works(configured(tmp_path, **app.config))

    def test_doctor(self, tmp_path: Path) -> None:
        app = configured(tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING=["secret-key", "plain"])
        succeed(app, "ring", "init", "--wrapping", "plain")
        assert "still kept as 'plain'" in succeed(app, "doctor")
        succeed(app, "ring", "rewrap")
        assert "'plain' is still accepted" in succeed(app, "doctor")
        app.config["SESSION_ENCRYPTION_KEYRING_WRAPPING"] = "secret-key"
        assert "plain" not in succeed(app, "doctor").replace("plain HTTP", "")
        app.config.update(SECRET_KEY=OTHER, SECRET_KEY_FALLBACKS=[SECRET])
        assert "still under an older secret" in succeed(app, "doctor")
        app.config["SECRET_KEY_FALLBACKS"] = []
        failed = run(app, "doctor")
        assert (failed.exit_code, "another secret-key" in failed.stdout) == (1, True)

    @pytest.mark.parametrize(
        "config",
        [
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": "secret"},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": ""},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": 5},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": "secret-key", "SECRET_KEY": None},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": "command"},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": ""},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": "'unfinished"},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": [5]},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": 5},
            {"SESSION_ENCRYPTION_KEYRING_COMMAND": ["cat", "secret"]},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": "plain", "SESSION_ENCRYPTION_KEYRING": None},
            {"SESSION_ENCRYPTION_KEYRING": 5},
        ],
    )
    def test_odd_settings(self, tmp_path: Path, config: dict[str, Any]) -> None:
        KeyRing(tmp_path / RING_NAME).create(new_ring(SESSIONS, time.time()))
        with pytest.raises(ConfigurationError, match=r"KEYRING|SECRET_KEY") as raised:
            configured(tmp_path, **config).session_interface.init_app(  # type: ignore[attr-defined]
                configured(tmp_path, **config)
            )
        assert SECRET not in str(raised.value)

    def test_a_weak_secret_is_warned_about(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = configured(
            tmp_path, SESSION_ENCRYPTION_KEYRING_WRAPPING="secret-key", SECRET_KEY="short"
        )
        succeed(app, "ring", "init")
        works(app)
        assert "SECRET_KEY has fewer than 16 bytes" in caplog.text


class TestCommand:
    @pytest.fixture
    def printed(self, tmp_path: Path) -> Path:
        """What the key command prints."""
        printed = tmp_path / "printed"
        printed.write_text(f"{SECRET}\n")
        return printed

    def app(self, tmp_path: Path, program: str, **config: Any) -> Flask:
        return configured(
            tmp_path,
            SESSION_ENCRYPTION_KEYRING_WRAPPING="command",
            SESSION_ENCRYPTION_KEYRING_COMMAND=[sys.executable, "-c", program],
            SECRET_KEY=None,
            **config,
        )

    def test_its_secret_is_replaced_without_a_restart(
        self, tmp_path: Path, printed: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        program = f"print(open({str(printed)!r}).read())"
        app, command_line = self.app(tmp_path, program), self.app(tmp_path, program)
        succeed(command_line, "ring", "init")
        works(app)
        assert json.loads((tmp_path / RING_NAME).read_text())["wrapped"] == "command"
        # The new one comes first, the former one stays until the ring is rewrapped.
        printed.write_text(f"{OTHER}\n{SECRET}\n")
        succeed(command_line, "ring", "rotate", "--activate-in", "0")
        ring = json.loads((tmp_path / RING_NAME).read_text())["ring"]
        (_, new) = json.loads(read_wrapped_ring(OTHER, ring))["keys"]

        def written_under_the_new_one() -> bool:
            try:
                OracleFernet(new["key"]).decrypt(write(app.test_client(), a=1))
            except OracleInvalidToken:
                return False
            return True

        until(written_under_the_new_one)
        assert "Keeping the keys" not in caplog.text

    def test_one_text_with_its_arguments(self, tmp_path: Path, printed: Path) -> None:
        app = self.app(tmp_path, "")
        app.config["SESSION_ENCRYPTION_KEYRING_COMMAND"] = f"cat '{printed}'"
        succeed(app, "ring", "init")
        works(app)

    @pytest.mark.parametrize(
        ("program", "says"),
        [
            ("import sys; print('the secret'); sys.exit('the secret')", "exit status 1"),
            ("pass", "printed nothing"),
            ("print('the secret')", "fewer than 16 bytes"),
            ("print('-----BEGIN the secret-----')", "begins with"),
            ("print('# created by the secret keeper')", "begins with"),
            ("print('the secret', flush=True); import time; time.sleep(60)", "longer than 0.3"),
        ],
    )
    def test_what_goes_wrong(
        self, tmp_path: Path, program: str, says: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_fernet.ring_wrapping._PATIENCE", 0.3)
        failed = run(self.app(tmp_path, program), "ring", "init")
        assert failed.exit_code == 1
        assert says in failed.stderr
        assert "the secret" not in failed.output.replace("prints the secret", "")
        assert not (tmp_path / RING_NAME).exists()

    def test_it_is_missing(self, tmp_path: Path) -> None:
        app = self.app(tmp_path, "")
        app.config["SESSION_ENCRYPTION_KEYRING_COMMAND"] = "/nowhere/at-all"
        failed = run(app, "ring", "init")
        assert (failed.exit_code, "No such file" in failed.stderr) == (1, True)

    def test_nothing_that_it_prints_is_in_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import traceback

        monkeypatch.setattr("flask_fernet.ring_wrapping._PATIENCE", 0.3)
        path = tmp_path / "data.json"
        KeyRing(path, secrets=[SECRET]).create(new_ring("data", time.time()))
        path.write_text(path.read_text().replace("secret-key", "command"))
        for program in (
            "print('a' + 'bcde')",
            "print('a' + 'bcde', flush=True); import time; time.sleep(9)",
        ):
            with pytest.raises(KeyRingError) as raised:
                KeyRing(path, command=[sys.executable, "-c", program]).load()
            error: BaseException | None = raised.value
            while error is not None:
                shown = traceback.TracebackException.from_exception(error, capture_locals=True)
                assert "abcde" not in "".join(shown.format())
                error = error.__context__

    def test_all_that_it_started_is_ended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_fernet.ring_wrapping._PATIENCE", 0.5)
        child = tmp_path / "child"
        app = self.app(tmp_path, "")
        app.config["SESSION_ENCRYPTION_KEYRING_COMMAND"] = [
            "sh",
            "-c",
            f"sleep 60 & echo $! > '{child}'; wait",
        ]
        assert run(app, "ring", "init").exit_code == 1
        process = Path("/proc", child.read_text().strip(), "stat")
        until(lambda: not process.exists() or process.read_text().split()[2] == "Z")

    def test_one_that_hangs_does_not_stop_a_worker(
        self, tmp_path: Path, printed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_fernet.ring_wrapping._PATIENCE_IN_A_REQUEST", 0.3)
        hang = tmp_path / "hang"
        program = (
            f"import os, time; print(open({str(printed)!r}).read());"
            f"os.path.exists({str(hang)!r}) and time.sleep(60)"
        )
        app, command_line = self.app(tmp_path, program), self.app(tmp_path, program)
        succeed(command_line, "ring", "init")
        works(app)
        printed.write_text(f"{OTHER}\n")
        printed.write_text(f"{OTHER}\n{SECRET}\n")
        succeed(command_line, "ring", "rewrap")
        hang.touch()
        slow = 0
        began = time.monotonic()
        while time.monotonic() < began + 5:
            before = time.monotonic()
            works(app)
            slow += time.monotonic() - before > 0.25
            time.sleep(0.02)
        # At 1, 2 and 4 seconds or so, and not at each look.
        assert 1 <= slow <= 3

    def test_a_ring_of_the_apps_own_data(self, tmp_path: Path, printed: Path) -> None:
        app = self.app(tmp_path, f"print(open({str(printed)!r}).read())")
        path = str(tmp_path / "data.json")
        arguments = ("--purpose", "data", "--retention", "5", "--path", path)
        succeed(app, "ring", "init", "--wrapping", "command", *arguments)
        fernet = KeyRing(path, command=f"cat '{printed}'").fernet()
        assert fernet.decrypt(fernet.encrypt(b"data")) == b"data"

    def test_a_worker_goes_on_when_it_fails(
        self, tmp_path: Path, printed: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = self.app(tmp_path, f"print(open({str(printed)!r}).read())")
        succeed(app, "ring", "init")
        works(app)
        printed.unlink()
        path = tmp_path / RING_NAME
        KeyRing(tmp_path / "other.json", secrets=[OTHER]).create(new_ring(SESSIONS, time.time()))
        other = (tmp_path / "other.json").read_text()
        path.write_text(other.replace("secret-key", "command"))

        def noted() -> bool:
            works(app)
            return "Keeping the keys read last. The key command failed" in caplog.text

        until(noted)
        works(app)
