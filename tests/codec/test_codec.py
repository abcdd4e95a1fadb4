"""Compares the native codec with Flask's `TaggedJSONSerializer`: same bytes, same values."""

from __future__ import annotations

import collections
import enum
import json
import math
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask import Flask
from flask.json.tag import TaggedJSONSerializer
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import Markup

from flask_fernet._core import Codec
from tests.strategies import EVERYTHING, TAG_KEYS, keys, sessions, values

#: These string objects are reused, as Python reuses the keys of sessions and similar dicts.
SAME_KEYS = ["b", "a", "_c", "é", 'with "quotes"', " t"]
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=40)
)

codec = Codec()
encode, decode = codec.encode, codec.decode
oracle = TaggedJSONSerializer()


@pytest.fixture(scope="module", autouse=True)
def app() -> Iterator[Flask]:
    app = Flask(__name__)
    with app.app_context():
        yield app


def theirs(app: Flask, value: Any, sort_keys: bool, ensure_ascii: bool) -> bytes:
    app.json.sort_keys = sort_keys  # type: ignore[attr-defined]
    app.json.ensure_ascii = ensure_ascii  # type: ignore[attr-defined]
    return oracle.dumps(value).encode()


def same(one: Any, two: Any) -> bool:
    """Whether two values are equal, with equal types and the same order of dicts at every level."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, two) and (
            one == two or (math.isnan(one) and math.isnan(two))
        )
    if isinstance(one, datetime):
        return one == two and one.tzinfo is two.tzinfo
    return bool(one == two)


class TestEncode:
    @given(value=values, sort_keys=st.booleans(), ensure_ascii=st.booleans())
    def test_values_are_written_byte_for_byte_as_by_flask(
        self, app: Flask, value: Any, sort_keys: bool, ensure_ascii: bool
    ) -> None:
        native = encode(value, sort_keys=sort_keys, ensure_ascii=ensure_ascii)
        if native is None:
            assert has_foreign_zone(value)
        else:
            assert native == theirs(app, value, sort_keys, ensure_ascii)

    @given(
        dicts=st.lists(
            st.lists(
                st.tuples(st.sampled_from(SAME_KEYS), st.one_of(plain, values)), max_size=6
            ).map(dict),
            max_size=8,
        ),
        sort_keys=st.booleans(),
        ensure_ascii=st.booleans(),
    )
    def test_dicts_of_the_same_keys_are_written_as_by_flask(
        self, app: Flask, dicts: list[dict[str, Any]], sort_keys: bool, ensure_ascii: bool
    ) -> None:
        """A remembered dict never changes how the next one at its depth is written."""
        for value in [*dicts, dicts, {"a": dicts, "b": {"a": dicts}}]:
            native = encode(value, sort_keys, ensure_ascii)
            if native is None:
                assert has_foreign_zone(value)
            else:
                assert native == theirs(app, value, sort_keys, ensure_ascii)

    @given(number=st.floats())
    def test_floats_are_written_as_by_flask(self, app: Flask, number: float) -> None:
        assert encode(number) == theirs(app, number, True, True)

    def test_one_of_every_type_is_written_as_by_flask(self, app: Flask) -> None:
        assert encode(EVERYTHING) == theirs(app, EVERYTHING, True, True)
        assert encode(EVERYTHING, sort_keys=False) == theirs(app, EVERYTHING, False, True)

    @pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**4000, -(10**4000)])
    def test_large_integers_are_written_as_by_flask(self, app: Flask, number: int) -> None:
        assert encode(number) == theirs(app, number, True, True)

    def test_integers_beyond_the_limit_of_python_are_left_to_the_serializer(
        self, app: Flask
    ) -> None:
        """Its error is then told with the place of the value."""
        assert encode(10**5000) is None
        with pytest.raises(ValueError, match="4300"):
            oracle.dumps(10**5000)

    @pytest.mark.parametrize(
        "value",
        [
            type("Text", (str,), {})("text"),
            enum.IntEnum("Number", ["ONE"]).ONE,  # type: ignore[attr-defined]
            collections.OrderedDict(a=1),
            sys.version_info,
            {1: 2},
            {("a",): 1},
            {type("Text", (str,), {})("key"): 1},
            "\ud800",
            {"\udfff": 1},
            {"a": {"\udfff": 1, "b": 2}},
            object(),
            {1, 2},
            bytearray(b"x"),
            datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            type("Html", (), {"__html__": lambda self: "<b>"})(),
            type("MoreMarkup", (Markup,), {})("x"),
            type("MoreUuid", (uuid.UUID,), {})(int=1),
        ],
    )
    def test_odd_values_are_left_to_python(self, value: Any) -> None:
        assert encode(value) is None
        assert encode([value]) is None
        assert encode({"key": value, "other": 1}) is None

    def test_deep_nesting_is_left_to_python(self) -> None:
        value: Any = []
        for _ in range(1000):
            value = [value]
        assert encode(value) is None
        value = []
        value.append(value)
        assert encode(value) is None


def has_foreign_zone(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(has_foreign_zone, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(has_foreign_zone, value))
    return isinstance(value, datetime) and value.tzinfo not in (None, timezone.utc)


#: JSON texts that no serializer of ours writes.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from(
            [
                "Mon, 01 Jan 2026 00:00:00 GMT",
                "Thu, 31 Feb 2026 00:00:00 GMT",
                "Thu, 01 Jan 0050 00:00:00 GMT",
                "Thu, 01 Jan 2026 00:00:60 GMT",
                "Thu, 01 Jan 2026 00:00:00 +0200",
                "0" * 32,
                "{12345678-1234-5678-1234-567812345678}",
                "QUJD",
                "QUI",
                "Q U I=",
                "<b>",
            ]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=3),
        st.tuples(st.sampled_from(TAG_KEYS), inner).map(lambda pair: dict([pair])),
    ),
    max_leaves=15,
)


class TestDecode:
    # These dicts have several keys, one of which looks like a tag, and values of each kind.
    @example(value={" t": None, "0": None})
    @example(value={" t": [1], "0": (2,)})
    @example(value={" b": "x", " d": True})
    @given(value=values)
    def test_what_flask_writes_is_read_as_by_flask(self, app: Flask, value: Any) -> None:
        text = theirs(app, value, True, True)
        native = decode(text)
        reference = oracle.loads(text.decode())
        if native is NotImplemented:
            # Python's parser takes years before 1000 for abbreviated years.
            assert b" 0" in text
        else:
            assert same(native, reference)

    @given(value=json_values, indent=st.sampled_from([None, 1]), ascii_=st.booleans())
    def test_any_json_is_read_as_by_flask_or_left_to_python(
        self, value: Any, indent: int | None, ascii_: bool
    ) -> None:
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_)
        try:
            reference = oracle.loads(text)
        except Exception:
            assert decode(text.encode("utf-8", "surrogatepass")) is NotImplemented
            return
        native = decode(text.encode("utf-8", "surrogatepass"))
        assert native is NotImplemented or same(native, reference)

    @given(text=st.text(st.sampled_from('{}[]",:0123456789.eE+- \\untrfalsdbm"'), max_size=30))
    @example(text='{" t":null true,"a":1}')
    @example(text='{" t":[1]," t":[2]}')
    @example(text='{" t":[1],"a":[2]}')
    @example(text='{" di":{" t__":1,"b":2}}')
    @example(text='{" di":{}}')
    @example(text='{"a":1,"a":2}')
    @example(text='{"a":1,}')
    @example(text='{" t":1,}')
    @example(text='{" x":1}')
    @example(text='{" x":1,}')
    @example(text='[{" t":1,"a":1," t":[2]},{"\\u0020t":[1]},{"\\u0020t":[1],"a":1}]')
    def test_any_text_is_read_as_by_flask_or_left_to_python(self, text: str) -> None:
        native = decode(text.encode())
        if native is not NotImplemented:
            assert same(native, oracle.loads(text))

    def test_one_of_every_type_is_read_as_by_flask(self, app: Flask) -> None:
        text = theirs(app, EVERYTHING, False, False)
        native = decode(text)
        assert native is not NotImplemented
        assert same(native, oracle.loads(text.decode()))

    @given(data=st.binary(max_size=40))
    def test_any_bytes_are_read_as_by_flask_or_left_to_python(self, data: bytes) -> None:
        native = decode(data)
        if native is not NotImplemented:
            assert same(native, oracle.loads(data.decode()))

    @pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"1" * 5000])
    def test_depth_and_digits_are_bounded(self, text: bytes) -> None:
        assert decode(text) is NotImplemented


@given(session=sessions)
def test_sessions_are_written_and_read_as_by_flask(app: Flask, session: dict[str, Any]) -> None:
    """Sessions are written and read back as Flask would write and read them."""
    written = encode(session)
    if written is not None:
        assert written == theirs(app, session, True, True)
        native = decode(written)
        if native is not NotImplemented:
            assert same(native, oracle.loads(written.decode()))
            assert encode(native) == written
