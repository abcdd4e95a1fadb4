"""Server: requests per second behind Granian and gunicorn, each with one worker, by wrk."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, session

from benches.interfaces import DoesNothing, app, apps
from benches.payloads import LOGIN
from tests.ports import free_port, wait_for_server

if TYPE_CHECKING:
    from benches.table import Table

ROUNDS = 3
ROOT = Path(__file__).parents[1]


def create_app(side: str) -> Flask:
    """An app that reads and writes its session, for gunicorn."""
    if side == "nothing":
        made = app()
        made.session_interface = DoesNothing(LOGIN)
    else:
        made = apps(LOGIN)[side]

    @made.get("/login")
    def login() -> str:
        session.update(LOGIN)
        return ""

    @made.get("/")
    def view() -> str:
        session["count"] = session.get("count", 0) + 1
        return "hello"

    return made


def command(kind: str, side: str, port: int) -> list[str]:
    """The command that starts a server with one worker."""
    if kind == "granian":
        return [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "1",
                "--blocking-threads", "1", "--host", "127.0.0.1", "--port", str(port),
                "--no-access-log", "--log-level", "error", "--factory",
                f"benches.server:{FACTORIES[side].__name__}"]  # fmt: skip
    return [sys.executable, "-m", "gunicorn", "--workers", "1", "--bind", f"127.0.0.1:{port}",
            "--log-level", "error", f"benches.server:create_app({side!r})"]  # fmt: skip


def ours() -> Flask:
    return create_app("ours")


def signed() -> Flask:
    return create_app("signed")


def by_hand() -> Flask:
    return create_app("hand-written")


def nothing() -> Flask:
    return create_app("nothing")


FACTORIES = {"ours": ours, "signed": signed, "hand-written": by_hand, "nothing": nothing}


@contextmanager
def server(kind: str, side: str) -> Iterator[int]:
    """A server, once it answers."""
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command(kind, side, port), env=environment)
    try:
        wait_for_server(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def cookie(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/login")
    return (connection.getresponse().headers["Set-Cookie"] or "").partition(";")[0]


def requests_a_second(port: int, header: str, seconds: int) -> float:
    load = ["wrk", "-t1", "-c4", f"-d{seconds}s", "-H", f"Cookie: {header}",
               f"http://127.0.0.1:{port}/"]  # fmt: skip
    done = subprocess.run(load, check=True, capture_output=True, text=True)
    if "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found is not None
    return float(found.group(1))


def measure(table: Table) -> None:
    """Two rows, if wrk is installed."""
    if shutil.which("wrk") is None:
        print("wrk is not installed: left out.")
        return
    seconds = 1 if table.rounds < 10 else 4
    for kind in ("granian", "gunicorn"):
        best = dict.fromkeys(FACTORIES, 0.0)
        for _ in range(ROUNDS):
            for side in FACTORIES:
                with server(kind, side) as port:
                    header = cookie(port)
                    requests_a_second(port, header, 1)
                    best[side] = max(best[side], requests_a_second(port, header, seconds))
        table.put(f"one request behind {kind}", {side: 1 / rate for side, rate in best.items()})
        table.note(f"requests a second behind {kind}", **best)
