"""Faults of what surrounds an app: killed workers, disks, clocks, memory, hostile bytes. The table
of docs/evidence.md has what each observes: ``python -m evidence faults``.
"""

from __future__ import annotations

import ast
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_fernet import KeyRing, KeyRingError
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.apps import (
    RING_NAME,
    MakeApp,
    add_views,
    encrypted_app,
    quiet,
    started_ring_app,
    write,
)
from tests.clock import Clock
from tests.ports import free_port
from tests.servers import RedisServer, program, running, unavailable
from tests.storing import with_cookie
from tests.system.serving import ROOT, THREADS, Browser, Note, created, gunicorn, lost, serving


class TestKilledWorkers:
    @pytest.mark.parametrize("kept", ["cookie", "redis"])
    def test_no_session_is_lost(
        self, redis_server: RedisServer, record_property: Note, kept: str
    ) -> None:
        """Workers are killed with SIGKILL five times a second while eight users count."""
        url = "" if kept == "cookie" else redis_server.url
        stop, ready = threading.Event(), threading.Barrier(9, timeout=60)
        lost: list[str] = []
        dropped = requests = kills = 0

        def count(number: int, port: int) -> None:
            nonlocal dropped, requests
            browser, confirmed, attempted = Browser(port), 0, 0
            while browser.session().get("mark") != "1":
                browser.get("/set/mark/1")
            ready.wait()
            while not stop.is_set():
                attempted += 1
                requests += 1
                try:
                    status, text = browser.get(f"/set/value/{attempted}")
                    assert status == 200, text
                    confirmed = attempted
                except (OSError, http.client.HTTPException):
                    dropped += 1
            session = browser.session()
            found = int(session.get("value", 0))
            if session.get("mark") != "1":
                lost.append(f"{number}: it began again")
            elif not confirmed <= found <= attempted:
                lost.append(f"{number}: {found}, not {confirmed} to {attempted}")

        with gunicorn(url, *THREADS) as port:
            users = [threading.Thread(target=count, args=(n, port)) for n in range(8)]
            for user in users:
                user.start()
            ready.wait()
            for _ in range(25):
                time.sleep(0.2)
                with contextlib.suppress(OSError):
                    os.kill(Browser(port).session()["pid"], signal.SIGKILL)
                    kills += 1
            time.sleep(1)
            stop.set()
            for user in users:
                user.join()
        record_property("observed", f"{kills} kills, {requests} requests, {dropped} dropped")
        record_property("lost", len(lost))
        assert lost == []
        assert kills > 15
        assert requests > 50


