"""One frozen clock for both sides of a comparison."""

from __future__ import annotations

import pytest

from tests.clock import MID_SECOND, Clock


@pytest.fixture
def frozen(clock: Clock) -> None:
    """The same time for ``time.time`` and for Flask's ``datetime.now``."""
    clock.now = MID_SECOND
    clock.freeze_flask()
