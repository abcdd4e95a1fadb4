"""The performance regression guard, which compares instructions per call with a baseline."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from benches import instructions


def unavailable(reason: str) -> None:
    """Skips the guard on a contributor's machine. In continuous integration it fails, because
    nobody would notice a skip.
    """
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_no_case_takes_more_instructions_than_before() -> None:
    """An intended increase needs `make instructions-baseline` in the same commit."""
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
