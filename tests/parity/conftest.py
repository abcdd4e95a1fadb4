"""The frozen clock that both sides of a comparison share."""

from __future__ import annotations

import pytest

from tests.clock import MID_SECOND, Clock


@pytest.fixture
def frozen(clock: Clock) -> None:
    """Freezes ``time.time`` and Flask's ``datetime.now`` with one clock."""
    clock.now = MID_SECOND
    clock.freeze_flask()
