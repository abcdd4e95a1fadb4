"""Compares the reading of cookie headers and the writing of dates with Werkzeug."""

from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.http import http_date
from werkzeug.sansio.http import parse_cookie

from flask_fernet._core import Codec, find_cookie

pieces = st.lists(
    st.sampled_from(
        [
            "session",
            "sess",
            "x",
            "=",
            ";",
            "; ",
            " ",
            "\t",
            "a=b",
            '"',
            "\\",
            ",",
            "\n",
            '"a;b"',
            '\\"',
            "\\é",
            "é",
        ]
    ),
    max_size=12,
).map("".join)


@given(header=st.one_of(pieces, st.text(st.characters(codec="ascii"), max_size=30)))
@example(header="session=a; session=b")
def test_the_cookie_found_is_the_one_that_werkzeug_finds(header: str) -> None:
    found = find_cookie(header, "session")
    if found is NotImplemented:
        # Only quoted values and headers with control characters may be left to Python.
        value = parse_cookie(header).get("session")
        printable = header.replace("\t", "").replace("\x7f", "").isprintable()
        assert not printable or (value is not None and '"' in header)
    else:
        assert found == parse_cookie(header).get("session")


@given(when=st.datetimes(min_value=datetime(1, 1, 1), timezones=st.just(timezone.utc)))
def test_dates_are_written_as_by_werkzeug(when: datetime) -> None:
    assert Codec().encode(when) == b'{" d":"' + http_date(when).encode() + b'"}'
