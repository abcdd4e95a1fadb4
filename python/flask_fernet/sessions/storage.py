"""The store of an app's sessions, and what belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import getattr_static, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from .. import settings
from .._core import RecordKeys, SessionKeys
from ..errors import ConfigurationError
from ..stored.feed import Feed
from ..stored.outage import AsyncGuardedStore, GuardedStore
from ..stores.protocol import OwnedSessions, Revocations, SessionStore
from ..stores.urls import open_async_store, open_store
from .app_memory import AppMemory

if TYPE_CHECKING:
    from flask import Flask

#: Seconds that an operation may take, if ``SESSION_STORE_TIMEOUT`` is not set.
TIMEOUT = 1.0
#: The share of the lifetime after which a stored session is refreshed, if
#: ``SESSION_REFRESH_AFTER`` is not set. Each refresh is a write.
REFRESH_AFTER = 0.1
#: The session key that says whose a session is, if ``SESSION_USER_KEY`` is not set: Flask-Login's.
USER_KEY = "_user_id"


@dataclass(frozen=True)
class Storage:
    """Everything that an app's configuration decides about its stored sessions."""

    store: GuardedStore
    records: RecordKeys
    #: ``PERMANENT_SESSION_LIFETIME`` in seconds: how long a record stays after it was renewed.
    lifetime: int
    user_key: str
    #: Most sessions of one user; ``None`` for no limit.
    user_limit: int | None
    #: Whether a request whose store is away gets an empty session that is not written.
    is_readonly: bool
    #: The revocations; ``None`` if the store passes none on.
    feed: Feed | None


class Stores:
    """The stores of the apps that one interface serves. A store is opened once, and stays until
    ``SESSION_STORE`` or ``SESSION_STORE_TIMEOUT`` changes.
    """

    #: The protocol of a store that an app gives.
    _PROTOCOL = "SessionStore"
    #: Whether its methods are coroutines.
    _IS_ASYNC = False
    _GUARDED = GuardedStore
    _open_url: Callable[[str, float], Any] = staticmethod(open_store)

    def __init__(self) -> None:
        self._opened: AppMemory[tuple[object, GuardedStore, Feed | None]] = AppMemory()

    def resolve(self, app: Flask, keys: SessionKeys | None, lifetime: int) -> Storage | None:
        """The storage of ``app``; ``None`` if its sessions are in cookies, or it has no keys.

        :param lifetime: the idle lifetime of a session, in seconds.

        :raises ConfigurationError: if a setting cannot be used.
        """
        config = app.config
        configured = config.get("SESSION_STORE")
        timeout = _timeout(config)
        is_readonly = settings.choice(config, "SESSION_STORE_ERRORS", settings.STORE_ERRORS)
        user_key, user_limit = _user_key(config), _user_limit(config)
        if configured is None or keys is None:
            return None
        guarded, feed = self._open(app, configured, timeout)
        if user_limit is not None and not isinstance(guarded.store, OwnedSessions):
            raise ConfigurationError(
                "SESSION_USER_LIMIT needs a SESSION_STORE that finds the sessions of a user: one "
                "with the method owned()."
            )
        return Storage(
            store=guarded,
            records=RecordKeys(keys),
            lifetime=lifetime,
            user_key=user_key,
            user_limit=user_limit,
            is_readonly=is_readonly == "readonly",
            feed=feed,
        )

    def _open(
        self, app: Flask, configured: object, timeout: float
    ) -> tuple[GuardedStore, Feed | None]:
        last = self._opened.get(app)
        if last is not None and last[0] == (configured, timeout):
            return last[1:]
        if isinstance(configured, str):
            store = self._open_url(configured, timeout)
        elif self._is_store(configured):
            store = configured
        else:
            raise ConfigurationError(
                "SESSION_STORE must be the URL of a store, such as 'redis://localhost' or "
                "'sqlite:////var/lib/app/sessions.db', or an object with the methods of "
                f"flask_fernet.{self._PROTOCOL}, not {type(configured).__name__}."
            )
        feed = Feed() if isinstance(store, Revocations) else None
        opened = (self._GUARDED(store, timeout), feed)
        self._opened.set(app, ((configured, timeout), *opened))
        return opened

    def _is_store(self, configured: object) -> bool:
        if not isinstance(configured, SessionStore) or isinstance(configured, type):
            return False
        # Both protocols have the same methods. The attribute of an instance is not asked for.
        return iscoroutinefunction(getattr_static(configured, "read")) is self._IS_ASYNC


class AsyncStores(Stores):
    """The same for apps whose views are coroutines."""

    _PROTOCOL = "AsyncSessionStore"
    _IS_ASYNC = True
    _GUARDED = AsyncGuardedStore
    _open_url = staticmethod(open_async_store)


def _timeout(config: Mapping[str, Any]) -> float:
    value = config.get("SESSION_STORE_TIMEOUT")
    if value is None:
        return TIMEOUT
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and 0 < value <= 60):
        raise ConfigurationError(
            "SESSION_STORE_TIMEOUT must be a number of seconds above 0 and at most 60, not "
            f"{value if is_number else type(value).__name__}."
        )
    return float(value)


def _user_key(config: Mapping[str, Any]) -> str:
    value = config.get("SESSION_USER_KEY")
    if value is None:
        return USER_KEY
    if not isinstance(value, str) or not value:
        given = "empty" if value == "" else type(value).__name__
        raise ConfigurationError(
            f"SESSION_USER_KEY must be the name of a key in the session, not {given}."
        )
    return value


def _user_limit(config: Mapping[str, Any]) -> int | None:
    value = config.get("SESSION_USER_LIMIT")
    if value is None:
        return None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not (is_whole and value > 0):
        raise ConfigurationError(
            "SESSION_USER_LIMIT must be a whole number from 1 on, or not set, not "
            f"{value if is_whole else type(value).__name__}."
        )
    return int(value)
