"""``flask fernet`` as an entry point of Flask's command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
from flask import Flask

from tests.commands import run, succeed
from tests.oracles import OracleFernet


def test_generate_key_prints_a_new_key(app: Flask) -> None:
    first, second = (succeed(app, "generate-key").strip() for _ in range(2))
    assert first != second
    OracleFernet(first)


def test_the_command_needs_no_import_in_the_app(tmp_path: Path) -> None:
    """Flask finds the command through its entry point, so the app need not import it."""
    (tmp_path / "wsgi.py").write_text("from flask import Flask\napp = Flask('wsgi')\n")
    arguments = [sys.executable, "-m", "flask", "--app", "wsgi", "fernet", "generate-key"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    OracleFernet(done.stdout.strip())


def test_help_is_in_whole_sentences(app: Flask) -> None:
    from flask_fernet.cli import fernet

    context = click.Context(fernet)
    pending: list[click.Command | None] = [fernet]
    seen = []
    while pending:
        command = pending.pop()
        assert command is not None
        if isinstance(command, click.Group):
            names = command.list_commands(context)
            pending += [command.get_command(context, name) for name in names]
        seen.append(command.name)
        assert (command.help or "").rstrip().endswith(".")
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert (parameter.help or "").endswith("."), (command.name, parameter.name)
                assert not parameter.show_default
    assert {"doctor", "inspect", "generate-key", "rotate", "reinstate"} <= set(seen)


def test_an_unknown_command_is_an_error(app: Flask) -> None:
    assert "No such command 'unknown'" in run(app, "unknown").stderr


HELP = """
import sys
from flask.cli import cli
try:
    cli(["--help"], standalone_mode=False)
finally:
    print(sorted(name for name in sys.modules if name.startswith("flask_fernet.cli")))
"""


def test_no_command_is_imported_before_it_is_used() -> None:
    """Flask loads this group for every command of every app."""
    command = [sys.executable, "-c", HELP]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "fernet" in done.stdout
    assert done.stdout.endswith("['flask_fernet.cli']\n")
