"""A pytest plugin that makes our interface the default of every Flask app in another suite."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import ImmutableDict

from flask_fernet import EncryptedSessionInterface

#: These counts show the caller that the suite used our interface.
counts = {"passed": 0, "failed": 0, "skipped": 0, "deselected": 0, "opened": 0, "saved": 0}


class Counting(EncryptedSessionInterface):
    def open_session(self, *arguments: Any) -> Any:
        counts["opened"] += 1
        return super().open_session(*arguments)

    def save_session(self, *arguments: Any) -> None:
        counts["saved"] += 1
        super().save_session(*arguments)


Flask.session_interface = Counting()
if os.environ.get("PARITY_STORE"):
    # Every app gets a store of its own. Flask renews a permanent session at each request.
    stored = {"SESSION_STORE": os.environ["PARITY_STORE"], "SESSION_REFRESH_AFTER": 0}
    Flask.default_config = ImmutableDict({**Flask.default_config, **stored})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests that the caller lists. Each of them has to exist."""
    left_out = set(json.loads(os.environ["PARITY_LEFT_OUT"]))
    chosen = [item for item in items if item.nodeid not in left_out]
    missing = left_out - {item.nodeid for item in items}
    if missing:
        raise pytest.UsageError(f"listed, but not in the suite: {sorted(missing)}")
    counts["deselected"] = len(items) - len(chosen)
    items[:] = chosen


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        counts[report.outcome] += 1


def pytest_sessionfinish() -> None:
    Path(os.environ["PARITY_COUNTS"]).write_text(json.dumps(counts))
