"""Objects that misbehave, drawn at random: the native code answers as Flask does, or leaves them to
Python. No panic, and no harm to the next request.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from flask import Flask
from flask.json.tag import TaggedJSONSerializer
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from flask_fernet import InternalError
from flask_fernet._core import Codec
from tests.apps import add_views, encrypted_app, quiet, works
from tests.strategies import keys, values

#: What Python code calls behind an app's back.
HOOKS = ["__eq__", "__hash__", "__len__", "__iter__", "__getitem__", "__contains__", "__bool__",
         "__str__", "__repr__", "__index__", "__int__", "__float__", "__html__", "__lt__", "items",
         "keys", "get", "encode", "__class__", "__dict__", "isoformat", "hex", "utctimetuple",
         "__instancecheck__", "__getattr__", "__json__", "for_json", "to_json"]  # fmt: skip
BASES: list[tuple[type, Any]] = [
    (object, ()), (str, ("text",)), (int, (7,)), (float, (1.5,)), (list, ([1, "a"],)),
    (tuple, ((1, "a"),)), (dict, ({"a": 1},)), (bytes, (b"a",)), (Markup, ("<a>",)),
    (datetime, (2026, 11, 28)), (UUID, ("12345678" * 4,)),
]  # fmt: skip


class Mine(Exception):
    """Raised by the hooks of hostile objects."""


def _raises(*_: object, **__: object) -> Any:
    raise Mine


def _nothing(*_: object, **__: object) -> Any:
    return None


def _far(*_: object, **__: object) -> Any:
    return 2**70


def _itself(self: object, *_: object) -> Any:
    return self


ACTS: list[Callable[..., Any]] = [_raises, _nothing, _far, _itself]


class Recipe(NamedTuple):
    """How a hostile object is made. Hypothesis looks at what it draws, so it draws recipes."""

    base: int
    hooks: dict[str, Callable[..., Any]]
    #: The hooks of its metaclass; ``None`` for ``type``.
    meta: dict[str, Callable[..., Any]] | None

    def made(self) -> Any:
        base, arguments = BASES[self.base]
        hooks: dict[str, Any] = dict(self.hooks)
        for name in {"__class__", "__dict__"} & hooks.keys():
            hooks[name] = property(hooks[name])
        meta: Any = type
        if self.meta is not None:
            meta = type("Meta", (type,), {**self.meta, "__hash__": type.__hash__})
        try:
            return meta("Hostile", (base,), hooks)(*arguments)
        except Exception:
            # Such a class makes no instances.
            return None


def made(value: Any) -> Any:
    """The value with objects in place of their recipes."""
    if type(value) is Recipe:
        return value.made()
    if type(value) is dict:
        return {key: made(one) for key, one in value.items()}
    return [made(one) for one in value] if type(value) is list else value


hostile = st.builds(
    Recipe,
    st.integers(0, len(BASES) - 1),
    st.dictionaries(st.sampled_from(HOOKS), st.sampled_from(ACTS), max_size=4),
    st.none()
    | st.dictionaries(st.sampled_from(["__instancecheck__", "__eq__"]), st.sampled_from(ACTS)),
)


def _inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)


#: Sessions with hostile values anywhere.
hostile_sessions = st.dictionaries(
    keys, st.recursive(hostile | values, _inside, max_leaves=6), min_size=1, max_size=4
)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the type of what it raises."""
    try:
        return call()
    except Exception as error:
        return type(error)


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    made = add_views(encrypted_app(PROPAGATE_EXCEPTIONS=True))
    with quiet(made):
        yield made


def test_what_is_written_natively_is_what_flask_writes(app: Flask) -> None:
    written = 0

    @given(hostile_sessions)
    def is_the_same(recipe: dict[str, Any]) -> None:
        nonlocal written
        data = made(recipe)
        text = outcome(lambda: Codec().encode(data))
        if isinstance(text, bytes):
            written += 1
            # Flask sorts the keys within an app's context.
            with app.app_context():
                expected = outcome(lambda: TaggedJSONSerializer().dumps(data))
            assert text.decode() == expected

    is_the_same()
    assert written > 20


