"""What a process knows of revocations, and when it asks for them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_fernet.stored.feed import (
    CLOCK_SKEW,
    EVERYBODY,
    INTERVAL,
    KEPT_FOR,
    MANY,
    MARGIN,
    Feed,
    user_subject,
)
from tests.clock import NOW, Clock

USER, OTHER = user_subject(b"user"), user_subject(b"other")
#: A moment that has the bit of MARGIN set.
MOMENT = NOW + 2


def test_the_times_are_those_that_the_documentation_names() -> None:
    """Others may run another version of this package with the same feed."""
    assert timedelta(seconds=KEPT_FOR) == timedelta(days=31)
    assert (INTERVAL, MARGIN, CLOCK_SKEW, MANY) == (1, 2, 60, 10_000)


class TestAsking:
    @pytest.mark.parametrize("started", [0.0, 0.5, 1e6])
    def test_the_feed_is_due_at_once_and_then_after_an_interval(
        self, clock: Clock, started: float
    ) -> None:
        clock.freeze_monotonic()
        # The monotonic clock begins anywhere.
        clock.monotonic = started
        feed = Feed()
        assert feed.is_due()
        clock.monotonic += INTERVAL - 0.25
        assert not feed.is_due()
        clock.monotonic += 0.25
        assert feed.is_due()
        assert not feed.is_due()
        clock.monotonic = started
        feed.ask_again()
        assert feed.is_due()

    def test_it_is_asked_from_a_minute_before_the_latest_revocation(self) -> None:
        feed = Feed()
        assert feed.since == 0
        feed.learn([(USER, 50)])
        assert feed.since == 0
        feed.learn([(USER, NOW)])
        assert feed.since == NOW - 60
        feed.learn([(OTHER, NOW - 30), (USER, NOW - 20)])
        assert feed.since == NOW - 60


class TestSubjects:
    def test_the_latest_revocation_of_a_subject_counts(self) -> None:
        feed = Feed()
        assert feed.is_empty
        feed.learn([(USER, MOMENT), (USER, MOMENT - 5), (OTHER, MOMENT - 7)])
        feed.learn([(USER, MOMENT - 3)])
        assert not feed.is_empty
        assert feed.not_before([b"user"]) == MOMENT + MARGIN
        assert feed.not_before([b"other"]) == MOMENT - 7 + MARGIN
        assert feed.not_before([b"other", b"user"]) == MOMENT + MARGIN

    def test_a_revocation_for_all_counts_for_each(self) -> None:
        feed = Feed()
        feed.learn([(EVERYBODY, MOMENT), (USER, MOMENT + 1)])
        assert feed.not_before([]) == feed.not_before([b"other"]) == MOMENT + MARGIN
        assert feed.not_before([b"user"]) == MOMENT + 1 + MARGIN

    def test_a_user_without_a_revocation_has_no_earliest_beginning(self) -> None:
        feed = Feed()
        assert feed.not_before([b"user"]) == 0
        feed.learn([(OTHER, MOMENT)])
        assert feed.not_before([b"user"]) == 0

    @pytest.mark.parametrize(("more", "is_dropped"), [(-1, False), (0, True), (1, True)])
    def test_old_revocations_are_dropped_once_there_are_many(
        self, more: int, is_dropped: bool
    ) -> None:
        feed = Feed()
        others = (user_subject(b"%d" % number) for number in range(MANY + more - 2))
        feed.learn(
            [(USER, MOMENT - 1), (OTHER, MOMENT), *((subject, MOMENT) for subject in others)]
        )
        feed.forget(MOMENT)
        assert (feed.not_before([b"user"]) == 0) == is_dropped
        assert feed.not_before([b"other"]) == MOMENT + MARGIN

    def test_revocations_from_a_moment_on_are_kept(self) -> None:
        feed = Feed()
        feed.learn([(b"%d" % number, number) for number in range(1, 20_001)])
        feed.forget(15_000)
        assert feed.not_before([]) == 0
        assert len(feed._revoked) == 5001
