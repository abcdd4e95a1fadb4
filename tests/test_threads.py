"""What threads share: policies, caches, random bytes, rings, stores and objects of the app.

These tests run on every Python. With a global lock they switch threads as often as it permits; they
mean most on a free-threaded build.
"""

from __future__ import annotations

import base64
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Request, session

from flask_fernet import EncryptedSessionInterface, Fernet, KeyRing, MultiFernet, new_ring
from flask_fernet.stores.protocol import Replaced, version_of
from flask_fernet.stores.urls import open_store
from flask_fernet.testing import new_record
from tests.apps import encrypted_app
from tests.servers import RedisServer

#: Threads of each kind of work, and how often each of them does it.
THREADS = 8
CYCLES = int(os.environ.get("THREAD_CYCLES", "100"))


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(
    work: Callable[[int, int], object],
    disturb: Callable[[int], object] = lambda _: None,
    *,
    cycles: int = CYCLES,
) -> None:
    """Calls ``work(thread, cycle)`` in all threads at once, and ``disturb`` in another one for as
    long as they run.

    :raises BaseException: the first error of a thread. A panic in Rust is one.
    """
    start = threading.Barrier(THREADS + 1)
    errors: list[BaseException] = []
    running = threading.Event()
    running.set()

    def repeat(thread: int) -> None:
        try:
            start.wait()
            for cycle in range(cycles):
                if errors:
                    return
                work(thread, cycle)
        except BaseException as error:
            errors.append(error)

    def keep_disturbing() -> None:
        try:
            start.wait()
            number = 0
            while running.is_set():
                disturb(number)
                number += 1
        except BaseException as error:
            errors.append(error)

    disturbing = threading.Thread(target=keep_disturbing)
    workers = [threading.Thread(target=repeat, args=(one,)) for one in range(THREADS)]
    for one in (disturbing, *workers):
        one.start()
    for one in workers:
        one.join()
    running.clear()
    disturbing.join()
    if errors:
        raise errors[0]


def saved(app: Flask, data: dict[str, Any]) -> str:
    """The cookie with these contents."""
    interface = EncryptedSessionInterface.of(app)
    response = app.response_class()
    with app.test_request_context():
        opened = interface.session_class()
        # Without copying what is in it: another thread may be changing that.
        opened.update(data)
        interface.save_session(app, opened, response)
    header: str = response.headers["Set-Cookie"]
    return header.partition(";")[0]


def opened(app: Flask, cookie: str) -> dict[str, Any]:
    """The contents of a cookie."""
    with app.test_request_context(headers={"Cookie": cookie}):
        return dict(session)


def keep_sessions(
    app: Flask, change: Callable[[int], object], *, cycles: int = CYCLES, pause: float = 0
) -> None:
    """Saves and opens sessions in all threads while ``change`` changes what they share. Asserts
    that each comes back, and that none is refused.

    :param pause: seconds between one cycle of a thread and the next.
    """

    def work(thread: int, cycle: int) -> None:
        data = {"thread": thread, "cycle": cycle}
        assert opened(app, saved(app, data)) == data
        if pause:
            time.sleep(pause)

    together(work, change, cycles=cycles)
    assert sum(EncryptedSessionInterface.of(app).rejections.values()) == 0


def test_a_dict_of_several_sessions_is_written_as_it_was_at_one_moment() -> None:
    """One dict, such as a cache of the app, is in the sessions of many threads and changes."""
    app = encrypted_app()
    names = [f"name {number}" for number in range(40)]
    shared: dict[str, Any] = dict.fromkeys(names, 0)

    def change(number: int) -> None:
        # Each call is one change for all other threads.
        shared.update(dict.fromkeys(names, number))
        if number % 3 == 0:
            shared.clear()
        if number % 3 == 1:
            shared.update({f"more {one}": number for one in range(200)})

    def work(_: int, __: int) -> None:
        found = opened(app, saved(app, {"shared": shared}))["shared"]
        assert len({value for key, value in found.items() if key.startswith("name")}) <= 1
        assert len([key for key in found if key.startswith("name")]) in (0, len(names))
        assert len([key for key in found if key.startswith("more")]) in (0, 200)

    app.config["MAX_COOKIE_SIZE"] = 0
    app.config["SESSION_COMPRESSION"] = "always"
    together(work, change)
    assert EncryptedSessionInterface.of(app).rejections["unauthentic"] == 0


def test_a_list_and_a_deep_dict_change_while_they_are_written() -> None:
    app = encrypted_app(MAX_COOKIE_SIZE=0, SESSION_COMPRESSION="always")
    cart: list[Any] = []
    deep: dict[str, Any] = {"a": {"b": {"c": dict.fromkeys("xyz", 0)}}}

    def change(number: int) -> None:
        cart.append({"id": number})
        if len(cart) > 20:
            cart.clear()
        deep["a"]["b"]["c"].update(dict.fromkeys("xyz", number))
        deep["a"]["b"].pop("d", None)
        deep["a"]["b"]["d"] = [number] * (number % 5)

    def work(_: int, __: int) -> None:
        found = opened(app, saved(app, {"cart": cart, "deep": deep}))
        assert all(set(item) == {"id"} for item in found["cart"])
        inner = found["deep"]["a"]["b"]
        assert set(inner["c"]) == set("xyz")
        assert len(set(inner["c"].values())) == 1
        assert len(set(inner.get("d", []))) <= 1

    together(work, change)


