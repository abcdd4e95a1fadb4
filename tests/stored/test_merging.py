"""Changes of two requests are joined key by key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_fernet.stored.merging import merge


def merged(base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]) -> Any:
    return merge(base, mine, theirs, lambda value: json.dumps(value, sort_keys=True).encode())


LOGGED_IN = {"_user_id": "1", "_fresh": True, "_id": "x"}


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "expected", "conflicts"),
    [
        # Only one side changed a key.
        ({"a": 1}, {"a": 2}, {"a": 1, "b": 1}, {"a": 2, "b": 1}, []),
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}, []),
        ({"a": 1, "b": 1}, {"a": 1, "b": 2}, {"b": 1}, {"b": 2}, []),
        # Both did the same.
        ({"a": 1}, {"a": 2}, {"a": 2}, {"a": 2}, []),
        ({"a": 1}, {}, {}, {}, []),
        # Both changed it: mine.
        ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 2}, ["a"]),
        ({"a": 1}, {}, {"a": 3}, {}, ["a"]),
        ({}, {"a": 2}, {"a": 3}, {"a": 2}, ["a"]),
        # A key before the names that have rules of their own, and one behind them.
        ({}, {"A": 2, "csrf_token": "m", "z": 2}, {"A": 3, "csrf_token": "t"},
         {"A": 2, "csrf_token": "t", "z": 2}, ["A"]),
        # 1 and True are equal in Python, and not as JSON.
        ({"a": 1}, {"a": True}, {"a": 1}, {"a": True}, []),
        # Messages: shown by one, added by the other, in either order.
        ({"_flashes": [["m", "1"]]}, {}, {"_flashes": [["m", "1"], ["m", "2"]]},
         {"_flashes": [["m", "2"]]}, []),
        ({"_flashes": [["m", "1"]]}, {"_flashes": [["m", "1"], ["m", "2"]]}, {},
         {"_flashes": [["m", "2"]]}, []),
        ({}, {"_flashes": [["m", "1"]]}, {"_flashes": [["m", "1"]]}, {"_flashes": [["m", "1"]]},
         []),
        ({}, {"_flashes": [["m", "2"]]}, {"_flashes": [["m", "1"]]},
         {"_flashes": [["m", "1"], ["m", "2"]]}, []),
        ({"_flashes": [["m", "1"], ["m", "1"]]}, {"_flashes": [["m", "1"]]},
         {"_flashes": [["m", "1"], ["m", "1"], ["m", "3"]]},
         {"_flashes": [["m", "1"], ["m", "3"]]}, []),
        # Pages are built on the token that was stored first.
        ({}, {"csrf_token": "mine"}, {"csrf_token": "theirs"}, {"csrf_token": "theirs"}, []),
        ({"csrf_token": "0"}, {"csrf_token": "mine"}, {"csrf_token": "theirs"},
         {"csrf_token": "mine"}, ["csrf_token"]),
        # Flask-Login's keys are one unit.
        ({}, LOGGED_IN, {"a": 1}, {**LOGGED_IN, "a": 1}, []),
        (LOGGED_IN, {**LOGGED_IN, "_fresh": False}, LOGGED_IN, {**LOGGED_IN, "_fresh": False}, []),
        (LOGGED_IN, {**LOGGED_IN, "_id": "y"}, {**LOGGED_IN, "_fresh": False},
         {**LOGGED_IN, "_id": "y", "_fresh": False}, []),
        (LOGGED_IN, {**LOGGED_IN, "_id": "y"}, {}, {}, []),
        (LOGGED_IN, LOGGED_IN, {}, {}, []),
        (LOGGED_IN, {}, {**LOGGED_IN, "_fresh": False}, {}, []),
        (LOGGED_IN, {**LOGGED_IN, "_id": "y"}, {**LOGGED_IN, "_id": "z"},
         {**LOGGED_IN, "_id": "y"}, []),
        (LOGGED_IN, {**LOGGED_IN, "_id": "y"}, {"_user_id": "1", "_id": "z"},
         {**LOGGED_IN, "_id": "y"}, []),
    ],
)  # fmt: skip
def test_each_case(
    base: dict[str, Any],
    mine: dict[str, Any],
    theirs: dict[str, Any],
    expected: dict[str, Any],
    conflicts: list[str],
) -> None:
    assert merged(base, mine, theirs) == (expected, conflicts)


sessions = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2))


@given(base=sessions, mine=sessions, theirs=sessions)
def test_what_one_side_alone_changed_is_kept(
    base: dict[str, int], mine: dict[str, int], theirs: dict[str, int]
) -> None:
    result, conflicts = merged(base, mine, theirs)
    for key in "abcd":
        mine_changed = mine.get(key) != base.get(key)
        theirs_changed = theirs.get(key) != base.get(key)
        expected = mine.get(key) if mine_changed else theirs.get(key)
        assert result.get(key) == expected
        differ = mine.get(key) != theirs.get(key)
        assert (key in conflicts) == (mine_changed and theirs_changed and differ)


@given(base=sessions, theirs=sessions)
def test_who_changed_nothing_takes_theirs(base: dict[str, int], theirs: dict[str, int]) -> None:
    assert merged(base, base, theirs) == (theirs, [])
    assert merged(base, theirs, base) == (theirs, [])
    assert merged(base, theirs, theirs) == (theirs, [])


def test_a_key_is_known_by_its_text() -> None:
    """Keys that were read from JSON are not the objects that this package names them by."""
    flashes, token = "".join(["_fla", "shes"]), "".join(["csrf_", "token"])
    mine, theirs = {flashes: [["m", "1"]], token: "m"}, {flashes: [["m", "2"]], token: "t"}
    expected = {"_flashes": [["m", "2"], ["m", "1"]], "csrf_token": "t"}
    assert merged({}, mine, theirs) == (expected, [])
