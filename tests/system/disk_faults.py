"""A disk that fills up and becomes read-only: ``python -m tests.system.disk_faults ring|sqlite``.

It must run in a mount namespace of its own (``unshare -rm``). Prints JSON: what was observed.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from flask_fernet import KeyRing, KeyRingError
from flask_fernet.keys.ring import SESSIONS, new_ring
from flask_fernet.stored.outage import PAUSE
from flask_fernet.stores import sql_urls
from flask_fernet.stores.urls import open_store
from tests.apps import add_views, encrypted_app, started_ring_app, write

#: Bytes of the disk.
SIZE = 1 << 20


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leaves not one free byte."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        yield
    ballast.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Closes the databases first: a disk with files that are open for writing stays writable."""
    for engine in list(sql_urls._engines):
        engine.dispose()
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    time.sleep(PAUSE)


FAULTS: dict[str, Callable[[Path], Any]] = {"full": filled, "read-only": read_only}


def ring(folder: Path) -> dict[str, Any]:
    """Whether the ring stays as it was, and what a rotation says, under each fault."""
    path = folder / "session-keys.json"
    keys = KeyRing(path)
    keys.create(new_ring(SESSIONS, time.time() - 100))
    app = started_ring_app(folder)
    client = app.test_client()
    write(client, number=1)
    before, found = path.read_bytes(), {}
    for name, fault in FAULTS.items():
        with fault(folder):
            try:
                keys.change(lambda old: old.rotated(time.time(), activate_in=1))
                said = "it was written"
            except KeyRingError as error:
                said = str(error).replace(str(folder), "")
            found[name] = {
                "said": said,
                "unchanged": path.read_bytes() == before,
                "opens": client.get("/read").text,
                "written": client.post("/write", json={"number": 1}).status_code,
                "started": started_ring_app(folder).test_client().get("/read").status_code,
            }
    left = sorted(one.name for one in folder.iterdir())
    keys.change(lambda old: old.rotated(time.time(), activate_in=1))
    return {**found, "left": left, "afterwards": path.read_bytes() != before}


def sqlite(folder: Path) -> dict[str, Any]:
    """Which sessions still open, and what writing answers, under each fault."""
    url = f"sqlite:///{folder}/sessions.db"
    store: Any = open_store(url, 1.0)
    store.create_tables()
    app = add_views(encrypted_app(SESSION_STORE=url))
    clients = [app.test_client() for _ in range(10)]
    for number, client in enumerate(clients):
        write(client, number=number)

    def grow(client: FlaskClient) -> int:
        return client.post("/write", json={"bulk": os.urandom(10_000).hex()}).status_code

    def numbers() -> list[Any]:
        """What each session says, or the status of the answer."""
        answers = [client.get("/read") for client in clients]
        return [
            ast.literal_eval(one.text)["number"] if one.status_code == 200 else one.status_code
            for one in answers
        ]

    found: dict[str, Any] = {}
    for name, fault in FAULTS.items():
        with fault(folder):
            found[name] = {
                "written": sorted(set(map(grow, clients))),
                "opens": numbers(),
                "new": grow(app.test_client()),
            }
    return {**found, "afterwards": sorted(set(map(grow, clients))), "opens": numbers()}


def main() -> None:
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        options = ["-t", "tmpfs", "-o", f"size={SIZE}", "none"]
        subprocess.run(["mount", *options, name], check=True)
        try:
            print(json.dumps({"ring": ring, "sqlite": sqlite}[sys.argv[1]](Path(name))))
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


if __name__ == "__main__":
    main()
