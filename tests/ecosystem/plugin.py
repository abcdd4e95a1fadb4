"""A pytest plugin that makes our interface the default of every Flask app in another suite.

``ECOSYSTEM_SIDE=flask`` leaves Flask as it is. ``ECOSYSTEM_RESULTS`` names the file for the
results. Our interface is counted from outside: a subclass or an attribute could put it on the
fallback.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.ctx import RequestContext
from flask.json.provider import DefaultJSONProvider

from flask_fernet import EncryptedSession, EncryptedSessionInterface

counts = {"requests": 0, "cookies": 0}
outcomes: dict[str, str] = {}

if os.environ["ECOSYSTEM_SIDE"] == "ours":
    Flask.session_interface = EncryptedSessionInterface()

if os.environ.get("ECOSYSTEM_NO_DEBUG"):
    # In debug mode sessions take the Python fallback, which is tested elsewhere.
    Flask.debug = property(  # type: ignore[assignment]
        lambda self: self.config["DEBUG"], lambda self, value: None
    )
    # As in debug mode.
    DefaultJSONProvider.compact = False

_push = RequestContext.push
_process_response = Flask.process_response


def _counting_push(self: RequestContext) -> None:
    _push(self)
    counts["requests"] += isinstance(self.session, EncryptedSession)


def _counting_process_response(self: Flask, response: Any) -> Any:
    response = _process_response(self, response)
    prefix = f"{self.config['SESSION_COOKIE_NAME']}="
    counts["cookies"] += any(
        value.startswith(prefix) for value in response.headers.getlist("Set-Cookie")
    )
    return response


RequestContext.push = _counting_push  # type: ignore[method-assign]
Flask.process_response = _counting_process_response  # type: ignore[method-assign]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes the outcome of each test."""
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.outcome == "skipped" else "xpassed"
    elif report.when != "call" and outcome == "failed":
        outcome = "error"
    if report.when == "call" or outcome != "passed":
        outcomes[report.nodeid] = outcome


def pytest_sessionfinish() -> None:
    """Writes the results."""
    found = {"counts": counts, "outcomes": outcomes}
    Path(os.environ["ECOSYSTEM_RESULTS"]).write_text(json.dumps(found))
