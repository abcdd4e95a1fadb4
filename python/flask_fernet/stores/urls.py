"""URLs of stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..errors import ConfigurationError
from .memory import AsyncMemoryStore, MemoryStore
from .protocol import AsyncSessionStore, SessionStore
from .redis_urls import is_redis, open_async_redis, open_redis

#: Kinds of databases, as SQLAlchemy names them.
_SQL = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql")
_KNOWN = "redis://, rediss://, valkey://, sqlite:///, postgresql://, mysql:// or memory://"


def open_store(url: str, timeout: float) -> SessionStore:
    """The store at a URL. Nothing is connected yet.

    :param timeout: seconds that an operation may take.
    :raises ConfigurationError: if the URL cannot be used, or a package is missing. The message
        never shows the URL, which may hold a password.
    """
    kind = _kind(url)
    if kind == "memory":
        return MemoryStore()
    if kind == "redis":
        return open_redis(url, timeout)
    return _sql_openers()[0](url, timeout)


def open_async_store(url: str, timeout: float) -> AsyncSessionStore:
    """The same for an app whose views are coroutines."""
    kind = _kind(url)
    if kind == "memory":
        return AsyncMemoryStore()
    if kind == "redis":
        return open_async_redis(url, timeout)
    return _sql_openers()[1](url, timeout)


def _kind(url: str) -> Literal["memory", "redis", "sql"]:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigurationError(f"SESSION_STORE must be a URL that begins with {_KNOWN}.")
    if scheme == "memory":
        if rest:
            raise ConfigurationError("SESSION_STORE must be 'memory://' alone.")
        return "memory"
    if is_redis(scheme):
        return "redis"
    if scheme.partition("+")[0] in _SQL:
        return "sql"
    raise ConfigurationError(f"SESSION_STORE must begin with {_KNOWN}.")


def _sql_openers() -> tuple[
    Callable[[str, float], SessionStore], Callable[[str, float], AsyncSessionStore]
]:
    """What opens the URLs of SQL databases. SQLAlchemy is imported by those alone who use it."""
    try:
        from .sql_urls import open_async_sql, open_sql
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sqlalchemy":
            raise
        raise ConfigurationError(
            "SESSION_STORE needs SQLAlchemy: pip install 'flask-fernet[sql]'."
        ) from None
    return open_sql, open_async_sql
