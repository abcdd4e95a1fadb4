"""The statements of a store in a SQL database, compiled once for its dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .table import Tables


class Statement:
    """A statement, compiled once for one kind of database."""

    def __init__(self, statement: Any, dialect: Any) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text: str = str(compiled)
        #: The names of the values in their order; ``None`` if they are passed by name.
        self._order: Sequence[str] | None = compiled.positiontup

    def arguments(self, values: Mapping[str, Any]) -> Any:
        """The values as the driver takes them."""
        if self._order is None:
            return values
        return tuple(values[name] for name in self._order)


class Statements:
    """The statements on some tables.

    :param dialect: that of the database.
    """

    def __init__(self, tables: Tables, dialect: Any) -> None:
        self._tables = tables
        self._dialect = dialect
        self._compiled: dict[str, Statement] = {}

    def get(self, name: str) -> Statement:
        """The statement with a name. Names that begin with ``replace`` may end in ``, renew``, to
        set the expiry, and in ``, own``, to set the owner.
        """
        found = self._compiled.get(name)
        if found is None:
            written = _written(name, *self._tables)
            found = self._compiled[name] = Statement(written, self._dialect)
        return found


def _written(name: str, table: sa.Table, revoked: sa.Table) -> Any:
    bind = sa.bindparam
    here = (table.c.address == bind("address")) & (table.c.expires > bind("now"))
    if name == "read":
        return sa.select(table.c.record).where(here)
    if name == "create":
        return sa.insert(table)
    if name == "delete":
        return sa.delete(table).where(here)
    if name == "owned":
        found = (table.c.owner == bind("owner")) & (table.c.expires > bind("now"))
        return sa.select(table.c.address, table.c.expires).where(found)
    if name == "revoke":
        return sa.insert(revoked)
    if name == "revoke again":
        again: dict[str, Any] = {"changed": bind("changed"), "expires": bind("expires")}
        same = (revoked.c.subject == bind("subject")) & (revoked.c.changed == bind("former"))
        return sa.update(revoked).values(again).where(same)
    if name == "last revocation":
        return sa.select(revoked.c.changed).where(revoked.c.subject == bind("subject"))
    if name == "forget":
        return sa.delete(revoked).where(revoked.c.expires <= bind("now"))
    if name == "revoked":
        since = revoked.c.changed >= bind("moment")
        return sa.select(revoked.c.subject, revoked.c.changed).where(since)
    values: dict[str, Any] = {"version": bind("version"), "record": bind("record")}
    if "renew" in name:
        values["expires"] = bind("expires")
    if "own" in name:
        values["owner"] = bind("owner")
    unchanged = (
        (table.c.address == bind("at"))
        & (table.c.version == bind("known"))
        & (table.c.expires > bind("now"))
    )
    return sa.update(table).values(values).where(unchanged)
