"""Runs ``flask fernet`` on an app, as Flask's own command line does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo
from flask.testing import FlaskCliRunner

from flask_fernet.cli import fernet as command


def run(app: Flask, *arguments: str, **options: Any) -> Any:
    """Runs a command and returns its result, which has its exit code and its output."""
    return FlaskCliRunner(app).invoke(command, list(arguments), **options)


def succeed(app: Flask, *arguments: str, **options: Any) -> str:
    """Runs a command, asserts that it exits with 0, and returns its output."""
    result = run(app, *arguments, **options)
    assert result.exit_code == 0, result.output
    output: str = result.stdout
    return output


def states(app: Flask) -> list[str]:
    """Returns the current states of the keys of the app's ring, the oldest key first."""
    listed = json.loads(succeed(app, "ring", "list", "--json"))
    return [key["state"] for key in listed["keys"]]


def run_from(load: Callable[[], Flask] | None, *arguments: str, **options: Any) -> Any:
    """Runs a command with the app that a factory returns. The factory may fail.

    :param load: the factory; ``None`` looks for an app in the current folder.
    """
    info = ScriptInfo(create_app=None if load is None else lambda *_: load())
    return CliRunner().invoke(command, list(arguments), obj=info, **options)
