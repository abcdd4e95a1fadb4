"""Runs the suites of extensions with Flask's sessions and with ours, and compares test by test:
``python -m tests.ecosystem FOLDER PYTHON [NAME…]``.

FOLDER keeps what is fetched. PYTHON is an interpreter with this package and
``requirements/ecosystem.txt``. With names, only these suites are run, and no page is written.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sources import fetch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "compatibility.md"


@dataclass(frozen=True)
class Suite:
    """The tests of an extension."""

    name: str
    #: Its source distribution, unpacked.
    folder: str
    #: The fewest requests that must have gone through a session of ours: fewer prove nothing.
    requests: int
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    #: What part of the suite is run, if it is not all of it.
    part: str = ""

    @property
    def version(self) -> str:
        return self.folder.rpartition("-")[2]


SUITES = [
    Suite(
        "Flask-Admin", "flask_admin-2.2.1", 500,
        ["--ignore=flask_admin/tests/fileadmin", "--ignore=flask_admin/tests/geoa",
         "--ignore=flask_admin/tests/mongoengine", "--ignore=flask_admin/tests/pymongo",
         "--ignore=flask_admin/tests/sqla/test_postgres.py",
         # Of WTForms, whichever sessions there are.
         "-W", "ignore::DeprecationWarning", "flask_admin/tests"],
        part="without MongoDB, PostGIS and cloud storage",
    ),
    Suite("Flask-Dance", "flask_dance-7.1.0", 200, ["tests"],
          {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}),
    Suite("Flask-HTTPAuth", "flask_httpauth-4.8.1", 100, ["tests"]),
    Suite("Flask-JWT-Extended", "flask_jwt_extended-4.7.4", 1, ["tests"]),
    Suite("Flask-Multipass", "flask_multipass-0.11.2", 1,
          ["-o", "addopts=", "--ignore=tests/providers/ldap", "tests"], part="without LDAP"),
    Suite("Flask-pyoidc", "Flask-pyoidc-3.14.3", 40,
          ["--import-mode=importlib", "-p", "pyoidc_util", "tests"]),
    Suite(
        "Flask-Security", "flask_security-5.9.2", 300,
        ["-o", "addopts=--strict-markers", "-p", "security_cookies",
         *(HERE / "security_tests.txt").read_text().splitlines()],
        {"ECOSYSTEM_NO_DEBUG": "1"},
        part="those that read the session cookie",
    ),
    Suite("Flask-SocketIO", "flask_socketio-5.7.0", 100, ["test_socketio.py"]),
]  # fmt: skip


def run(suite: Suite, side: str, folder: Path, python: str) -> tuple[dict[str, Any], float]:
    """The results of a suite with one side's sessions, and how long it took in seconds."""
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "ECOSYSTEM_SIDE": side,
        "ECOSYSTEM_RESULTS": str(results),
        **suite.environment,
    }
    for name, value in suite.environment.items():
        if not value:
            environment.pop(name)
    environment.pop("PYTEST_ADDOPTS", None)
    command = [python, "-m", "pytest", "-q", "-p", "plugin", "-p", "no:cacheprovider",
               "--rootdir", ".", *suite.arguments]  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=folder / suite.folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if not results.exists():
        sys.exit(f"{suite.name} did not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return json.loads(results.read_text()), time.monotonic() - began


def compared(suite: Suite, folder: Path, python: str) -> tuple[str, list[str]]:
    """A row of the page, and what is wrong."""
    theirs, _ = run(suite, "flask", folder, python)
    ours, seconds = run(suite, "ours", folder, python)
    wrong = [
        f"{suite.name}: {test} is {ours['outcomes'].get(test)}, with Flask's sessions {outcome}"
        for test, outcome in theirs["outcomes"].items()
        if ours["outcomes"].get(test) != outcome
    ]
    counted = Counter(ours["outcomes"].values())
    counts = ours["counts"]
    wrong += [f"{suite.name}: {test} is {outcome}" for test, outcome in ours["outcomes"].items()
              if outcome in ("failed", "error")]  # fmt: skip
    if counts["requests"] < suite.requests:
        wrong.append(f"{suite.name}: only {counts['requests']} requests went through our sessions")
    others = ", ".join(f"{count} {name}" for name, count in sorted(counted.items())
                       if name != "passed")  # fmt: skip
    result = f"{counted['passed']} passed{', ' + others if others else ''}"
    print(f"{suite.name} {suite.version}: {result}, {counts['requests']} requests, "
          f"{seconds:.0f} s, {len(wrong)} differ", flush=True)  # fmt: skip
    name = f"{suite.name}, {suite.part}" if suite.part else suite.name
    row = f"| {name} | {suite.version} | {result} | {counts['requests']} | {counts['cookies']} |"
    return row, wrong


def written(text: str, rows: list[str]) -> str:
    """The page with these rows."""
    table = [
        "| suite | version | result, with both | requests | cookies |",
        "|---|---|---|---|---|",
    ]
    return re.sub(
        r"(<!-- ecosystem: written by `make test-ecosystem` -->\n).*?(<!-- ecosystem: end -->)",
        lambda found: "\n".join([found.group(1), *table, *rows, "", found.group(2)]),
        text,
        flags=re.DOTALL,
    )


def main(folder: Path, python: str, names: list[str]) -> Iterator[str]:
    """Runs the suites. Yields what is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    # Suites without a configuration of their own must not find that of this project.
    (folder / "pytest.ini").write_text("[pytest]\n")
    fetch(folder, HERE / "sources.txt", [suite.folder for suite in SUITES], python)
    rows = []
    for suite in SUITES:
        if not names or suite.name in names:
            row, wrong = compared(suite, folder, python)
            rows.append(row)
            yield from wrong
    if not names:
        PAGE.write_text(written(PAGE.read_text(), rows))


if __name__ == "__main__":
    # Its interpreter may be a link, which must not be followed out of its environment.
    found = list(main(Path(sys.argv[1]).resolve(), str(Path(sys.argv[2]).absolute()), sys.argv[3:]))
    if found:
        sys.exit("\n".join(found))
