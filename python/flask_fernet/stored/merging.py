"""Joins the changes of two requests to one session, key by key.

The base is what this request has read, *mine* is what it wants to write, and *theirs* is what
another request has written meanwhile. Values are compared as the serializer writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: Flask's list of messages that the next page shows.
FLASHES = "_flashes"
#: Flask-WTF's token. Pages are built on the one that was stored first.
CSRF_TOKEN = "csrf_token"  # noqa: S105 - the name of a key
_FLASK_LOGIN = ("_user_id", "_fresh", "_id")
_REMEMBER = "_remember"

#: Writes one value as bytes.
Dump = Callable[[Any], bytes]

_ABSENT = object()


def merge(
    base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any], dump: Dump
) -> tuple[dict[str, Any], list[str]]:
    """The session with the changes of both.

    :param dump: writes a value, to compare it.
    :returns: the session, and the keys that both changed and of which mine is kept.
    """
    merged, conflicts = dict(theirs), []
    sides = _Sides(base, mine, theirs, dump)
    for key in dict.fromkeys([*base, *mine]):
        if _is_flask_logins(key) or not sides.mine_changed(key):
            continue
        value = mine.get(key, _ABSENT)
        if sides.theirs_changed(key) and not sides.agree(key):
            if key == FLASHES:
                value = sides.flashes()
            elif key == CSRF_TOKEN and key not in base and key in theirs:
                continue
            else:
                conflicts.append(key)
        _put(merged, key, value)
    _merge_login(sides, merged)
    return merged, conflicts


def _put(merged: dict[str, Any], key: str, value: Any) -> None:
    if value is _ABSENT:
        merged.pop(key, None)
    else:
        merged[key] = value


def _is_flask_logins(key: object) -> bool:
    return isinstance(key, str) and (key in _FLASK_LOGIN or key.startswith(_REMEMBER))


def _merge_login(sides: _Sides, merged: dict[str, Any]) -> None:
    """Flask-Login's keys belong together: one side gives all of them."""
    base, mine, theirs = sides.base, sides.mine, sides.theirs
    keys = [key for key in dict.fromkeys([*base, *mine, *theirs]) if _is_flask_logins(key)]
    if not any(sides.mine_changed(key) for key in keys):
        return
    both = any(sides.theirs_changed(key) for key in keys)
    if both and "_user_id" in base and "_user_id" not in theirs:
        # They logged out.
        return
    for key in keys:
        _put(merged, key, mine.get(key, _ABSENT))
    if both and "_fresh" in merged and (theirs.get("_fresh") is False):
        merged["_fresh"] = False


class _Sides:
    def __init__(
        self,
        base: Mapping[str, Any],
        mine: Mapping[str, Any],
        theirs: Mapping[str, Any],
        dump: Dump,
    ) -> None:
        self.base, self.mine, self.theirs = base, mine, theirs
        self._dump = dump

    def mine_changed(self, key: str) -> bool:
        return self._differ(self.base, self.mine, key)

    def theirs_changed(self, key: str) -> bool:
        return self._differ(self.base, self.theirs, key)

    def agree(self, key: str) -> bool:
        return not self._differ(self.mine, self.theirs, key)

    def _differ(self, one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
        if key not in one or key not in other:
            return (key in one) != (key in other)
        return self._dump(one[key]) != self._dump(other[key])

    def flashes(self) -> Any:
        """Their messages without those that I have shown, and then those that I have added."""
        base, mine = self._messages(self.base), self._messages(self.mine)
        shown, added = _without(base, mine), _without(mine, base)
        left = _without(self._messages(self.theirs), shown)
        return [message for _, message in [*left, *added]] or _ABSENT

    def _messages(self, session: Mapping[str, Any]) -> list[tuple[bytes, Any]]:
        messages = session.get(FLASHES) or []
        return [(self._dump(message), message) for message in messages]


def _without(
    messages: list[tuple[bytes, Any]], removed: list[tuple[bytes, Any]]
) -> list[tuple[bytes, Any]]:
    """The messages but for those removed, each as often as it was removed."""
    texts = [text for text, _ in removed]

    def left() -> Iterator[tuple[bytes, Any]]:
        for text, message in messages:
            if text in texts:
                texts.remove(text)
            else:
                yield text, message

    return list(left())
