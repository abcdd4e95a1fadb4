"""Runs the test suites of Flask, Flask-Login and Flask-WTF with encrypted sessions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.sources import fetch

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "peers"
BEFORE_311 = int(sys.version_info < (3, 11))


@dataclass(frozen=True)
class Suite:
    """A test suite and the results that it must have."""

    archive: str
    #: If fewer tests than this pass, something was not run.
    at_least: int
    #: The tests that cannot pass, each with the reason.
    left_out: dict[str, str] = field(default_factory=dict)
    #: The number of tests that the suite itself skips.
    skipped: int = 0
    options: tuple[str, ...] = ()


SUITES = {
    "flask": Suite(
        "flask-3.1.3",
        489 - BEFORE_311,
        {
            # Since Werkzeug 3.1.9 this test fails with Flask's own interface too.
            "tests/test_reqctx.py::test_bad_environ_raises_bad_request": (
                "Werkzeug 3.1.9 no longer raises for the header that this test makes"
            )
        },
        # One test needs `tomllib`, which is new in Python 3.11.
        skipped=BEFORE_311,
    ),
    # Its warnings filter turns the deprecations of newer Flask versions into errors.
    "flask-login": Suite("Flask-Login-0.6.3", 114, options=("-W", "default")),
    "flask-wtf": Suite("flask_wtf-1.3.0", 85),
}


@pytest.fixture(scope="session")
def sources() -> Path:
    """The unpacked source distributions, fetched once and checked against their hashes."""
    listed = ROOT / "tests" / "parity" / "sources.txt"
    fetch(CACHE, listed, [suite.archive for suite in SUITES.values()], sys.executable)
    return CACHE


@pytest.mark.parametrize("store", ["", "memory://"], ids=["cookies", "stored"])
@pytest.mark.parametrize("name", SUITES)
def test_the_suite_of_a_peer_passes_with_encrypted_sessions(
    name: str, store: str, sources: Path, tmp_path: Path
) -> None:
    suite = SUITES[name]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PARITY_LEFT_OUT": json.dumps(list(suite.left_out)),
        "PARITY_STORE": store,
        "PARITY_COUNTS": str(tmp_path / "counts.json"),
    }
    environment.pop("PYTEST_ADDOPTS", None)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.parity.plugin",
         "-p", "no:cacheprovider",
         "--basetemp", str(tmp_path / "base"), *suite.options, "tests"],
        cwd=sources / suite.archive,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts["passed"] >= suite.at_least
    assert counts["failed"] == 0
    assert counts["deselected"] == len(suite.left_out)
    assert counts["skipped"] == suite.skipped
    assert counts["opened"] > 50
    assert counts["saved"] > 40
