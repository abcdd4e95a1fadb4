"""Stored sessions in real servers with several workers, over HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flask_fernet import KeyRing
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.oracles import maker_of
from tests.servers import MariaServer, PostgresServer, RedisServer, Server, running
from tests.system.serving import THREADS, Browser, Note, created, granian, gunicorn


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    """A server of each kind."""
    kinds: dict[str, type[Server]] = {
        "redis": RedisServer,
        "postgres": PostgresServer,
        "maria": MariaServer,
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(running(kind)) for name, kind in kinds.items()}


@pytest.fixture(params=["redis", "sqlite", "postgres", "maria"])
def url(request: pytest.FixtureRequest, servers: dict[str, Any], tmp_path: Path) -> str:
    """The URL of a store of each kind, with its tables."""
    if request.param == "sqlite":
        return created(f"sqlite:///{tmp_path}/sessions.db")
    return created(servers[request.param].url)


def in_threads(acts: list[Any]) -> None:
    errors: list[BaseException] = []

    def run(act: Any) -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_of_many_writers_to_one_session_none_loses_a_key(url: str) -> None:
    with gunicorn(f"{url}?timeout=10", *THREADS) as port:
        browser = Browser(port)
        assert browser.get("/login/1")[0] == 200

        def write(number: int) -> None:
            mine = Browser(port, browser.cookie)
            for key in range(12):
                assert mine.get(f"/set/k{number}_{key}/{key}")[0] == 200
            assert mine.set == []

        in_threads([lambda number=number: write(number) for number in range(16)])
        found = browser.session()
        assert sum(key.startswith("k") for key in found) == 192
        # A log-out in the middle of writing stays.
        slow = [Browser(port, browser.cookie) for _ in range(4)]
        begun = [lambda one=one: one.get("/set/slow/1?wait=0.5") for one in slow]

        def leave() -> None:
            time.sleep(0.2)
            browser.get("/logout")

        in_threads([*begun, leave])
        assert "_user_id" not in browser.session()
        assert all(one.set == [] for one in slow)
        for one in slow:
            assert "_user_id" not in one.session()


@pytest.mark.parametrize(
    "options",
    [
        ("--workers", "4", "--preload"),
        (*THREADS, "--preload"),
        ("--workers", "2", "--worker-class", "gevent"),
        None,
    ],
    ids=["sync", "gthread", "gevent", "granian"],
)
def test_no_worker_reads_the_answer_of_another(
    servers: dict[str, Any],
    record_property: Note,
    request: pytest.FixtureRequest,
    options: tuple[str, ...] | None,
) -> None:
    label = request.node.callspec.id
    wrong: list[tuple[int, Any]] = []
    for name in ("redis", "postgres"):
        url = created(servers[name].url)
        with granian(url) if options is None else gunicorn(url, *options) as port:
            browsers = [Browser(port) for _ in range(8)]

            def use(browser: Browser, mark: int) -> None:
                browser.get(f"/set/mark/{mark}")
                for _ in range(20):
                    if (seen := browser.session().get("mark")) != str(mark):
                        wrong.append((mark, seen))

            in_threads([lambda b=b, mark=mark: use(b, mark) for mark, b in enumerate(browsers)])
    record_property("observed", f"{label}: 320 reads, and {len(wrong)} of another's session")
    record_property("lost", len({mark for mark, _ in wrong}))
    assert wrong == []


def test_a_user_is_logged_out_everywhere_from_any_worker(url: str) -> None:
    with gunicorn(url, "--workers", "3") as port:
        browsers = [Browser(port) for _ in range(4)]
        for browser in browsers:
            browser.get("/login/7")
        other = Browser(port)
        other.get("/login/8")
        workers: set[int] = set()
        deadline = time.monotonic() + 30
        while len(workers) < 2:
            assert time.monotonic() < deadline
            in_threads([lambda b=b: workers.add(b.session()["pid"]) for b in browsers])
        assert Browser(port).get("/revoke/7") == (200, "4")
        for browser in browsers:
            assert "_user_id" not in browser.session()
        assert other.session()["_user_id"] == "8"
        again = Browser(port)
        again.get("/login/7")
        time.sleep(2.2)
        for _ in range(10):
            assert again.session()["_user_id"] == "7"


@pytest.mark.parametrize("kept", ["cookie", "redis"])
def test_a_revoked_key_opens_nothing_in_any_worker(
    servers: dict[str, Any], tmp_path: Path, kept: str
) -> None:
    path = tmp_path / "ring.json"
    ring = KeyRing(path)
    ring.create(new_ring(SESSIONS, time.time() - 100))
    url = servers["redis"].url if kept == "redis" else ""
    with gunicorn(url, "--workers", "4", STORED_APP_RING=str(path)) as port:
        browser = Browser(port)
        browser.get("/set/a/1")
        former = browser.cookie

        def ask_every_worker(cookie: str) -> list[dict[str, Any]]:
            """The sessions that a cookie opens, asked until four workers have answered."""
            asked: list[dict[str, Any]] = []
            workers: set[int] = set()
            deadline = time.monotonic() + 60
            while len(workers) < 4:
                assert time.monotonic() < deadline
                in_threads([lambda: asked.append(Browser(port, cookie).session())] * 8)
                workers = {session["pid"] for session in asked}
            return [{key: one[key] for key in one if key != "pid"} for one in asked]

        assert all(session == {"a": "1"} for session in ask_every_worker(former))
        (leaked,) = ring.load().keys
        ring.change(lambda old: old.revoked(leaked.id, time.time()))
        time.sleep(2)
        assert all(session == {} for session in ask_every_worker(former))
        # A new session opens everywhere, under the key that took over.
        browser = Browser(port)
        browser.get("/set/a/2")
        assert maker_of(browser.cookie.partition("=")[2], ring) == ring.load().keys[-1].id
        assert all(session == {"a": "2"} for session in ask_every_worker(browser.cookie))


def test_a_log_in_racing_another_request_stays(servers: dict[str, Any]) -> None:
    """Both come with one cookie, and the browser keeps whatever comes last."""
    with gunicorn(servers["redis"].url, *THREADS) as port:
        for _ in range(100):
            browser = Browser(port)
            browser.get("/set/a/1")
            other = Browser(port, browser.cookie)
            in_threads([partial(browser.get, "/login/1"), partial(other.get, "/set/b/2")])
            # What the other's response says of the cookie, it says after the log-in's.
            jar = other.set[-1].partition(";")[0] if other.set else browser.cookie
            assert Browser(port, jar).session().get("_user_id") == "1"


GREENLETS = """
import gevent.monkey
gevent.monkey.patch_all()
import sys, time, gevent
from flask_fernet.stores.urls import open_store
from flask_fernet.testing import new_record
store = open_store(sys.argv[1], 5.0)
other = open_store(sys.argv[1], 5.0)
most = 0
record = new_record()
assert store.create(b"a" * 32, record, int(time.time()) + 1000, None)
lost = 0
def read():
    global lost
    for _ in range(3):
        lost += store.read(b"a" * 32) != record
