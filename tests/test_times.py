"""Times in the text form that documents use."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_fernet._core import MAX_CLOCK_SKEW
from flask_fernet.times import from_text, to_text

#: Times until the end of the year 9999, the last year that has four digits.
seconds = st.integers(0, 253_402_300_799)


@given(time=seconds)
def test_a_time_survives_its_text(time: int) -> None:
    text = to_text(time)
    assert from_text(text) == time
    assert datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() == time


def test_a_text_is_utc_in_iso_8601() -> None:
    assert to_text(1_790_000_000) == "2026-09-21T14:13:20Z"


@pytest.mark.parametrize(
    "text", ["", "2026-09-21", "2026-09-21T14:13:20", "2026-09-21T14:13:20+02:00", "1790000000"]
)
def test_another_form_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="time data"):
        from_text(text)


def test_a_zone_of_the_machine_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert datetime.now(timezone.utc).astimezone().tzname() == "JST"
        assert from_text("1970-01-01T00:00:00Z") == 0
        assert to_text(0) == "1970-01-01T00:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_clocks_may_differ_by_a_minute() -> None:
    assert MAX_CLOCK_SKEW == 60