def in_a_mount_namespace(subject: str) -> dict[str, Any]:
    """What ``disk_faults`` observes."""
    unshare = [program("unshare"), "-rm"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        # No package can be installed for it.
        unavailable("this machine permits no mounts")
    command = [*unshare, sys.executable, "-m", "tests.system.disk_faults", subject]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TestDisk:
    def test_a_ring_stays_as_it_was(self, record_property: Note) -> None:
        found = in_a_mount_namespace("ring")
        for fault, reason in (("full", "No space left"), ("read-only", "Read-only file system")):
            said = found[fault].pop("said")
            assert reason in said
            record_property("observed", f"{fault}: {said}")
            record_property("lost", int(found[fault]["opens"] != "{'number': 1}"))
            assert found[fault] == {
                "unchanged": True, "opens": "{'number': 1}", "written": 200, "started": 200,
            }  # fmt: skip
        # No half of a ring is left, and a rotation is made once there is room.
        assert found["left"] == ["session-keys.json", "session-keys.json.lock"]
        assert found["afterwards"]

    def test_sessions_in_sqlite_stay_as_they_were(self, record_property: Note) -> None:
        found = in_a_mount_namespace("sqlite")
        record_property("lost", len(set(range(10)).difference(found["opens"])))
        # Reading goes on. What could not be written is the error that every store raises then.
        assert found["full"] == {"written": [500], "opens": list(range(10)), "new": 500}
        # SQLite cannot open a database in WAL mode on a disk that is read-only.
        assert found["read-only"] == {"written": [503], "opens": [503] * 10, "new": 500}
        assert found["afterwards"] == [200]
        assert found["opens"] == list(range(10))
        record_property("observed", "full: sessions open, writing is a 500; read-only: 503")


class TestClock:
    @pytest.fixture
    def ring(self, clock: Clock, tmp_path: Path) -> KeyRing:
        ring = KeyRing(tmp_path / RING_NAME)
        ring.create(new_ring(SESSIONS, clock.now - 100))
        return ring

    @pytest.fixture(params=["cookie", "ring", "memory", "sqlite"])
    def app(
        self, make_app: MakeApp, ring: KeyRing, tmp_path: Path, request: pytest.FixtureRequest
    ) -> Flask:
        config: dict[str, object] = {"PERMANENT_SESSION_LIFETIME": 7 * 86400}
        if request.param == "ring":
            config["SESSION_ENCRYPTION_KEYRING"] = str(tmp_path / RING_NAME)
        elif request.param == "memory":
            config["SESSION_STORE"] = "memory://"
        elif request.param == "sqlite":
            config["SESSION_STORE"] = created(f"sqlite:///{tmp_path}/sessions.db")
        return add_views(make_app(**config))

    def test_a_day_ahead_and_back(self, app: Flask, clock: Clock, record_property: Note) -> None:
        kept, ahead = app.test_client(), app.test_client()
        write(kept, number=1)
        clock.now += 86400
        assert kept.get("/read").text == "{'number': 1}"
        write(ahead, number=2)
        clock.now -= 86400
        assert kept.get("/read").text == "{'number': 1}"
        refused = ahead.get("/read")
        assert refused.text == "{}"
        assert refused.headers.getlist("Set-Cookie") == []
        # The browser keeps the cookie, and it opens once the clock has come to its time.
        clock.now += 86400
        record_property("observed", "a session of the day ahead is empty for that day, and is kept")
        record_property("lost", lost(kept, 1) + lost(ahead, 2))
        assert (lost(kept, 1), lost(ahead, 2)) == (0, 0)

    def test_a_day_ahead_ends_what_lives_for_an_hour(self, app: Flask, clock: Clock) -> None:
        """As an hour without a request does."""
        app.config["PERMANENT_SESSION_LIFETIME"] = 3600
        client = app.test_client()
        write(client, number=1)
        clock.now += 86400
        assert client.get("/read").text == "{}"

    def test_a_day_back_and_ahead(self, app: Flask, clock: Clock, record_property: Note) -> None:
        client = app.test_client()
        write(client, number=1)
        clock.now -= 86400
        refused = client.get("/read")
        assert refused.text == "{}"
        assert refused.headers.getlist("Set-Cookie") == []
        clock.now += 86400
        record_property("observed", "a session of the right day is empty meanwhile, and is kept")
        record_property("lost", lost(client, 1))
        assert lost(client, 1) == 0

    def test_a_ring_rotated_a_day_ahead(
        self, ring: KeyRing, clock: Clock, tmp_path: Path, record_property: Note
    ) -> None:
        """Each worker reads the ring when it starts."""

        def open_in_a_new_worker(cookie: str) -> FlaskClient:
            app = started_ring_app(tmp_path, PERMANENT_SESSION_LIFETIME=7 * 86400)
            return with_cookie(app, cookie)

        before = write(started_ring_app(tmp_path).test_client(), number=1)
        clock.now += 86400
        ring.change(lambda ring: ring.rotated(clock.now, activate_in=0))
        ahead = write(started_ring_app(tmp_path).test_client(), number=2)
        assert open_in_a_new_worker(before).get("/read").text == "{'number': 1}"
        clock.now -= 86400
        # The new key is not used until its day, and the former one is the primary key again.
        meanwhile = write(open_in_a_new_worker(before), number=3)
        assert open_in_a_new_worker(meanwhile).get("/read").text == "{'number': 3}"
        with pytest.raises(KeyRingError, match="is still staged"):
            ring.change(lambda ring: ring.rotated(clock.now))
        clock.now += 86400
        gone = sum(
            lost(open_in_a_new_worker(cookie), number)
            for cookie, number in ((before, 1), (ahead, 2), (meanwhile, 3))
        )
        record_property("observed", "the former key is used for that day; rotating is refused")
        record_property("lost", gone)
        assert gone == 0


MEMORY = """
import resource, sys
from tests.apps import add_views, encrypted_app
app = add_views(encrypted_app(MAX_COOKIE_SIZE=0))
client = app.test_client()
client.post("/write", json={"number": 1})
cookie = client.get_cookie("session").value
print(cookie, flush=True)
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20),) * 2)
from flask_fernet import Fernet
fernet = Fernet(Fernet.generate_key())
errors, size = 0, 1 << 20
while size < 1 << 30:
    try:
        fernet.decrypt(fernet.encrypt(bytes(size)))
    except MemoryError:
        errors += 1
    size *= 2
print(errors, client.get("/read").text, flush=True)
"""


def test_memory_that_is_used_up_is_a_memory_error(record_property: Note) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False, cwd=ROOT
    )
    cookie, *said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr[-2000:]
    errors, _, session = said[0].partition(" ")
    record_property("observed", f"{errors} MemoryErrors of 10 tokens, and the session opens")
    assert int(errors) > 0
    assert session == "{'number': 1}"
    # Another worker opens the session of one that had no memory left.
    client = add_views(encrypted_app()).test_client()
    client.set_cookie("session", cookie)
    record_property("lost", lost(client, 1))
    assert lost(client, 1) == 0


