"""``flask fernet`` as an entry point of Flask's command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flask import Flask

from tests.commands import succeed
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
