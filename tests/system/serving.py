"""An app with stored sessions in a real server, and a browser for it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from flask_fernet.stores.urls import open_store
from tests.ports import free_port, wait_for_server

ROOT = Path(__file__).parents[2]

#: The fixture ``record_property``. Called with a name and a value for the table of faults:
#: "observed", and the number of "lost" sessions.
Note = Callable[[str, object], None]


class Browser:
    """A minimal browser. It opens one connection per request, so that any worker may answer."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self.port = port
        self.cookie = cookie
        #: Every ``Set-Cookie`` that came.
        self.set: list[str] = []

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers={"Cookie": self.cookie} if self.cookie else {})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        for header in response.headers.get_all("Set-Cookie") or []:
            self.set.append(header)
            self.cookie = header.partition(";")[0]
        return response.status, text

    def session(self) -> dict[str, Any]:
        status, text = self.get("/read")
        assert status == 200, text
        found: dict[str, Any] = json.loads(text)
        return found


@contextmanager
def gunicorn(url: str, *options: str, **environment: str) -> Iterator[int]:
    """Runs the app, and gives its port."""
    app = "tests.system.stored_app:create_app()"
    bind = ["-m", "gunicorn", "--bind", f"127.0.0.1:{(port := free_port())}"]
    command = [sys.executable, *bind, "--log-level", "error", *options, app]
    with serving(command, port, STORED_APP_STORE=url, **environment):
        yield port


@contextmanager
def granian(url: str, *options: str, **environment: str) -> Iterator[int]:
    """Runs the app in a server whose workers are not forked by Python, and gives its port."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--factory", "--workers",
               "2", "--blocking-threads", "4", "--port", str(port), "--log-level", "error",
               *options, "tests.system.stored_app:create_app"]  # fmt: skip
    with serving(command, port, STORED_APP_STORE=url, **environment):
        yield port


@contextmanager
def serving(command: list[str], port: int, **environment: str) -> Iterator[None]:
    """Runs a server until the context ends."""
    # A worker of granian can miss the signal that ends it, if it has only just started.
    environment = {**os.environ, "GRANIAN_WORKERS_KILL_TIMEOUT": "10", **environment}
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        wait_for_server(port, process)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


THREADS = ("--workers", "4", "--threads", "4", "--worker-class", "gthread")


def created(url: str) -> str:
    """The URL of a store whose tables exist."""
    store: Any = open_store(url, 10.0)
    if hasattr(store, "create_tables"):
        store.create_tables()
    return url


def lost(client: FlaskClient, number: int, within: float = 0.0) -> int:
    """1 if the session of a client does not have its number within so many seconds, else 0."""
    deadline = time.monotonic() + within
    while client.get("/read").text != f"{{'number': {number}}}":
        if time.monotonic() >= deadline:
            return 1
        time.sleep(0.1)
    return 0