def watch():
    global most
    while True:
        (listed,) = other._transport.run([("CLIENT", "LIST")])
        most = max(most, len(listed.splitlines()) if isinstance(listed, bytes) else len(listed))
        gevent.sleep(0.005)
watcher = gevent.spawn(watch)
gevent.joinall([gevent.spawn(read) for _ in range(2000)], raise_error=True)
watcher.kill()
print(most, lost)
"""


def test_two_thousand_greenlets_share_a_few_connections(
    servers: dict[str, Any], record_property: Note
) -> None:
    url = f"{servers['redis'].url}?max_connections=20"
    done = subprocess.run(
        [sys.executable, "-c", GREENLETS, url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    connections, lost = map(int, done.stdout.split())
    record_property("observed", f"6,000 reads over {connections} connections, one to count them")
    record_property("lost", lost)
    assert lost == 0
    # One more is the watcher's.
    assert 1 < connections <= 22


@pytest.mark.parametrize("errors", ["raise", "readonly"])
def test_a_mute_store_holds_nobody_up_and_logs_nobody_out(
    servers: dict[str, Any], record_property: Note, errors: str
) -> None:
    server = servers["redis"]
    with gunicorn(server.url, "--workers", "1", "--threads", "8", STORED_APP_ERRORS=errors) as port:
        browser = Browser(port)
        browser.get("/login/1")
        browser.session()
        sent = len(browser.set)
        server.freeze()
        try:
            begun = time.monotonic()
            first = browser.get("/read")
            took = time.monotonic() - begun
            assert took < 1.4, took
            begun = time.monotonic()
            second = browser.get("/read")
            then = time.monotonic() - begun
            assert then < 0.5
            if errors == "raise":
                assert first[0] == second[0] == 503
                assert browser.get("/set/a/1")[0] == 503
            else:
                assert first[0] == second[0] == 200
                assert "_user_id" not in first[1]
                assert browser.get("/set/a/1")[0] == 200
            begun = time.monotonic()
            assert browser.get("/plain") == (200, "ok")
            assert time.monotonic() - begun < 0.5
            assert Browser(port).get("/revoke/1")[0] == 503
        finally:
            server.thaw()
        deadline = time.monotonic() + 3
        while not (back := '"_user_id"' in browser.get("/read")[1]):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.1)
        record_property(
            "observed",
            f"{errors}: {first[0]} after {took:.2f} s, then {second[0]} after {then:.2f} s",
        )
        record_property("lost", int(not back))
        assert browser.session()["_user_id"] == "1"
        assert "a" not in browser.session()
        assert len(browser.set) == sent


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_nothing_that_was_confirmed_is_lost_when_a_store_is_killed(
    servers: dict[str, Any], record_property: Note, name: str
) -> None:
    server = servers[name]
    with gunicorn(created(server.url), *THREADS) as port:
        browsers = [Browser(port) for _ in range(4)]
        for number, browser in enumerate(browsers):
            assert browser.get(f"/login/{number}")[0] == 200
        stop = threading.Event()
        confirmed = [0] * 4
        statuses: Counter[int] = Counter()

        def write(number: int) -> None:
            browser, value = browsers[number], 0
            while not stop.is_set():
                value += 1
                status, _ = browser.get(f"/set/value/{value}")
                statuses[status] += 1
                if status == 200:
                    confirmed[number] = value

        def kill() -> None:
            for _ in range(3):
                time.sleep(1)
                server.kill()
                server.start()
            time.sleep(2)
            stop.set()

        in_threads([*(lambda n=n: write(n) for n in range(4)), kill])
        time.sleep(1.2)
        lost = 0
        for number, browser in enumerate(browsers):
            found = browser.session()
            mine = found.get("_user_id") == str(number)
            lost += not mine or int(found.get("value", 0)) < confirmed[number]
            assert confirmed[number] > 0
            assert len(browser.set) == 1
    said = ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items()))
    record_property("observed", f"{name}, killed three times: {said}")
    record_property("lost", lost)
    assert lost == 0
    # After a view that changed its session, Flask makes a 500 of the error.
    assert statuses.keys() <= {200, 503, 500}
    assert statuses[200] > 0
