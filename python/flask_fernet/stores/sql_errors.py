"""What the errors of database drivers mean."""

from __future__ import annotations

#: What a database says when two statements are in each other's way: SQLSTATE of PostgreSQL, and
#: the numbers of MySQL and MariaDB.
CONFLICTS: set[object] = {"40001", "40P01", 1213, 1205}
#: What it says of a table that is missing.
MISSING: set[object] = {"42P01", 1146}
#: What it says if it has no room, and if it only reads. It answers questions all the same.
FULL: set[object] = {"53100", 1021, 1114}
READ_ONLY: set[object] = {"25006", 1290, 1792, 1836}


class NoFile(OSError):
    """The file of a SQLite database does not exist. A connection would make one."""


class Exists(Exception):
    """A row with this key exists."""


class Conflict(Exception):
    """Another statement is in the way of this one, which had no effect."""


def codes_of(error: BaseException) -> set[object]:
    """The SQLSTATE of an error, and MySQL's number for it."""
    found = [getattr(error, "sqlstate", None), getattr(error, "pgcode", None), *error.args[:1]]
    return {code for code in found[:2] if code} | {code for code in found[2:] if type(code) is int}


def leaves_connection_usable(error: BaseException, database: str) -> bool:
    """Whether a connection is as it was before an error: the database has answered, with a code.

    Without a code the driver may still be waiting for the answer. psycopg does so, and refuses
    every further command on that connection. A connection to SQLite waits for nothing.

    :param error: of the driver.
    :param database: the kind of the database, as SQLAlchemy names it.
    """
    return database == "sqlite" or bool(codes_of(error))


def is_timeout(error: BaseException) -> bool:
    """Whether the database did not answer in time."""
    name = type(error).__name__
    text = str(error)
    return (
        isinstance(error, TimeoutError)
        or name in ("ConnectionTimeout", "_WaitTimeout")
        or "timed out" in text
        or "timeout expired" in text
    )
