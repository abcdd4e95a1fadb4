"""The output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import click

from ..keys.ring import Ring
from ..times import to_text

#: A decorator of a command.
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option(
    "--json", "json_", is_flag=True, help="Print JSON, for programs."
)

quiet_option: Decorator = click.option(
    "--quiet", is_flag=True, help="Print nothing but errors, for scheduled jobs."
)


def print_ring(ring: Ring, json_: bool, quiet: bool = False) -> None:
    """Prints the ids, states and times of the keys of ``ring``, and never the keys themselves."""
    if quiet:
        return
    now = time.time()
    rows = [
        {
            "id": key.id,
            "state": ring.state(key, now).value,
            "created": _when(key.created),
            "activates": _when(key.activates),
            "retires": _when(ring.retires(key)),
            "expires": _when(ring.expires(key)),
            "revoked": _when(key.revoked),
        }
        for key in ring.keys
    ]
    if json_:
        shown = {
            "purpose": ring.purpose,
            "serial": ring.serial,
            "retention": ring.retention,
            "keys": rows,
        }
        click.echo(json.dumps(shown))
        return
    click.echo(
        f"The ring is for {ring.purpose}; its serial is {ring.serial}. Replaced keys open for "
        f"{ring.retention:,} seconds more."
    )
    headings = ("KEY", "STATE", "CREATED", "ACTIVATES", "RETIRES", "EXPIRES", "REVOKED")
    names = ("id", "state", "created", "activates", "retires", "expires", "revoked")
    print_table(headings, [tuple(row[name] or "" for name in names) for row in rows])


def _when(seconds: int | None) -> str | None:
    return None if seconds is None else to_text(seconds)


def print_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Prints ``rows`` below ``headings``, each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
