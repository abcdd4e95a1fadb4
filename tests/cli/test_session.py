"""``flask fernet inspect`` as a command: its input, its output and its exit code."""

from __future__ import annotations

from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from tests.apps import write
from tests.commands import run, succeed


def test_bytes_that_are_not_text_are_malformed(app: Flask) -> None:
    result = run(app, "inspect", "-", input=b"\xff\xfe")
    assert (result.exit_code, result.output) == (1, "refused:   malformed\n")


def test_an_app_with_another_interface_has_no_cookies_to_inspect(app: Flask) -> None:
    app.session_interface = SecureCookieSessionInterface()
    result = run(app, "inspect", "x")
    assert (result.exit_code, "EncryptedSessionInterface" in result.stderr) == (1, True)
    assert isinstance(result.exception, SystemExit)


def test_a_cookie_is_read_from_an_argument_or_from_standard_input(app: Flask) -> None:
    token = write(app.test_client(), a=1)
    argument = succeed(app, "inspect", "--show", token)
    assert "contents:  {'a': 1}" in argument
    assert succeed(app, "inspect", "--show", "-", input=f" {token}\n") == argument