MEMORY_OF_SESSIONS = """
import resource
from collections import Counter
from flask import session
from tests.apps import add_views, encrypted_app

def limit(more):
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (-1 if more is None else used + more, -1))

found = Counter()
for config in ({"MAX_COOKIE_SIZE": 0}, {"SESSION_STORE": "memory://"}):
    app = add_views(encrypted_app(PROPAGATE_EXCEPTIONS=True, **config))
    app.config["SESSION_COMPRESSION"] = "always"

    @app.get("/big/<int:size>/<letter>")
    def big(size, letter):
        session["text"] = letter * size
        session["items"] = list(range(size >> 6))
        return "fine"

    @app.get("/kept")
    def kept():
        return str(len(session.get("text", "")) in (10, size))

    client = app.test_client()
    for size in (1 << 10, 150_000, 700_000, 100 << 20):
        for letter in ("a", chr(0xE9)):
            for more in (0, *(1 << 18 << step >> 1 for step in range(8)), 3 << 19, 3 << 20):
                client.get("/big/10/a")
                limit(more)
                try:
                    found[client.get(f"/big/{size}/{letter}").text] += 1
                    client.get("/read")
                    found["read"] += 1
                except Exception as error:
                    found[type(error).__name__] += 1
                limit(None)
                found["lost"] += client.get("/kept").text != "True"
print(dict(found))
"""


def test_sessions_for_which_there_is_no_memory_are_memory_errors(record_property: Note) -> None:
    """At no size and no limit does the process end, as Rust does where memory is missing."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_SESSIONS], capture_output=True, text=True, check=False,
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = ast.literal_eval(done.stdout)
    record_property("lost", found["lost"])
    assert found.pop("lost") == 0
    assert found.keys() <= {"fine", "read", "MemoryError", "SessionTooLarge"}
    assert found["MemoryError"] > 20
    assert found["read"] > 20
    record_property(
        "observed", f"{found['read']} written and read, {found['MemoryError']} MemoryErrors"
    )


def answered(port: int, lines: bytes) -> tuple[str, dict[str, Any]]:
    """The status of the answer to bytes that are sent as they are, empty if there is none, and the
    session that it shows.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        head = b"GET /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        with contextlib.suppress(OSError):
            connection.sendall(head + lines + b"\r\n\r\n")
        with contextlib.suppress(OSError):
            while part := connection.recv(1 << 16):
                answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.decode().partition(" ")[2][:3]
    session = json.loads(body[body.find(b"{") : body.rfind(b"}") + 1]) if status == "200" else {}
    session.pop("pid", None)
    return status, session


HEADERS = {
    "10,000 cookies": b"Cookie: " + b"; ".join(b"name%d=value" % n for n in range(10_000)),
    "10,000 of ours": b"Cookie: " + b"; ".join([b"session=gAAAAABqsTeYAQ"] * 10_000),
    "a megabyte": b"Cookie: session=" + b"A" * (1 << 20),
    "a megabyte of quotes": b'Cookie: session="' + b'\\"' * (1 << 19),
    "a megabyte of semicolons": b"Cookie: " + b";" * (1 << 20),
    "90 headers": b"\r\n".join([b"Cookie: session=gAAAAABqsTeYAQ"] * 90),
    "no name": b"Cookie: =gAAAAABqsTeYAQ",
    "NUL": b"Cookie: session=gAAAA\0AABqsTeYAQ",
    "control characters": b"Cookie: session=" + bytes(range(1, 32)),
    "a bare CR": b"Cookie: session=gAAAA\rAABqsTeYAQ",
    "bytes that are no text": b"Cookie: session=" + bytes(range(128, 256)),
    "a folded line": b"Cookie: session=gAAAA\r\n AABqsTeYAQ",
    "no colon": b"Cookie session=gAAAAABqsTeYAQ",
}


