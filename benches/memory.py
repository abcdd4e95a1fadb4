"""Memory: a million sessions opened and saved."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

from benches.cycle import open_and_save
from benches.interfaces import app
from benches.payloads import LOGIN
from flask_fernet import EncryptedSessionInterface

if TYPE_CHECKING:
    from benches.table import Table


def resident() -> int:
    """The resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def measure(table: Table) -> None:
    """The resident bytes before and after. A quick run has fewer sessions."""
    made = app()
    made.session_interface = EncryptedSessionInterface()
    call = open_and_save(made, LOGIN)
    cycles = 40_000 * table.rounds
    for _ in range(10_000):
        call()
    gc.collect()
    before = resident()
    for _ in range(cycles):
        call()
    gc.collect()
    table.note("open + save, Flask-Login", cycles=cycles, kB_grown=(resident() - before) / 1024)