def test_settings_change_while_sessions_are_opened_and_saved() -> None:
    app = encrypted_app(SESSION_ENCRYPTION_ACCEPT=["fernet", "xaes-256-gcm"])

    def change(number: int) -> None:
        app.config["SESSION_ENCRYPTION_FORMAT"] = ("fernet", "xaes-256-gcm")[number % 2]
        for one in range(50):
            app.config[f"OTHER_{number}_{one}"] = one
        for one in range(50):
            del app.config[f"OTHER_{number}_{one}"]

    keep_sessions(app, change)


def test_keys_rotate_while_sessions_are_opened_and_saved() -> None:
    keys = [Fernet.generate_key().decode() for _ in range(3)]
    app = encrypted_app(SESSION_ENCRYPTION_KEYS=keys)

    def change(number: int) -> None:
        at = number % 3
        app.config["SESSION_ENCRYPTION_KEYS"] = [*keys[at:], *keys[:at]]

    keep_sessions(app, change)


def test_each_thread_reads_and_writes_keys_of_its_own() -> None:
    """They share the codec's caches."""
    app = encrypted_app()

    def work(thread: int, cycle: int) -> None:
        data = {f"{thread} {cycle % 7} {one}": {"n": one, f"k{cycle % 3}": [one]} for one in "abc"}
        data["ä" * (cycle % 5 + 1)] = {}
        assert opened(app, saved(app, data)) == data

    together(work)


def test_apps_and_classes_come_and_go() -> None:
    """They share an interface, and with it its policies and what it knows of classes."""
    interface = EncryptedSessionInterface()
    kept = encrypted_app(interface)
    making = threading.Lock()

    def work(thread: int, cycle: int) -> None:
        if cycle % 10 == 0:
            # Werkzeug compiles the rules of an app, which fails in threads at once with Python
            # 3.11 (https://github.com/python/cpython/issues/106905).
            with making:
                app = encrypted_app(interface, SECRET_KEY=f"the secret number {thread} {cycle}")
            app.request_class = type("OwnRequest", (Request,), {"number": cycle})
        else:
            app = kept
        cookie = saved(app, {"cycle": cycle})
        assert opened(app, cookie) == {"cycle": cycle}

    together(work)


@pytest.mark.parametrize(
    ("kind", "iv"), [("fernet", slice(9, 25)), ("xaes-256-gcm", slice(13, 37))]
)
def test_no_iv_comes_twice(kind: str, iv: slice) -> None:
    app = encrypted_app(SESSION_ENCRYPTION_FORMAT=kind)
    seen: list[list[str]] = [[] for _ in range(THREADS)]

    def work(thread: int, _: int) -> None:
        seen[thread].append(saved(app, {"a": 1}))

    together(work)
    tokens = [base64.urlsafe_b64decode(cookie.split("=", 1)[1]) for one in seen for cookie in one]
    assert len({token[iv] for token in tokens}) == THREADS * CYCLES


def test_tokens_of_shared_objects() -> None:
    keys = [Fernet(Fernet.generate_key()) for _ in range(3)]
    multi = MultiFernet(keys)

    def work(thread: int, cycle: int) -> None:
        text = f"{thread} {cycle}".encode() * (cycle % 50)
        token = keys[cycle % 3].encrypt(text)
        assert multi.decrypt(token) == text
        assert keys[0].decrypt(multi.rotate(token)) == text

    together(work)


def test_a_ring_changes_while_sessions_are_opened_and_saved(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    ring = KeyRing(path)
    ring.create(new_ring("sessions", time.time() - 100))
    app = encrypted_app(SESSION_ENCRYPTION_KEYRING=str(path), SECRET_KEY=None)
    EncryptedSessionInterface.of(app).init_app(app)

    def change(number: int) -> None:
        if number < 20:
            ring.change(lambda one: one.rotated(time.time(), activate_in=0, force=True))
        time.sleep(0.02)

    keep_sessions(app, change, cycles=200, pause=0.002)
    assert len(ring.load().keys) > 5


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_a_store_is_used_by_many_threads(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each thread has sessions of its own, and all of them count in one that they share."""
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        url = server.url
    else:
        url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/sessions.db"
    store: Any = open_store(url, 20)
    if kind == "sqlite":
        store.create_tables()
    shared, later = os.urandom(32), int(time.time()) + 3600

    def numbered(number: int) -> bytes:
        return new_record()[:-8] + number.to_bytes(8, "big")

    def number_in(record: bytes) -> int:
        return int.from_bytes(record[-8:], "big")

    store.create(shared, numbered(0), later, None)

    def work(_: int, __: int) -> None:
        address, record = os.urandom(32), new_record()
        assert store.create(address, record, later, None)
        assert store.read(address) == record
        before = store.read(shared)
        while True:
            after = numbered(number_in(before) + 1)
            result = store.replace(shared, version_of(before), after, later)
            if result is Replaced.DONE:
                break
            before = result

    together(work, cycles=25)
    assert number_in(store.read(shared)) == THREADS * 25
