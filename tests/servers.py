"""Real servers for the tests of stores: Debian's, each on a free port with a temporary folder."""

from __future__ import annotations

import contextlib
import getpass
import glob
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

from tests.ports import free_port


def unavailable(reason: str) -> NoReturn:
    """Skips a test on a contributor's machine. In continuous integration it fails, because nobody
    would notice a skip.
    """
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str, *elsewhere: str) -> str:
    """The path of a server's program, without which a test is :func:`unavailable`."""
    found = shutil.which(name)
    for pattern in elsewhere:
        found = found or next(iter(sorted(glob.glob(pattern), reverse=True)), None)
    if found is None:
        unavailable(f"{name} is not installed")
    return found


class Server:
    """A server with a folder of its own."""

    #: The user that runs it, if the tests are run by root.
    user: str | None = None

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="flask-fernet-"))
        self.process: subprocess.Popen[bytes] | None = None
        if self.user is not None and self.as_user():
            shutil.chown(self.folder, self.user, self.user)

    def as_user(self) -> dict[str, Any]:
        """The arguments that run a process as the server's user."""
        if self.user is None or getpass.getuser() != "root":
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def command(self) -> list[str]:
        """The command that starts it."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts it and waits until it answers."""
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            self.command(), stdout=log, stderr=log, cwd=self.folder, **self.as_user()
        )
        log.close()
        until(self.answers, 60)

    def run(self, *command: str, text: str | None = None) -> str:
        """The output of a command that is run as the server's user."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            input=text,
            **self.as_user(),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Makes it mute: connections are accepted, and nothing is said."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends :meth:`freeze`."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it without warning."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """Ends it and removes its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running(kind: type[AnyServer]) -> Iterator[AnyServer]:
    """A server that runs while the context lasts. Who stops it starts it again."""
    server = kind()
    try:
        server.start()
        yield server
    finally:
        server.close()


def until(happens: Callable[[], object], seconds: float) -> None:
    """Waits until something happens."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Whether an HTTP server answers at an address."""
    try:
        return bool(urllib.request.urlopen(url, timeout=2).read())
    except OSError:
        return False


AnyServer = TypeVar("AnyServer", bound=Server)


class RedisServer(Server):
    """Redis, with persistence by its log."""

    options: tuple[str, ...] = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")

    def command(self) -> list[str]:
        return [
            program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self.folder), "--unixsocket", str(self.folder / "socket"),
            *self.options,
        ]  # fmt: skip

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> Any:
        """A client of its own, for what a test does behind the store's back."""
        import redis

        return redis.Redis(port=self.port, **options)

    def answers(self) -> bool:
        import redis

        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class Proxy:
    """Stands between a store and a server, and passes bytes on. Subclasses change the answers.

    :param port: the server's.
    :param url: the server's.
    """

    def __init__(self, port: int, url: str) -> None:
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        #: The URL of the server behind it.
        self.url = url.replace(f":{port}", f":{self.listener.getsockname()[1]}")
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Serves each client in a thread of its own."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """Serves one client, until an answer ends that."""
        server = socket.create_connection(("127.0.0.1", self.port))
        asked = b""
        with contextlib.suppress(OSError), client, server:
            while True:
                for one in select.select([client, server], [], [])[0]:
                    received = one.recv(1 << 20)
                    if not received:
                        return
                    if one is client:
                        asked = received
                        server.sendall(asked)
                    elif not self.answer(client, asked, received):
                        return

    def answer(self, client: socket.socket, asked: bytes, answer: bytes) -> bool:
        """Answers a client. Returns whether its connection stays open."""
        client.sendall(answer)
        return True


class PostgresServer(Server):
    """PostgreSQL, as it is by default."""

    user = "postgres"

    def __init__(self) -> None:
        super().__init__()
        self.data = self.folder / "data"
        self.run(
            self._program("initdb"), "-D", str(self.data), "-A", "trust", "-U", "test",
            "--no-locale", "-E", "UTF8",
        )  # fmt: skip

    @staticmethod
    def _program(name: str) -> str:
        return program(name, f"/usr/lib/postgresql/*/bin/{name}")

    def command(self) -> list[str]:
        return [
            self._program("postgres"), "-D", str(self.data), "-p", str(self.port),
            "-k", str(self.folder), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200",
        ]  # fmt: skip

    @property
    def url(self) -> str:
        """Its URL."""
        return f"postgresql+psycopg://test@127.0.0.1:{self.port}/postgres"

    def answers(self) -> bool:
        done = subprocess.run(
            [self._program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def kill(self) -> None:
        """Ends it without warning, with all its processes."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None


class MariaServer(Server):
    """MariaDB, as it is by default."""

    user = "mysql"

    def __init__(self) -> None:
        super().__init__()
        self.data = self.folder / "data"
        self.run(
            program("mariadb-install-db"), f"--datadir={self.data}", "--auth-root-authentication-"
            "method=normal", "--skip-test-db", *(["--user=mysql"] if self.as_user() else []),
        )  # fmt: skip

    def command(self) -> list[str]:
        return [
            program("mariadbd", "/usr/sbin/mariadbd"), "--no-defaults", f"--datadir={self.data}",
            f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder}/socket",
        ]  # fmt: skip

    @property
    def url(self) -> str:
        """Its URL."""
        return f"mysql+pymysql://test@127.0.0.1:{self.port}/test"

    def start(self) -> None:
        """Starts it, with a database for tests."""
        super().start()
        self.run(
            program("mariadb"), f"--socket={self.folder}/socket", "-u", "root",
            text="CREATE DATABASE IF NOT EXISTS test;"
            "CREATE USER IF NOT EXISTS test@'127.0.0.1'; GRANT ALL ON test.* TO test@'127.0.0.1';",
        )  # fmt: skip

    def answers(self) -> bool:
        done = subprocess.run(
            [program("mariadb-admin"), f"--socket={self.folder}/socket", "-u", "root", "ping"],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0
