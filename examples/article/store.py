"""Runs the demo's server with its sessions in a store:
``python -m examples.article.store STORE COMMAND…``.

STORE is ``sqlite``, ``redis``, the URL of a store, or nothing for sessions in cookies. The command
finds the URL in ``ARTICLE_STORE``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .keys import INSTANCE

#: Where Redis usually listens.
REDIS_PORT = 6379


@contextmanager
def opened(store: str) -> Iterator[str]:
    """The URL of a store that answers while the context lasts.

    :raises SystemExit: with one line that says what to do, if there is none.
    """
    if store == "redis":
        with _redis() as url:
            yield url
    elif store == "sqlite":
        url = f"sqlite:///{INSTANCE.resolve() / 'sessions.db'}"
        _create_tables(url)
        yield url
    elif not store or "://" in store:
        if store.startswith(("sqlite", "postgresql", "mysql", "mariadb")):
            _create_tables(store)
        yield store
    else:
        raise SystemExit("STORE must be sqlite, redis or the URL of a store.")


def _create_tables(url: str) -> None:
    command = [sys.executable, "-m", "flask", "--app", "examples.article.app", "fernet", "store"]
    subprocess.run([*command, "create"], env={**os.environ, "ARTICLE_STORE": url}, check=True)  # noqa: S603


@contextmanager
def _redis() -> Iterator[str]:
    """The Redis that runs on this machine, or one of our own until the context ends."""
    if _listens(REDIS_PORT):
        yield f"redis://127.0.0.1:{REDIS_PORT}"
        return
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit(
            "Redis is not installed. On Debian: apt-get install redis-server. Or name a server "
            "that runs elsewhere: make demo STORE=redis://host:6379"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            deadline = time.monotonic() + 10
            while not _listens(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("Redis did not start.")
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def run(store: str, command: list[str]) -> int:
    """Runs a command with a store, and returns its exit status."""
    with opened(store) as url:
        process = subprocess.Popen(command, env={**os.environ, "ARTICLE_STORE": url})  # noqa: S603

        def stop(number: int, _: FrameType | None) -> None:
            process.send_signal(signal.SIGTERM)

        # The server gets a Ctrl-C of a terminal by itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, stop)
        return process.wait()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
