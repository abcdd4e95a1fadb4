"""The ghost: a stored session that has not been read yet.

It is an instance of the interface's session class with every method of ``dict`` overridden. The
first of them to be called reads the session and turns the ghost into an ordinary instance of that
class, by assigning ``__class__``. From then on nothing of a ghost is left, and nothing costs more.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

from flask.sessions import SecureCookieSession

from .._core import STORED
from ..tracebacks import frameless
from .state import StoredNote

#: Lies in the dict of a ghost. C code that looks at the size of a dict would take an empty one for
#: an empty session: ``json.dumps`` would write ``{}``. It is no text, so that libraries which read
#: a dict's entries directly raise.
_PLACEHOLDER = object()

#: Flask's class, as it is when this package is imported.
_FLASKS = SecureCookieSession

#: Flask-Login asks for this key after every request, and takes it out before each save. A ghost
#: answers without reading.
_NEVER_STORED = "_remember"

_FORWARDED = (
    *("__getitem__", "__setitem__", "__delitem__", "__iter__", "__len__", "__reversed__"),
    *("__repr__", "__eq__", "__ne__", "__or__", "__ror__", "__ior__"),
    *("__copy__", "__deepcopy__", "__reduce_ex__"),
    *("keys", "values", "items", "get", "pop", "popitem", "setdefault", "update", "clear", "copy"),
    "regenerate",
)


class Ghost:
    """The methods of a session that has not been read yet. A mixin before the session class."""

    __slots__ = ()
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    #: The native path reads this attribute of a session's class.
    _is_ghost = True

    @frameless
    def __contains__(self, key: object) -> bool:
        return key != _NEVER_STORED and key in appear(self)

    def __getattr__(self, name: str) -> Any:
        # An attribute that `__init__` makes. Names of protocols are asked for by many libraries.
        if name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(appear(self), name)

    @classmethod
    def fromkeys(cls, *args: Any) -> Any:
        """See ``dict.fromkeys``."""
        return cls.__bases__[1].fromkeys(*args)  # type: ignore[attr-defined]

    @property
    def rejected(self) -> object:
        """Why the record did not open."""
        return appear(self).rejected

    @rejected.setter
    def rejected(self, reason: object) -> None:
        vars(self)["rejected"] = reason


def _forwarded(name: str) -> Callable[..., Any]:
    @frameless
    def method(self: Ghost, *args: Any, **kwargs: Any) -> Any:
        session = appear(self)
        if name == "__reduce_ex__":
            return session.__reduce_ex__(*args)
        found = getattr(type(session), name, None)
        if found is not None:
            return found(session, *args, **kwargs)
        if name in ("__copy__", "__deepcopy__"):
            return _copied(session, name, args)
        raise AttributeError(f"{type(session).__name__!r} object has no attribute {name!r}")

    method.__name__ = name
    method.__qualname__ = f"Ghost.{name}"
    return method


def _copied(session: Any, name: str, args: tuple[Any, ...]) -> Any:
    # The class has no such method: `copy` then uses `__reduce_ex__`.
    import copy

    return copy.copy(session) if name == "__copy__" else copy.deepcopy(session, *args)


for _name in _FORWARDED:
    setattr(Ghost, _name, _forwarded(_name))


@lru_cache(maxsize=32)
def ghost_class(session_class: type) -> type | None:
    """The class of the ghosts of a session class; ``None`` if there can be none, because it is no
    ``dict``, has a metaclass of its own, or has a layout that forbids it.
    """
    # Flask's sessions are abstract base classes.
    if type(session_class) not in (type, ABCMeta) or not issubclass(session_class, dict):
        return None
    try:
        bases = (Ghost, session_class)
        metaclass: Any = type(session_class)
        ghosts: Any = metaclass(f"Ghost{session_class.__name__}", bases, {"__slots__": ()})
        probe = ghosts.__new__(ghosts)
        probe.__class__ = session_class
    except TypeError:
        return None
    return ghosts if hasattr(probe, "__dict__") else None


def new_ghost(ghosts: Any, note: StoredNote) -> Any:
    """A ghost of the stored session that ``note`` describes."""
    ghost = ghosts.__new__(ghosts)
    dict.__setitem__(ghost, _PLACEHOLDER, None)
    ghost.__dict__[STORED] = note
    return ghost


def is_ghost(session: object) -> bool:
    """Whether a session has not been read yet."""
    return isinstance(session, Ghost)


def appear(session: Any) -> Any:
    """Reads a ghost's session, unless that has been done, and returns it: it is the same object.

    :raises StoreUnavailable: if the store does not answer; the ghost then stays one.
    """
    note: StoredNote = session.__dict__[STORED]
    # Threads of one request may share a session.
    with note.lock:
        if isinstance(session, Ghost):
            note.host._read(note.app, session)
    return session


def fill(ghost: Any, session: Any) -> None:
    """Turns a ghost into ``session``, whose data and attributes it takes over."""
    _become(ghost, type(session), session, vars(session))


def fill_with(ghost: Any, data: dict[str, Any]) -> None:
    """Turns a ghost into a session with this data, as the session class makes one."""
    session_class = type(ghost).__bases__[1]
    attributes = _attributes(session_class)
    if attributes is None:
        fill(ghost, session_class(data))
    else:
        _become(ghost, session_class, data, attributes)


def _become(
    ghost: Any, session_class: type, data: dict[str, Any], attributes: dict[str, Any]
) -> None:
    dict.clear(ghost)
    dict.update(ghost, data)
    own = ghost.__dict__
    for name, value in attributes.items():
        own.setdefault(name, value)
    # At last: other threads wait for the note's lock until then.
    ghost.__class__ = session_class


@lru_cache(maxsize=32)
def _attributes(session_class: type) -> dict[str, Any] | None:
    """The attributes of a new session; ``None`` if its class makes them in a way of its own. They
    are the same for each session of Flask's: the function that notices changes, which gets the
    session as an argument.
    """
    makes = ("__init__", "__new__", "__setattr__")
    if any(getattr(session_class, name) is not getattr(_FLASKS, name) for name in makes):
        return None
    return dict(vars(session_class()))
