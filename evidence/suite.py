"""Running tests of this repository as a part of the evidence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def passed(
    *tests: str, before: Sequence[str] = (), python: str = sys.executable, **environment: str
) -> int:
    """Runs tests, with ``CI`` set, so that none is skipped. Returns how many passed.

    :param tests: files or folders, and options of pytest.
    :param before: a command that runs Python.
    :param python: the Python, with the packages of the tests.
    :param environment: further variables.
    :raises SystemExit: with the output, if a test fails or is skipped, or AddressSanitizer reports
        something.
    """
    done = subprocess.run(
        [*before, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "CI": "true", **environment},
    )  # fmt: skip
    summary = (done.stdout.strip().splitlines() or [""])[-1]
    print(summary, flush=True)
    if done.returncode or "AddressSanitizer" in done.stderr or "skipped" in summary:
        raise SystemExit(done.stdout + done.stderr)
    return int(re.findall(r"(\d+) passed", summary)[0])


def control(*, before: Sequence[str] = (), **environment: str) -> str:
    """Runs :mod:`evidence.control`. Returns what was written to the standard error.

    :param before: a command that runs Python.
    :param environment: further variables.
    """
    command = [*before, sys.executable, "-m", "evidence.control"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    ).stderr  # fmt: skip
