"""The key command: a program that prints the secret of a wrapped ring."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fernet import KeyRing, KeyRingError
from flask_fernet.keys.command import run_key_command
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.apps import (
    OTHER_SECRET,
    RING_NAME,
    SECRET,
    secret_ring_app,
    started_ring_app,
    works,
    write,
)
from tests.clock import until
from tests.commands import run, run_from, succeed
from tests.oracles import OracleFernet, OracleInvalidToken, read_wrapped_ring


class TestCommand:
    @pytest.fixture
    def printed(self, tmp_path: Path) -> Path:
        """The file whose contents the key command prints."""
        printed = tmp_path / "printed"
        printed.write_text(f"{SECRET}\n")
        return printed

    def command_app(self, tmp_path: Path, program: str, **config: Any) -> Flask:
        return secret_ring_app(
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
        app, command_line = self.command_app(tmp_path, program), self.command_app(tmp_path, program)
        succeed(command_line, "ring", "init")
        works(app)
        assert json.loads((tmp_path / RING_NAME).read_text())["wrapped"] == "command"
        # The new secret comes first. The former one stays until the ring is rewrapped.
        printed.write_text(f"{OTHER_SECRET}\n{SECRET}\n")
        succeed(command_line, "ring", "rotate", "--activate-in", "0")
        ring = json.loads((tmp_path / RING_NAME).read_text())["ring"]
        (_, new) = json.loads(read_wrapped_ring(OTHER_SECRET, ring))["keys"]

        def written_under_the_new_one() -> bool:
            try:
                OracleFernet(new["key"]).decrypt(write(app.test_client(), a=1))
            except OracleInvalidToken:
                return False
            return True

        until(written_under_the_new_one)
        assert "Keeping the keys" not in caplog.text

    def test_a_command_may_be_one_text(self, tmp_path: Path, printed: Path) -> None:
        app = self.command_app(tmp_path, "")
        app.config["SESSION_ENCRYPTION_KEYRING_COMMAND"] = f"cat '{printed}'"
        succeed(app, "ring", "init")
        works(app)

    @pytest.mark.parametrize(
        ("program", "says"),
        [
            ("import sys; print('the secret'); sys.exit('the secret')", "exit status 1"),
            ("pass", "printed nothing"),
            ("print('the secret')", "at least 16 bytes"),
            ("print('-----BEGIN the secret-----')", "begins with"),
            ("print('# created by the secret keeper')", "begins with"),
            ("print('the secret', flush=True); import time; time.sleep(60)", "longer than 0.3"),
        ],
    )
    def test_a_command_that_fails_is_an_error_without_its_output(
        self, tmp_path: Path, program: str, says: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_fernet.keys.wrapping.COMMAND_TIMEOUT", 0.3)
        failed = run(self.command_app(tmp_path, program), "ring", "init")
        assert failed.exit_code == 1
        assert says in failed.stderr
        assert "the secret" not in failed.output.replace("prints the secret", "")
        assert not (tmp_path / RING_NAME).exists()

    def test_a_command_that_is_missing_is_an_error(self, tmp_path: Path) -> None:
        app = self.command_app(tmp_path, "")
        app.config["SESSION_ENCRYPTION_KEYRING_COMMAND"] = "/nowhere/at-all"
        failed = run(app, "ring", "init")
        assert (failed.exit_code, "No such file" in failed.stderr) == (1, True)

    def test_nothing_that_it_prints_is_in_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import traceback

        monkeypatch.setattr("flask_fernet.keys.wrapping.COMMAND_TIMEOUT", 0.3)
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
        monkeypatch.setattr("flask_fernet.keys.wrapping.COMMAND_TIMEOUT", 0.5)
        child = tmp_path / "child"
        app = self.command_app(tmp_path, "")
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
        monkeypatch.setattr("flask_fernet.keys.wrapping.RETRY_COMMAND_TIMEOUT", 0.3)
        hang = tmp_path / "hang"
        program = (
            f"import os, time; print(open({str(printed)!r}).read());"
            f"os.path.exists({str(hang)!r}) and time.sleep(60)"
        )
        app, command_line = self.command_app(tmp_path, program), self.command_app(tmp_path, program)
        succeed(command_line, "ring", "init")
        works(app)
        printed.write_text(f"{OTHER_SECRET}\n{SECRET}\n")
        succeed(command_line, "ring", "rewrap")
        hang.touch()
        slow, slowest = 0, 0.0
        began = time.monotonic()
        while time.monotonic() < began + 5:
            before = time.monotonic()
            works(app)
            took = time.monotonic() - before
            slow += took > 0.25
            slowest = max(slowest, took)
            time.sleep(0.02)
        # The command is retried after about 1, 2 and 4 seconds, and not each time the app looks.
        assert 1 <= slow <= 3
        # A retry never takes as long as a starting worker may wait for the command.
        assert slowest < 2

    def test_a_ring_of_the_apps_own_data_may_use_a_command(
        self, tmp_path: Path, printed: Path
    ) -> None:
        app = self.command_app(tmp_path, f"print(open({str(printed)!r}).read())")
        path = str(tmp_path / "data.json")
        arguments = ("--purpose", "data", "--retention", "5", "--path", path)
        succeed(app, "ring", "init", "--wrapping", "command", *arguments)
        fernet = KeyRing(path, command=f"cat '{printed}'").fernet()
        assert fernet.decrypt(fernet.encrypt(b"data")) == b"data"

    def test_a_worker_goes_on_when_it_fails(
        self, tmp_path: Path, printed: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = self.command_app(tmp_path, f"print(open({str(printed)!r}).read())")
        succeed(app, "ring", "init")
        works(app)
        printed.unlink()
        path = tmp_path / RING_NAME
        KeyRing(tmp_path / "other.json", secrets=[OTHER_SECRET]).create(
            new_ring(SESSIONS, time.time())
        )
        other = (tmp_path / "other.json").read_text()
        path.write_text(other.replace("secret-key", "command"))

        def noted() -> bool:
            works(app)
            text = "Keeping the keys read last. The key command"
            return text in caplog.text and "failed with exit status" in caplog.text

        until(noted)
        works(app)


def test_a_command_that_prints_without_end_is_ended_in_time() -> None:
    began = time.monotonic()
    problem, secrets = run_key_command(("yes", "a secret of many bytes"), 5)
    assert (problem, secrets) == ("The key command 'yes' printed more than 65,536 bytes.", ())
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_a_command_that_must_not_be_killed_is_left_alone_in_time(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """It runs as another user, for example through sudo."""

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("os.killpg", refuse)
    began = time.monotonic()
    problem, secrets = run_key_command(("sleep", "3"), 0.3)
    assert (problem, secrets) == ("The key command 'sleep' took longer than 0.3 seconds.", ())
    assert time.monotonic() - began < 2


def test_a_command_that_closes_its_output_and_goes_on_is_ended() -> None:
    program = (
        "import os, time; print('a secret of many bytes', flush=True); os.close(1); time.sleep(60)"
    )
    problem, _ = run_key_command((sys.executable, "-c", program), 0.5)
    assert problem == f"The key command {sys.executable!r} took longer than 0.5 seconds."


def test_without_process_groups_the_command_itself_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows."""
    monkeypatch.setattr("flask_fernet.keys.command.sys.platform", "win32")
    monkeypatch.delattr("os.killpg")
    assert (
        run_key_command(("sleep", "60"), 0.2)[0]
        == "The key command 'sleep' took longer than 0.2 seconds."
    )


@pytest.mark.parametrize("arguments", [["doctor"], ["ring", "list"]])
def test_a_command_that_hangs_runs_once_for_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    runs = tmp_path / "runs"
    program = f"open({str(runs)!r}, 'a').write('x'); import time; time.sleep(60)"
    monkeypatch.setattr("flask_fernet.keys.wrapping.COMMAND_TIMEOUT", 0.5)
    ring = KeyRing(tmp_path / RING_NAME, secrets=[SECRET])
    ring.create(new_ring(SESSIONS, time.time()))
    text = (tmp_path / RING_NAME).read_text().replace("secret-key", "command")
    (tmp_path / RING_NAME).write_text(text)

    def create_app() -> Flask:
        return started_ring_app(
            tmp_path,
            SESSION_ENCRYPTION_KEYRING_WRAPPING="command",
            SESSION_ENCRYPTION_KEYRING_COMMAND=[sys.executable, "-c", program],
        )

    failed = run_from(create_app, *arguments)
    assert failed.exit_code == 1
    assert "took longer than 0.5 seconds" in failed.output
    assert runs.read_text() == "x"