@pytest.mark.parametrize("kind", ["gunicorn", "granian"])
def test_hostile_headers_change_nothing(kind: str, record_property: Note) -> None:
    """Over raw sockets, to servers that let long headers pass."""
    port = free_port()
    app = "tests.system.stored_app:create_app"
    command = {
        "gunicorn": ["-m", "gunicorn", f"--bind=127.0.0.1:{port}", "--log-level=critical",
                     "--limit-request-field_size=4000000", f"{app}()"],
        "granian": ["-m", "granian", "--interface=wsgi", "--factory", f"--port={port}",
                    "--http1-buffer-size=4000000", "--log-level=critical", app],
    }[kind]  # fmt: skip
    with serving([sys.executable, *command], port, STORED_APP_STORE=""):
        browser = Browser(port)
        browser.get("/set/number/1")
        times: dict[str, float] = {}
        statuses: dict[str, str] = {}
        gone = 0
        for _ in range(3):
            for name, header in HEADERS.items():
                began = time.monotonic()
                status, session = answered(port, header)
                assert session == {}
                assert statuses.setdefault(name, status) == status
                times[name] = max(times.get(name, 0.0), time.monotonic() - began)
            gone += browser.session().get("number") != "1"
    # It is an empty session, or the server itself refuses the header.
    assert set(statuses.values()) <= {"200", "400", "431", ""}, statuses
    assert {statuses["10,000 cookies"], statuses["a megabyte"]} == {"200"}
    slowest = max(times.values())
    counts = Counter(status or "closed" for status in statuses.values())
    said = ", ".join(f"{count} times {status}" for status, count in sorted(counts.items()))
    record_property("observed", f"{kind}: {said}; the slowest in {slowest:.2f} s")
    record_property("lost", gone)
    assert gone == 0
    assert slowest < 5


def test_a_store_that_is_full_or_a_replica_is_still_read(record_property: Note) -> None:
    app = add_views(encrypted_app())
    with running(RedisServer) as server, quiet(app):
        app.config["SESSION_STORE"] = server.url
        client = app.test_client()
        write(client, number=1)
        gone = 0
        for break_it, mend_it in (
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        ):
            server.client().execute_command(*break_it)
            assert client.post("/write", json={"number": 2}).status_code == 500
            # At once: no pause of the breaker.
            gone += lost(client, 1)
            server.client().execute_command(*mend_it)
        assert client.post("/write", json={"number": 2}).status_code == 200
    record_property("observed", "out of memory, read-only: sessions open, writing is a 500")
    record_property("lost", gone)
    assert gone == 0


#: Daemon threads that are mostly in Python code which native code has called.
SHUTDOWN = """
import threading, time
from uuid import uuid4
from flask import session
from flask_fernet import EncryptedSession, Fernet, MultiFernet
from markupsafe import Markup
from tests.apps import add_views, encrypted_app

def long():
    sum(1 for _ in range(1000))

class Own(EncryptedSession):
    def __init__(self, *arguments):
        long()
        super().__init__(*arguments)

class Placed(EncryptedSession):
    @property
    def __dict__(self):
        long()
        return {}

class Slow(Fernet):
    def encrypt_at_time(self, *arguments):
        long()
        return super().encrypt_at_time(*arguments)

apps = [add_views(encrypted_app()), add_views(encrypted_app(SESSION_STORE="memory://")),
        add_views(encrypted_app()), add_views(encrypted_app(SESSION_ABSOLUTE_LIFETIME=1000))]
apps[2].session_interface.session_class = Own
apps[3].session_interface.session_class = Placed
for app in apps:
    @app.get("/tags")
    def tags():
        session["tags"] = [uuid4(), Markup("x")] * 20
        return ""

slow = Slow(Fernet.generate_key())
several = MultiFernet([slow, Fernet(Fernet.generate_key())])
spaced = b" " + slow.encrypt(b"x" * 100_000)

def browse(app):
    client = app.test_client()
    while True:
        client.post("/write", json={"text": "x" * 100})
        client.get("/tags")
        client.get("/read")

def seal():
    while True:
        slow.decrypt(several.encrypt(b"x" * 100_000))
        MultiFernet(slow for _ in range(3) if not long())
        slow.encrypt(b"x")
        slow.decrypt(spaced)

for app in apps * 3:
    threading.Thread(target=browse, args=(app,), daemon=True).start()
for _ in range(3):
    threading.Thread(target=seal, daemon=True).start()
time.sleep(0.3)
kept = apps[0].test_client()
kept.post("/write", json={"number": 1})
print(kept.get_cookie("session").value, flush=True)
"""


UNWOUND = """
import ctypes, threading
from flask_fernet import Fernet

class Ending(Fernet):
    def encrypt_at_time(self, *arguments):
        ctypes.PyDLL(None).pthread_exit(None)

threading.Thread(target=Ending(Fernet.generate_key()).encrypt, args=(b"x",)).start()
"""


def test_a_stack_that_somebody_else_unwinds_ends_the_process() -> None:
    """It holds the interpreter, so to wait would stop all threads for ever."""
    command = [sys.executable, "-c", UNWOUND]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGABRT


def test_an_interpreter_ends_while_daemon_threads_use_sessions(record_property: Note) -> None:
    rounds = 10
    gone = 0
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", SHUTDOWN], capture_output=True, text=True, check=False,
            cwd=ROOT, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        client = add_views(encrypted_app()).test_client()
        client.set_cookie("session", done.stdout.strip())
        gone += lost(client, 1)
    record_property("observed", f"{rounds} ends with 15 threads, each with status 0 and no message")
    record_property("lost", gone)
    assert gone == 0
