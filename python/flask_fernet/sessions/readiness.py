"""Whether an app's store is ready when the app starts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

import click

from ..errors import ConfigurationError, StoreUnavailable
from ..log import log_event

#: Whether an app may load whose store has no tables: the command that makes them loads the app.
_allow_missing_tables: ContextVar[bool] = ContextVar("allow_missing_tables", default=False)


@runtime_checkable
class HasTables(Protocol):
    """A store with tables that a command makes."""

    def create_tables(self) -> list[str]:
        """Creates the tables that are missing. Returns their names."""

    def require_tables(self) -> None:
        """Checks that the tables are there.

        :raises ConfigurationError: if one is missing.
        :raises StoreUnavailable: if the database does not answer.
        """


@contextlib.contextmanager
def missing_tables_allowed() -> Iterator[None]:
    """Within this context an app loads even if its store has no tables."""
    token = _allow_missing_tables.set(True)
    try:
        yield
    finally:
        _allow_missing_tables.reset(token)


def require_ready(store: Any) -> None:
    """Checks a store when its app starts. A store that does not answer is no error: the app serves
    what needs no session.

    :raises ConfigurationError: if a table is missing. In a command other than ``flask run`` that is
        logged: it may be the one that makes the tables.
    """
    if not isinstance(store, HasTables) or _allow_missing_tables.get():
        return
    try:
        store.require_tables()
    except StoreUnavailable as error:
        log_event(logging.WARNING, "store.not_ready", "%s", error, problem=error.problem)
    except ConfigurationError as error:
        command = click.get_current_context(silent=True)
        if command is None or command.info_name == "run":
            raise
        log_event(logging.WARNING, "store.not_ready", "%s", error, problem=str(error))
