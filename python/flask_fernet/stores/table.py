"""The tables of stored sessions, for the command line and for Alembic.

Keys are bytes and times are integers, so that no collation and no time zone can go wrong.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table
from sqlalchemy.dialects.mysql import MEDIUMBLOB, VARBINARY
from sqlalchemy.types import TypeEngine

#: Begins the name of every table, unless another prefix is chosen.
PREFIX = "flask_fernet_"


class Tables(NamedTuple):
    """The tables of one store."""

    sessions: Table
    revocations: Table


def _bytes(length: int) -> TypeEngine[bytes]:
    return LargeBinary(length).with_variant(VARBINARY(length), "mysql", "mariadb")


def tables(metadata: MetaData, prefix: str = PREFIX, schema: str | None = None) -> Tables:
    """The tables, made once for each ``metadata``.

    :param metadata: that of an app's own tables, for Alembic; or a new one.
    :param prefix: begins the name of every table.
    """
    names = [f"{prefix}{name}" for name in ("sessions", "revocations")]
    keys = [name if schema is None else f"{schema}.{name}" for name in names]
    if keys[0] not in metadata.tables:
        Table(
            names[0],
            metadata,
            Column("address", _bytes(32), primary_key=True),
            Column("version", _bytes(24), nullable=False),
            Column(
                "record",
                # MySQL's BLOB ends at 64 KB.
                LargeBinary().with_variant(MEDIUMBLOB(), "mysql", "mariadb"),
                nullable=False,
            ),
            # Seconds since the epoch.
            Column("expires", BigInteger(), nullable=False, index=True),
            Column("owner", _bytes(16), index=True),
            schema=schema,
            sqlite_with_rowid=False,
            # Room for a new version of a row beside the old one.
            postgresql_with={"fillfactor": 80},
        )
        Table(
            names[1],
            metadata,
            Column("subject", _bytes(24), primary_key=True),
            Column("changed", BigInteger(), nullable=False, index=True),
            Column("expires", BigInteger(), nullable=False),
            schema=schema,
            sqlite_with_rowid=False,
        )
    return Tables(*(metadata.tables[key] for key in keys))


#: The tables with their default names, as the target of Alembic.
metadata: MetaData = MetaData()
tables(metadata)
