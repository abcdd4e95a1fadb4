"""The lifetimes of a session: since it was last issued, and since it was created."""

from __future__ import annotations

import contextlib
import importlib
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._core import CREATED
from ..errors import ConfigurationError, Reason

if TYPE_CHECKING:
    from flask import Flask

#: Name of the note that a session was emptied, in its ``__dict__``.
CLEARED = "_cleared"


def idle_lifetime(app: Flask) -> timedelta:
    """``PERMANENT_SESSION_LIFETIME``: the maximum age of a token.

    :raises ConfigurationError: if it is neither a ``timedelta`` nor a number of seconds.
    """
    try:
        lifetime = app.permanent_session_lifetime
    except (TypeError, ValueError, OverflowError):
        # Flask could not convert the setting.
        lifetime = None
    if not isinstance(lifetime, timedelta):
        value = app.config.get("PERMANENT_SESSION_LIFETIME")
        raise ConfigurationError(
            "PERMANENT_SESSION_LIFETIME must be a timedelta or a finite number of seconds, not "
            f"{_shown(value)}."
        )
    return lifetime


def absolute_lifetime(config: Mapping[str, Any]) -> float | None:
    """``SESSION_ABSOLUTE_LIFETIME`` in seconds, ``None`` if it is not set.

    :raises ConfigurationError: if it cannot be used.
    """
    value = lifetime = config.get("SESSION_ABSOLUTE_LIFETIME")
    if isinstance(lifetime, timedelta):
        lifetime = lifetime.total_seconds()
    if lifetime is None or (_is_number(lifetime) and lifetime > 0):
        return lifetime
    raise ConfigurationError(
        "SESSION_ABSOLUTE_LIFETIME must be a timedelta or a number of seconds above 0, not "
        f"{_shown(value)}."
    )


def refresh_from(config: Mapping[str, Any], lifetime: timedelta, default: float = 0) -> float:
    """The minimum age, in seconds, at which an unchanged permanent session is sent again:
    ``SESSION_REFRESH_AFTER``, a share of ``lifetime``.

    :param default: the share if the setting is not there.

    :raises ConfigurationError: if the setting cannot be used.
    """
    share = config.get("SESSION_REFRESH_AFTER")
    if share is not None and not (_is_number(share) and 0 <= share < 1):
        raise ConfigurationError(
            f"SESSION_REFRESH_AFTER must be a number from 0 to less than 1, not {_shown(share)}. "
            "It is the share of PERMANENT_SESSION_LIFETIME after which a session is refreshed."
        )
    return lifetime.total_seconds() * (default if share is None else share)


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        # An int that no float can hold.
        return False


def _shown(value: object) -> str:
    """A value for a message: numbers themselves, of everything else only the type."""
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**15):
        return repr(value)
    return type(value).__name__


class RegenerateMixin:
    """A session whose absolute lifetime can begin again, and which knows why it is new. A mixin for
    a ``session_class``.
    """

    modified: bool
    #: Why the request's cookie was refused, if this session is new for that reason.
    rejected: Reason | None = None

    def regenerate(self) -> None:
        """Begins ``SESSION_ABSOLUTE_LIFETIME`` again. Call it after a log-in; Flask-Login's log-in
        calls it automatically. The former cookie of a stored session is refused from then on.
        """
        self.__dict__[CREATED] = None
        self.modified = True

    def clear(self) -> None:
        """Removes everything. Data that is put in afterwards is a new session, whose
        ``SESSION_ABSOLUTE_LIFETIME`` begins then.
        """
        super().clear()  # type: ignore[misc]
        self.__dict__[CREATED] = None
        self.__dict__[CLEARED] = True


def take_creation(data: Any, issued_at: int) -> tuple[Any, int]:
    """Splits a payload's data into the data without the creation time, and that time in seconds
    since the epoch. It is the issue time for a session that has none, because it was created before
    the setting was on, or in another format.
    """
    if not isinstance(data, dict) or CREATED not in data:
        return data, issued_at
    data = dict(data)
    created = data.pop(CREATED)
    return data, created if type(created) is int else issued_at


def regenerate_at_login() -> None:
    """Connects Flask-Login's log-in with :meth:`RegenerateMixin.regenerate`: now if Flask-Login has
    been imported, otherwise as soon as it is. Connecting twice changes nothing.
    """
    if _AtImport.NAME in sys.modules:
        # Waits until another thread has imported it.
        _connect(importlib.import_module(_AtImport.NAME))
    elif not any(isinstance(finder, _AtImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AtImport())


class _AtImport(MetaPathFinder):
    """Calls :func:`_connect` once Flask-Login has been imported. The other finders find it."""

    NAME = "flask_login"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.NAME:
            return None
        for finder in sys.meta_path:
            # Not importlib.util.find_spec(), which would ask this finder again.
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _ConnectingLoader(spec.loader, self)
                return spec
        return None


class _ConnectingLoader(Loader):
    """Another loader, after whose work Flask-Login's log-in is connected."""

    def __init__(self, loader: Loader, finder: _AtImport) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module shall not keep this loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _connect(module)
        with contextlib.suppress(ValueError):
            # Another thread may have removed it.
            sys.meta_path.remove(self._finder)


def _connect(flask_login: Any) -> None:
    # A test may put a stub in its place.
    if hasattr(flask_login, "user_logged_in"):
        flask_login.user_logged_in.connect(_regenerate)


def _regenerate(app: object, **_: object) -> None:
    from flask import session

    if isinstance(session._get_current_object(), RegenerateMixin):  # type: ignore[attr-defined]
        session.regenerate()  # type: ignore[attr-defined]
