"""Quart apps behind a real ASGI server with two workers, and a real Redis."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, Request

from tests.ports import free_port
from tests.servers import RedisServer, answers, until

ROOT = Path(__file__).parents[2]


@contextmanager
def served(store: str | None) -> Iterator[str]:
    """The address of the app behind hypercorn."""
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if store is not None:
        environment["QUART_STORE"] = store
    command = [sys.executable, "-m", "hypercorn", "--workers", "2",
               "--bind", f"127.0.0.1:{port}", "tests.quart.served_app:app"]  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until(partial(answers, f"{url}/untouched"), 30)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def open_web_socket(url: str, path: str, cookie: str) -> socket.socket:
    """The connection of an open WebSocket."""
    _, _, port = url.rpartition(":")
    connection = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
    client = WSConnection(ConnectionType.CLIENT)
    headers = [(b"Cookie", cookie.encode())]
    connection.sendall(client.send(Request(f"127.0.0.1:{port}", path, extra_headers=headers)))
    events: list[Event] = []
    while not events:
        client.receive_data(connection.recv(4096))
        events += client.events()
    assert isinstance(events[0], AcceptConnection)
    return connection


def browser() -> OpenerDirector:
    """A client with cookies of its own."""
    return build_opener(HTTPCookieProcessor(CookieJar()))


@pytest.mark.parametrize("kind", ["cookies", "redis"])
def test_workers_of_a_server_share_sessions(kind: str, redis_server: RedisServer) -> None:
    with served(redis_server.url if kind == "redis" else None) as url:
        pids = set()

        def visit(user: int) -> None:
            client = browser()
            client.open(f"{url}/set/_user_id/{user}").read()
            for number in range(5):
                client.open(f"{url}/set/n{number}/{number}").read()
                pids.add(client.open(f"{url}/pid").read())
                assert client.open(f"{url}/get/_user_id").read() == f"'{user}'".encode()
            assert client.open(f"{url}/keys").read().count(b"'n") == 5

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(visit, range(24)))
        assert len(pids) == 2


@pytest.mark.parametrize(
    ("kind", "is_kept"), [("aborted", False), ("caught", True), ("revoked", None)]
)
def test_a_client_closes_its_web_socket(
    redis_server: RedisServer, kind: str, is_kept: bool | None
) -> None:
    with served(redis_server.url) as url:
        jar = CookieJar()
        client = build_opener(HTTPCookieProcessor(jar))
        client.open(f"{url}/set/before/1").read()
        (cookie,) = jar
        open_web_socket(url, f"/listen/{kind}", f"{cookie.name}={cookie.value}").close()

        def found() -> tuple[bytes, bytes]:
            return (
                client.open(f"{url}/get/before").read(),
                client.open(f"{url}/get/heard").read(),
            )

        if is_kept is None:
            until(lambda: found() == (b"None", b"None"), 10)
        elif is_kept:
            until(lambda: found() == (b"'1'", f"'{kind}'".encode()), 10)
        else:
            # Longer than the others take until they are seen.
            time.sleep(2)
            assert found() == (b"'1'", b"None")


def test_a_log_out_reaches_every_worker(redis_server: RedisServer) -> None:
    with served(redis_server.url) as url:
        clients = [browser() for _ in range(6)]
        for client in clients:
            client.open(f"{url}/set/_user_id/somebody").read()
        assert browser().open(f"{url}/log-out-everywhere/somebody").read() == b"6"
        for client in clients:
            for _ in range(4):
                assert client.open(f"{url}/get/_user_id").read() == b"None"
