"""Sessions: open + save, against Flask's signed cookie, a hand-written one and flask-enciphers."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import orjson

from benches.cycle import length, open_and_save
from benches.interfaces import apps
from benches.payloads import PAYLOADS
from flask_fernet._core import Codec

if TYPE_CHECKING:
    from benches.table import Table


def measure(table: Table) -> None:
    """One row per payload, and one with compression; the length of the cookies; then the codec
    alone, against orjson without tags or sorting.
    """
    for name, data in PAYLOADS.items():
        made = apps(data)
        sides = {side: open_and_save(app, data) for side, app in made.items()}
        table.measure(f"open + save, {name}", sides)
        compressing = {side: made[side] for side in ("ours", "signed")}
        compressing["ours"].config["SESSION_COMPRESSION"] = "always"
        sides = {side: open_and_save(app, data) for side, app in compressing.items()}
        table.measure(f"open + save, {name}, compressed", sides)
    for name, data in PAYLOADS.items():
        made = apps(data)
        lengths = {side: length(app, data) for side, app in made.items()}
        made["ours"].config["SESSION_COMPRESSION"] = "always"
        table.note(
            f"characters of a cookie: {name}", compressed=length(made["ours"], data), **lengths
        )
    codec = Codec()
    for name, data in PAYLOADS.items():
        try:
            json.dumps(data)
        except TypeError:
            continue
        text = codec.encode(data)
        assert text is not None
        table.measure(
            f"codec reads, {name}",
            {
                "ours": partial(codec.decode, text),
                "orjson": partial(orjson.loads, text),
            },
        )
        table.measure(
            f"codec writes, {name}",
            {
                "ours": partial(codec.encode, data),
                "orjson": partial(orjson.dumps, data),
            },
        )
