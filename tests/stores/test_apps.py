"""Apps with their sessions in real stores: what they ask, and what a dump of the store shows."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session
from flask_login import LoginManager, UserMixin, login_user

from flask_fernet import EncryptedSessionInterface, Fernet
from flask_fernet.stores.urls import open_store
from tests.servers import PostgresServer, RedisServer
from tests.storing import add_storing_views, cookie_of, storing_app


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


class Monitor:
    """Records the commands that a server gets."""

    def __init__(self, server: RedisServer) -> None:
        self.client = server.client()
        self.seen: list[str] = []

    def __enter__(self) -> Monitor:
        self.monitor = self.client.monitor()
        self.monitor.__enter__()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()
        return self

    def listen(self) -> None:
        for command in self.monitor.listen():
            words = command["command"]
            if words == "PING end":
                return
            if command["client_type"] != "lua":
                self.seen.append(words)

    def __exit__(self, *_: object) -> None:
        self.client.execute_command("PING", "end")
        self.thread.join(5)
        self.monitor.__exit__(None, None, None)
        self.client.close()

    def words(self) -> list[str]:
        """The names of the commands, without those of connecting, scripts and the feed."""
        ignored = ("CLIENT", "HELLO", "SELECT", "AUTH", "PING")
        return [
            words.partition(" ")[0]
            for words in self.seen
            if not words.startswith(ignored) and "revoked" not in words
        ]


def flask_login_app(url: str) -> Flask:
    app = storing_app(url)

    class User(UserMixin):  # type: ignore[misc]
        def __init__(self, id: str) -> None:
            self.id = id

    LoginManager(app).user_loader(User)

    @app.get("/in/<user>")
    def log_in(user: str) -> str:
        login_user(User(user))
        return ""

    return app


def test_an_untouched_view_asks_nothing_also_with_flask_login(
    redis_url: str, redis_server: RedisServer
) -> None:
    client = flask_login_app(redis_url).test_client()
    client.get("/in/1")
    client.post("/write", json={"a": 1})
    for _ in range(2):
        # Sends the scripts.
        client.post("/write", json={"a": "x" * 5000})
        client.post("/write", json={"a": 1})
    with Monitor(redis_server) as monitor:
        for _ in range(50):
            assert client.get("/nothing").text == "nothing"
    assert monitor.words() == []
    acts: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: client.get("/read"), ["GET"]),
        (lambda: client.post("/write", json={"a": 2}), ["GET", "EVALSHA"]),
        (lambda: client.post("/write", json={"a": 2}), ["GET"]),
        (lambda: client.post("/write", json={"a": "x" * 5000}), ["GET", "SET", "EVALSHA"]),
    ]
    for act, expected in acts:
        with Monitor(redis_server) as monitor:
            act()
        assert monitor.words() == expected


def test_visitors_who_write_nothing_leave_nothing(
    redis_url: str, redis_server: RedisServer
) -> None:
    app = storing_app(redis_url)
    for _ in range(200):
        response = app.test_client().get("/read")
        assert "Set-Cookie" not in response.headers
    with redis_server.client() as client:
        assert client.keys("*") == []


def spellings(value: bytes) -> Iterator[bytes]:
    """The forms in which a value could be found in a dump."""
    yield value
    yield value.hex().encode()
    yield base64.b64encode(value).rstrip(b"=")[:-1]
    yield base64.urlsafe_b64encode(value).rstrip(b"=")[:-1]
    yield value.decode("latin-1").encode("utf-16-le")
    yield hashlib.sha256(value).digest()
    yield hashlib.sha256(value).hexdigest().encode()


@pytest.mark.parametrize("kind", ["redis", "sqlite", "postgres"])
def test_a_dump_shows_neither_ids_nor_users_nor_data_nor_keys(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = created(kind, request, tmp_path)
    key = Fernet.generate_key()
    app = storing_app(url, "native", EncryptedSessionInterface(keys=[key]))
    client = app.test_client()
    client.get("/login/a-user-of-the-app")
    client.post("/write", json={"secret": "what nobody may read"})
    interface: Any = app.session_interface
    keys = interface._policy(app).keys
    payload = keys.open(cookie_of(client), 2**40, 2**41, "session")[0]
    both = base64.urlsafe_b64decode(json.loads(payload)["flask-fernet:stored"] + "==")
    dump = dumped(kind, request, tmp_path)
    assert len(dump) > 200
    # What is searched would be found: the address is there.
    address = interface._policy(app).storage.records.address(both[:32])
    found = [base64.urlsafe_b64encode(address)[:43], address, address.hex().encode()]
    assert any(one in dump for one in found)
    for secret in (
        both[:32],
        both,
        b"a-user-of-the-app",
        b"what nobody may read",
        b"_user_id",
        base64.urlsafe_b64decode(key),
        key,
        (cookie_of(client) or "").encode(),
    ):
        for spelling in spellings(secret):
            assert spelling not in dump, (secret, spelling)


def created(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a store of a kind, with its tables."""
    if kind == "sqlite":
        url = f"sqlite:///{folder}/sessions.db"
    else:
        url = request.getfixturevalue(f"{kind}_server").url
    store: Any = open_store(url, 5.0)
    if kind != "redis":
        store.create_tables()
    return url


def dumped(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    if kind == "sqlite":
        return b"".join(path.read_bytes() for path in sorted(tmp_path.glob("sessions.db*")))
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        file = tmp_path / "dump.rdb"
        server.run("redis-cli", "-p", str(server.port), "CONFIG", "SET", "rdbcompression", "no")
        server.run("redis-cli", "-p", str(server.port), "--rdb", str(file))
        return file.read_bytes()
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    return postgres.run(
        postgres._program("pg_dump"), "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "test",
        "postgres",
    ).encode()  # fmt: skip


@pytest.mark.parametrize("kind", ["redis", "sqlite", "postgres", "maria"])
def test_a_session_of_200_kilobytes_is_kept(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = created(kind, request, tmp_path)
    client = storing_app(url).test_client()
    for length in (200_000, 300_000):
        assert client.post("/write", json={"a": "x" * length}).status_code == 200
        assert client.get("/read").text == f"{{'a': {'x' * length!r}}}"


def test_the_articles_functions_work_over_a_store(redis_url: str) -> None:
    from examples.article import article

    app = add_storing_views(Flask(__name__))
    app.secret_key = "the secret of the article's test"
    app.config["SESSION_STORE"] = redis_url
    EncryptedSessionInterface(app)

    @app.get("/update")
    def update() -> str:
        article.update_session(1, "ada", 99)  # type: ignore[no-untyped-call]
        return ""

    @app.get("/decrypted")
    def decrypted() -> str:
        token = session[article.SESSION_ID_KEY]
        return str(article.decrypt_data(token))  # type: ignore[no-untyped-call]

    client = app.test_client()
    client.get("/update")
    assert client.get("/decrypted").text == "1_ada_99"
