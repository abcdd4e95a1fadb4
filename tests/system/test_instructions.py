"""The regression guard of performance: instructions a call, held to a committed baseline."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from benches import instructions


def unavailable(reason: str) -> None:
    """Leaves the guard out on a contributor's machine. In continuous integration, where nobody
    would notice, it fails.
    """
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_no_case_takes_more_instructions_than_before() -> None:
    """A growth that is meant comes with a new baseline, `make instructions-baseline`, in the same
    commit."""
    if shutil.which("valgrind") is None:
        unavailable("valgrind is not installed")
    baseline = json.loads(instructions.BASELINE.read_text())
    if baseline["versions"] != instructions.versions():
        unavailable(f"the baseline is of {baseline['versions']}")
    counted = instructions.count()
    assert counted.keys() == baseline["instructions"].keys()
    assert min(counted.values()) > 100
    grown = {
        name: f"{count:,} instructions, {baseline['instructions'][name]:,} before"
        for name, count in counted.items()
        if count > baseline["instructions"][name] * (1 + instructions.TOLERANCE)
    }
    assert grown == {}
