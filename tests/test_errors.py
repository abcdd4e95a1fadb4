"""The exceptions: their base classes, their attributes and their messages."""

from __future__ import annotations

import pytest

from flask_fernet import (
    ConfigurationError,
    FlaskFernetError,
    InternalError,
    InvalidToken,
    KeyRingError,
    Reason,
    SessionRejected,
    SessionTooLarge,
)
from flask_fernet.errors import shown_key


def test_what_goes_wrong_with_sessions_has_one_base() -> None:
    for error in (ConfigurationError, KeyRingError, SessionRejected, SessionTooLarge):
        assert issubclass(error, FlaskFernetError)
    assert issubclass(KeyRingError, ConfigurationError)
    assert issubclass(ConfigurationError, ValueError)
    # The `InvalidToken` of `cryptography` derives directly from `Exception` too.
    assert InvalidToken.__mro__[1] is Exception


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_is_its_name_as_text(reason: Reason) -> None:
    assert reason == reason.value == str(reason) == f"{reason}"
    assert reason.value == reason.name.lower()
    assert SessionRejected(reason.value).reason is reason


def test_a_reason_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        SessionRejected("nonsense")


def test_a_session_that_is_too_large_says_by_how_much_and_what_to_do() -> None:
    error = SessionTooLarge(5000, 4093)
    assert (error.size, error.limit) == (5000, 4093)
    for part in ("5000", "4093", "SESSION_COMPRESSION", "SESSION_OVERFLOW"):
        assert part in str(error)


def test_a_key_is_shown_if_it_is_text_or_a_number() -> None:
    shown = [shown_key(key) for key in ("a", 1, 1.5, (1,), b"x")]
    assert shown == ["'a'", "1", "1.5", "tuple", "bytes"]
    assert len(shown_key("x" * 100)) == 60


def test_a_bug_names_its_place_alone() -> None:
    error = InternalError("src/python/a.rs:7")
    assert isinstance(error, (FlaskFernetError, RuntimeError))
    assert error.place == "src/python/a.rs:7"
    assert str(error) == "flask-fernet has a bug at src/python/a.rs:7. Please report it."