class Saboteur:
    """Changes a dict whenever it is asked anything."""

    def __init__(self, victim: dict[Any, Any], seed: int) -> None:
        self.victim, self.random = victim, random.Random(seed)

    #: How often any of them was asked something.
    strikes = 0

    def strike(self, *_: object) -> Any:
        Saboteur.strikes += 1
        act = self.random.choice(["add", "remove", "clear", "replace", "nothing"])
        if act == "add":
            self.victim.update({str(number): number for number in range(50)})
        elif act == "remove" and self.victim:
            self.victim.popitem()
        elif act == "clear":
            self.victim.clear()
        elif act == "replace" and self.victim:
            self.victim[next(iter(self.victim))] = self
        return self.random.choice([True, "text", 1, None])

    __eq__ = strike
    __hash__ = None  # type: ignore[assignment]
    __html__ = __bool__ = __str__ = __repr__ = __len__ = __call__ = strike


def test_a_session_that_changes_while_it_is_written_harms_nobody(app: Flask) -> None:
    interface: Any = app.session_interface
    Saboteur.strikes = 0

    @given(st.dictionaries(keys, values, max_size=6), st.integers(0, 2**30), st.integers(1, 4))
    def changes(data: dict[str, Any], seed: int, count: int) -> None:
        opened = interface.session_class(data)
        for number in range(count):
            saboteurs = [Saboteur(opened, seed + number), {"a": Saboteur(opened, seed)}]
            opened[f"saboteur{number}"] = saboteurs
        with app.test_request_context():
            response = app.response_class()
            saved = outcome(lambda: interface.save_session(app, opened, response))
        assert saved is not InternalError
        works(app)

    changes()
    assert Saboteur.strikes > 100


SETTINGS = ["SESSION_COOKIE_NAME", "SESSION_COOKIE_DOMAIN", "SESSION_COOKIE_PATH",
            "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SECURE", "SESSION_COOKIE_SAMESITE",
            "SESSION_COOKIE_PARTITIONED", "SESSION_REFRESH_EACH_REQUEST", "MAX_COOKIE_SIZE",
            "PERMANENT_SESSION_LIFETIME", "APPLICATION_ROOT", "SECRET_KEY",
            "SECRET_KEY_FALLBACKS", "SESSION_COMPRESSION", "SESSION_ENCRYPTION_FORMAT",
            "SESSION_ABSOLUTE_LIFETIME", "SESSION_REFRESH_AFTER"]  # fmt: skip


def cycle(app: Flask) -> Any:
    client = app.test_client()
    return [client.post("/write", json={"a": 1}).status_code, client.get("/read").text]


@given(
    st.dictionaries(st.sampled_from(SETTINGS), hostile | values, min_size=1, max_size=3),
    st.integers(0, 2**30),
    st.booleans(),
)
def test_settings_that_misbehave_harm_no_later_request(
    app: Flask, odd: dict[str, Any], seed: int, sabotage: bool
) -> None:
    before = dict(app.config)
    try:
        app.config.update(made(odd))
        if sabotage:
            app.config[random.Random(seed).choice(SETTINGS)] = Saboteur(app.config, seed)
        assert outcome(lambda: cycle(app)) is not InternalError
    finally:
        app.config.clear()
        app.config.update(copy.copy(before))
    works(app)


@given(st.dictionaries(
    st.sampled_from(["modified", "accessed", "permanent", "new", "__len__", "__bool__", "__iter__",
                     "items", "get", "__setattr__", "__getattribute__", "__class__", "__init__",
                     "__contains__", "__eq__"]),
    st.sampled_from(ACTS), min_size=1, max_size=3,
), st.booleans())  # fmt: skip
def test_session_classes_that_misbehave_harm_nobody(
    app: Flask, hooks: dict[str, Any], with_metaclass: bool
) -> None:
    interface: Any = app.session_interface
    usual = interface.session_class
    attributes = {
        name: property(act) if name in ("modified", "accessed", "permanent", "new", "__class__")
        else act
        for name, act in hooks.items()
    }  # fmt: skip
    meta = type("Meta", (type(usual),), {"__call__": _raises} if with_metaclass else {})
    try:
        interface.session_class = meta("Odd", (usual,), attributes)
        assert outcome(lambda: cycle(app)) is not InternalError
    finally:
        interface.session_class = usual
    works(app)
