"""Session data for property tests."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from markupsafe import Markup

TAG_KEYS = [" di", " t", " b", " m", " u", " d"]

texts = st.text(st.characters(codec="utf-8"), max_size=30)
#: Keys that include those which the codec has to escape.
keys = st.one_of(
    texts,
    st.sampled_from([*TAG_KEYS, *[f"{key}__" for key in TAG_KEYS], " ", "__", "", "_permanent"]),
)
zones: Any = st.sampled_from(
    [None, timezone.utc, timezone(timedelta(0)), timezone(timedelta(hours=-5, minutes=-30))]
)
datetimes = st.datetimes(
    min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=zones
)
leaves: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(allow_nan=False),
    texts,
    st.binary(max_size=30),
    texts.map(Markup),
    st.uuids(),
    datetimes,
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(keys, inner, max_size=5),
        st.dictionaries(keys, inner, min_size=1, max_size=1),
    )


#: Every value that tagged JSON supports.
values: st.SearchStrategy[Any] = st.recursive(leaves, _containers, max_leaves=20)
#: The contents of a session.
sessions = st.dictionaries(keys, values, max_size=6)

#: A typical session of an app.
FLASK_LOGIN = {
    "_user_id": "42",
    "_fresh": True,
    "_id": "0123456789abcdef" * 8,
    "csrf_token": "d5f1b4c26e8b6b4ff4b0b3fbd2a3ee7ec0a5c9ad",
    "_permanent": True,
}
#: A session with a value of every type.
EVERYTHING = {
    **FLASK_LOGIN,
    "nothing": None,
    "numbers": [0, -1, 2**63, -(2**64), 0.1, 1e16, 1e-5, -0.0, float("inf")],
    "text": 'é😀"\\/\n\x00\x7f',
    "bytes": bytes(range(256)),
    "markup": Markup("<b>bold</b>"),
    "uuid": uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF),
    "naive": datetime(2026, 1, 2, 3, 4, 5, 678),
    "aware": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    "_flashes": [("message", "Saved."), ("error", "Not saved.")],
    "escaped": {" t": {" di": [1, {" b__": ()}]}},
    "empty": [{}, [], (), "", b""],
}
