"""URLs of stores."""

from __future__ import annotations

from ..errors import ConfigurationError
from .memory import MemoryStore
from .protocol import SessionStore
from .redis_urls import is_redis, open_redis

#: Kinds of databases, as SQLAlchemy names them.
_SQL = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql")
_KNOWN = "redis://, rediss://, valkey://, sqlite:///, postgresql://, mysql:// or memory://"


def open_store(url: str, timeout: float) -> SessionStore:
    """The store at a URL. Nothing is connected yet.

    :param timeout: seconds that an operation may take.
    :raises ConfigurationError: if the URL cannot be used, or a package is missing. The message
        never shows the URL, which may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigurationError(f"SESSION_STORE must be a URL that begins with {_KNOWN}.")
    if scheme == "memory":
        if rest:
            raise ConfigurationError("SESSION_STORE must be 'memory://' alone.")
        return MemoryStore()
    if is_redis(scheme):
        return open_redis(url, timeout)
    if scheme.partition("+")[0] in _SQL:
        return _open_sql(url, timeout)
    raise ConfigurationError(f"SESSION_STORE must begin with {_KNOWN}.")


def _open_sql(url: str, timeout: float) -> SessionStore:
    try:
        # SQLAlchemy is imported by those alone who use it.
        from .sql_urls import open_sql
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sqlalchemy":
            raise
        raise ConfigurationError(
            "SESSION_STORE needs SQLAlchemy: pip install 'flask-fernet[sql]'."
        ) from None
    return open_sql(url, timeout)
