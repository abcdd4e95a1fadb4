"""The limit on how often the same problem is logged."""

from __future__ import annotations

from flask_fernet import log
from tests.clock import Clock


def test_a_line_is_allowed_once_an_interval(clock: Clock) -> None:
    clock.freeze_monotonic()
    limit = log.RateLimit()
    assert [limit.allows("reason") for _ in range(3)] == [True, False, False]
    clock.monotonic += log.INTERVAL - 1
    assert not limit.allows("reason")
    clock.monotonic += 1
    assert [limit.allows("reason") for _ in range(2)] == [True, False]


def test_one_thing_does_not_silence_another(clock: Clock) -> None:
    clock.freeze_monotonic()
    limit = log.RateLimit()
    assert [limit.allows(key) for key in ("one", "two", "one", "two")] == [True, True, False, False]
    assert log.RateLimit().allows("one")


def test_a_line_is_allowed_right_after_the_machine_has_started(clock: Clock) -> None:
    """A line is allowed even if the monotonic clock reads less than one interval."""
    clock.freeze_monotonic()
    clock.monotonic = 0.0
    assert log.RateLimit().allows("reason")


def test_the_logger_has_the_name_of_the_package() -> None:
    assert log.logger.name == "flask_fernet"
