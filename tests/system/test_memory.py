"""Resident memory does not grow over many calls."""

from __future__ import annotations

import pytest

from benches.memory import resident
from tests.system.cycles import CYCLES

CALLS = 30_000
#: If each call leaked the smallest object, memory would grow by more than this.
ALLOWED = CALLS * 16


@pytest.mark.parametrize("name", CYCLES)
def test_memory_does_not_grow(name: str) -> None:
    call = CYCLES[name]()
    for _ in range(2000):
        call()
    before = resident()
    for _ in range(CALLS):
        call()
    assert resident() - before < ALLOWED
