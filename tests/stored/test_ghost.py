"""A session that has not been read yet behaves as the session in every use of a dict."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from flask.sessions import SecureCookieSession

from flask_fernet import EncryptedSession, Fernet, StoreUnavailable
from flask_fernet.stored.ghost import appear, fill_with, ghost_class, is_ghost, new_ghost
from flask_fernet.stored.state import StoredNote, note_of

KEY = Fernet.generate_key()
DATA = {"a": 1, "b": [1, 2], "_permanent": True}


class Loads:
    """Makes ghosts, and counts how often they are read."""

    def __init__(self, session_class: type = EncryptedSession) -> None:
        self.session_class = session_class
        self.count = 0

    def ghost(self) -> Any:
        ghosts = ghost_class(self.session_class)
        assert ghosts is not None
        policy: Any = None
        return new_ghost(ghosts, StoredNote(self, None, policy, b"i" * 32, b"g" * 8, 0, True))

    def _revoke(self, app: Any, note: StoredNote) -> bool:
        raise AssertionError("ended")

    def _read(self, app: Any, ghost: Any) -> None:
        self.count += 1
        fill_with(ghost, copy.deepcopy(DATA))


def keywords(**given: Any) -> dict[str, Any]:
    return given


def missing(session: Any) -> str:
    with pytest.raises(KeyError) as error:
        session["x"]
    return str(error.value)


def matched(session: Any) -> Any:
    match session:
        case {"a": found}:
            return found
    return None


def in_place(session: Any) -> Any:
    session |= {"c": 3}
    return session


#: Each use of a session, with what it gives for a plain dict.
USES: dict[str, Callable[[Any], Any]] = {
    "item": lambda s: s["a"],
    "missing item": lambda s: missing(s),
    "set": lambda s: s.__setitem__("x", 1),
    "delete": lambda s: s.__delitem__("a"),
    "in": lambda s: "a" in s,
    "not in": lambda s: "x" in s,
    "len": len,
    "bool": bool,
    "iter": lambda s: list(iter(s)),
    "enumerate": lambda s: list(enumerate(s)),
    "reversed": lambda s: list(reversed(s)),
    "keys": lambda s: list(s.keys()),
    "values": lambda s: list(s.values()),
    "items": lambda s: list(s.items()),
    "get": lambda s: s.get("a"),
    "get default": lambda s: s.get("x", 5),
    "pop": lambda s: s.pop("a"),
    "pop default": lambda s: s.pop("x", 5),
    "popitem": lambda s: s.popitem(),
    "setdefault": lambda s: s.setdefault("x", 5),
    "update": lambda s: s.update(x=1),
    "clear": lambda s: s.clear(),
    "copy": lambda s: s.copy(),
    "dict": dict,
    "list": list,
    "sorted": sorted,
    "unpacked": lambda s: {**s},
    "keywords": lambda s: keywords(**s),
    "first": lambda s: next(iter(s)),
    "or": lambda s: s | {"c": 3},
    "or, right": lambda s: {"c": 3} | s,
    "in place or": lambda s: dict(in_place(s)),
    "update of another": lambda s: {"b": 0} | dict(s),
    "dict.update": lambda s: dict(s.items()),
    "equal": lambda s: s == DATA,
    "equal, right": lambda s: s == DATA,
    "unequal": lambda s: s != DATA,
    "unequal to another": lambda s: s != {},
    "json": json.dumps,
    "json, sorted": lambda s: json.dumps(s, sort_keys=True),
    "json, nested": lambda s: json.dumps([s]),
    "format": lambda s: "%(a)s" % s,  # noqa: UP031 - the use that is tested
    "format_map": lambda s: "{a}".format_map(s),
    "match": matched,
    "deepcopy": lambda s: dict(copy.deepcopy(dict(s))),
    "fromkeys": lambda s: dict.fromkeys(s),
    "zip": lambda s: dict(zip(s, s.values(), strict=True)),
    "max": lambda s: max(s),
    "length hint": lambda s: s.__len__(),
    "union of keys": lambda s: sorted(s.keys() | {"z"}),
}


@pytest.mark.parametrize("session_class", [EncryptedSession, SecureCookieSession])
@pytest.mark.parametrize("name", USES)
def test_a_ghost_is_used_like_the_dict(name: str, session_class: type) -> None:
    loads = Loads(session_class)
    ghost, plain = loads.ghost(), copy.deepcopy(DATA)
    assert USES[name](ghost) == USES[name](plain)
    assert loads.count == 1
    assert ghost == plain
    assert type(ghost) is session_class


def test_str_and_repr_show_the_session() -> None:
    plain = EncryptedSession(DATA)
    assert repr(Loads().ghost()) == repr(plain)
    assert str(Loads().ghost()) == str(plain)
    assert f"{Loads().ghost()}" == f"{plain}"


def test_permanent_is_read_and_written() -> None:
    assert Loads().ghost().permanent is True
    ghost = Loads().ghost()
    ghost.permanent = False
    assert ghost["_permanent"] is False
    assert ghost.modified


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.__setitem__("x", 1),
        lambda s: s.__delitem__("a"),
        lambda s: s.pop("a"),
        lambda s: s.popitem(),
        lambda s: s.setdefault("x", 1),
        lambda s: s.update(x=1),
        lambda s: s.clear(),
        lambda s: in_place(s),
        lambda s: s.regenerate(),
    ],
)
def test_every_change_of_a_ghost_and_after_it_is_noticed(change: Callable[[Any], Any]) -> None:
    ghost = Loads().ghost()
    assert not vars(ghost).get("modified")
    change(ghost)
    assert ghost.modified is True
    again = appear(Loads().ghost())
    assert again.modified is False
    change(again)
    assert again.modified is True


def test_a_library_that_reads_entries_directly_raises() -> None:
    with pytest.raises(TypeError):
        orjson.dumps(Loads().ghost())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_copies_and_pickles_hold_no_note(protocol: int) -> None:
    class Plain(dict):  # type: ignore[type-arg]
        modified = False

    globals()["Plain"] = Plain
    Plain.__qualname__ = "Plain"
    ghost = Loads(Plain).ghost()
    pickled = pickle.dumps(ghost, protocol)
    assert pickle.loads(pickled) == DATA
    for secret in (b"i" * 32, b"g" * 8, KEY):
        assert secret not in pickled
    for copied in (copy.copy(Loads(Plain).ghost()), copy.deepcopy(Loads(Plain).ghost())):
        assert copied == DATA
    assert note_of(copy.deepcopy(ghost)) is note_of(ghost)


def test_flask_logins_question_reads_nothing() -> None:
    loads = Loads()
    ghost = loads.ghost()
    assert "_remember" not in ghost
    ghost.accessed = True
    assert loads.count == 0
    assert is_ghost(ghost)
    assert "a" in ghost
    assert loads.count == 1


def test_attributes_and_methods_of_a_session_class_are_there() -> None:
    class Cart(EncryptedSession):
        kind = "cart"

        def total(self) -> int:
            return sum(self["b"])

        def __getitem__(self, key: str) -> Any:
            return super().__getitem__(key)

    ghost = Loads(Cart).ghost()
    ghost.note = "kept"
    assert (ghost.kind, ghost.total(), ghost.note) == ("cart", 3, "kept")
    assert isinstance(Loads(Cart).ghost(), Cart)


class Meta(ABCMeta):
    pass


@pytest.mark.parametrize(
    "session_class",
    [
        type("WithSlots", (dict,), {"__slots__": ("a",)}),
        Meta("WithMetaclass", (EncryptedSession,), {}),
        type("NoDict", (), {}),
        "no class",
    ],
)
def test_other_classes_have_no_ghosts(session_class: Any) -> None:
    assert ghost_class(session_class) is None


def test_threads_of_one_request_read_a_session_once() -> None:
    loads = Loads()
    ghost = loads.ghost()
    release, seen = threading.Event(), []
    read = loads._read

    def slow(app: Any, session: Any) -> None:
        release.wait(5)
        read(app, session)

    loads._read = slow  # type: ignore[method-assign, assignment]
    threads = [threading.Thread(target=lambda: seen.append(dict(ghost))) for _ in range(8)]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert seen == [DATA] * 8
    assert loads.count == 1


def test_a_ghost_that_cannot_be_read_stays_one() -> None:
    loads = Loads()
    ghost = loads.ghost()

    def fails(app: Any, session: Any) -> None:
        raise StoreUnavailable("read", "connection refused")

    loads._read = fails  # type: ignore[method-assign, assignment]
    for use in (len, dict, lambda s: s["a"], lambda s: s.update(a=1), lambda s: "a" in s):
        with pytest.raises(StoreUnavailable) as error:
            use(ghost)
        frames = []
        traceback: Any = error.tb
        while traceback is not None:
            frames.append(traceback.tb_frame.f_globals["__name__"])
            traceback = traceback.tb_next
        assert not [name for name in frames if name.startswith("flask_fernet")]
    assert is_ghost(ghost)
    assert "session store does not answer (read: connection refused)" in str(error.value)
