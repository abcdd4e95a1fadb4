"""The search through the output of all tests finds what it must find."""

from __future__ import annotations

from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer

from flask_fernet import Fernet
from flask_fernet._core import SessionKeys
from tests.apps import SECRET
from tests.leaks import secrets_in
from tests.strategies import FLASK_LOGIN

pytest_plugins = ["pytester"]


def test_each_kind_of_secret_is_found() -> None:
    key = Fernet.generate_key()
    for name in ("fernet", "xaes-256-gcm"):
        token = SessionKeys([("key", key)], "salt", name).seal(b"{}" * 20, 1_790_000_000, "session")
        assert secrets_in(f"cookie: session={token}; Path=/")
    signed = URLSafeTimedSerializer("secret").dumps({"email": "ada@example.org" * 10})
    for secret in (key.decode(), f"'{key.decode()}'", str(signed), SECRET, repr(FLASK_LOGIN)):
        assert secrets_in(f"before {secret} after"), secret


def test_what_may_be_shown_is_not_found() -> None:
    handle = Fernet.generate_key().decode().rstrip("=")
    assert secrets_in(f"the handle {handle}, the key id 6b7bbb5d, status=200") is None
    assert secrets_in("Refused a session cookie: expired (12 so far).") is None


def test_a_run_fails_whose_log_shows_a_secret(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    hooks = "pytest_runtest_logreport, pytest_sessionfinish"
    pytester.makeconftest(f"from tests.conftest import {hooks}")
    pytester.makepyfile(f"""
        import logging

        def test_passes():
            logging.getLogger("flask_fernet").warning({SECRET!r})
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["Something secret was printed or logged:*", "*test_passes*"])
