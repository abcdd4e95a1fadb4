"""``flask fernet inspect`` as a command: what it reads, prints and exits with."""

from __future__ import annotations

from flask import Flask

from tests.commands import run


def test_bytes_that_are_not_text_are_malformed(app: Flask) -> None:
    result = run(app, "inspect", "-", input=b"\xff\xfe")
    assert (result.exit_code, result.output) == (1, "refused:   malformed\n")
