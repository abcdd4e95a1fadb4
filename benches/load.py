"""Sessions under load while a key ring is rotated, pruned and a key revoked.

``python -m benches.load [seconds]``: gunicorn with four worker processes, many browsers that each
count in their session, others that come back after a while with the cookie that they had, and a
ring that changes every few seconds. Prints figures, and exits with 1 if a request failed, a session
was lost that should not have been, or one opened that should not have, and if there was not one of
each kind to see it by.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from pathlib import Path

from flask import Flask

from benches.counting import add_views
from flask_fernet import EncryptedSessionInterface, Fernet, InvalidToken, KeyRing
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
BROWSERS = 8
#: Seconds between two changes of the ring; new keys are staged for half of it.
EVERY = 3.0
#: Seconds within which every worker drops a revoked key.
REVOKED_AFTER = 2.0
#: Seconds for which replaced keys open, and seconds around the end of that time in which they are
#: not used.
RETENTION, MARGIN = 8, 2.0
#: Requests with one cookie that must be refused, so that each process gets one.
EACH = 8


def create_app() -> Flask:
    """The app, for gunicorn."""
    app = Flask("load", instance_path=os.environ["LOAD_INSTANCE"])
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    EncryptedSessionInterface(app)
    return add_views(app)


class Browser(threading.Thread):
    """A user who counts in the session, and knows the right count."""

    def __init__(self, load: Load) -> None:
        super().__init__(daemon=True)
        self.load = load
        self.cookie = ""
        self.count = 0

    def run(self) -> None:
        while not self.load.stop.is_set():
            try:
                self.turn()
            except (OSError, http.client.HTTPException, ValueError):
                self.load.seen["failed requests"] += 1

    def turn(self) -> None:
        token = self.cookie.partition("=")[2]
        sent = time.monotonic()
        status, text, cookie = self.load.get("/", self.cookie)
        self.load.seen["requests"] += 1
        if status != 200:
            self.load.seen["failed requests"] += 1
            return
        if cookie:
            self.cookie = cookie
            self.load.keep(cookie, text)
        if int(text) != self.count + 1:
            # The count began again, which only a revoked key may cause.
            expected = self.load.is_revoked(token)
            self.load.seen["ended by revocation" if expected else "lost sessions"] += 1
        elif (at := self.load.revoked_at(token)) is not None and sent > at + REVOKED_AFTER:
            self.load.seen["opened under a revoked key"] += 1
        self.count = int(text)


class Idler(threading.Thread):
    """A user who comes back with cookies that others had earlier."""

    def __init__(self, load: Load) -> None:
        super().__init__(daemon=True)
        self.load = load

    def run(self) -> None:
        while not self.load.stop.wait(0.05):
            idle = list(self.load.idle)
            for cookie, count in random.sample(idle, min(len(idle), 5)):
                try:
                    self.turn(cookie, count)
                except (OSError, http.client.HTTPException):
                    self.load.seen["failed requests"] += 1

    def turn(self, cookie: str, count: str) -> None:
        what = self.load.expected(cookie.partition("=")[2])
        if what is None:
            return
        for _ in range(1 if what == "retired" else EACH):
            status, text, _ = self.load.get("/read", cookie)
            self.load.seen["failed requests"] += status != 200
            if what == "retired" and text != count and self.load.expected_still(cookie, what):
                self.load.seen["lost sessions"] += 1
            elif what != "retired" and text != "0":
                self.load.seen[f"opened under a key that was {what}"] += 1
        self.load.seen[f"came back under a key that was {what}"] += 1


class Load:
    """One run."""

    def __init__(self, folder: Path) -> None:
        self.ring = KeyRing(folder / "ring.json")
        self.ring.create(new_ring(SESSIONS, time.time() - 100, retention=RETENTION))
        self.environment = {
            **os.environ, "LOAD_INSTANCE": str(folder), "PYTHONPATH": str(ROOT)
        }  # fmt: skip
        self.port = free_port()
        self.stop = threading.Event()
        self.seen: Counter[str] = Counter()
        self.revoked: dict[str, tuple[float, Fernet]] = {}
        #: Old cookies with their counts, and every key that the ring ever had.
        self.idle: deque[tuple[str, str]] = deque(maxlen=400)
        self.kept = 0.0
        self.keys: dict[str, Fernet] = {}
        #: The keys that the last pruning removed.
        self.pruned: set[str] = set()

    def get(self, path: str, cookie: str) -> tuple[int, str, str]:
        """The status, text and new cookie of a request on its own connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text, (response.headers["Set-Cookie"] or "").partition(";")[0]

    def revoked_at(self, token: str) -> float | None:
        """When the key of a token was revoked; ``None`` if it was not."""
        return next((at for at, key in list(self.revoked.values()) if made(key, token)), None)

    def keep(self, cookie: str, count: str) -> None:
        """Keeps some of the cookies for users who come back later."""
        if time.monotonic() > self.kept + 0.1:
            self.kept = time.monotonic()
            self.idle.append((cookie, count))

    def expected(self, token: str) -> str | None:
        """The state of a token's key, if it is certain: retired, revoked or expired."""
        ring, now = self.ring.load(), time.time()
        self.keys.update({key.id: Fernet(key.key) for key in ring.keys if key.id not in self.keys})
        maker = next((key_id for key_id, key in self.keys.items() if made(key, token)), None)
        key = next((key for key in ring.keys if key.id == maker), None)
        if key is None:
            # Pruned; long enough ago if that was so at the last change already.
            return "expired" if maker in self.pruned else None
        if key.revoked is not None:
            return "revoked" if now > key.revoked + 1 + REVOKED_AFTER else None
        expires = ring.expires(key)
        if expires is None:
            return None
        if now < expires - MARGIN:
            return "retired"
        return "expired" if now > expires + MARGIN else None

    def expected_still(self, cookie: str, what: str) -> bool:
        """Whether the state is the same after the request."""
        return self.expected(cookie.partition("=")[2]) == what

    def is_revoked(self, token: str) -> bool:
        return self.revoked_at(token) is not None

    def change(self, number: int) -> None:
        """Rotates and prunes; every fourth time revokes the primary."""
        now = time.time()
        if number % 4 == 3:
            primary = self.ring.load().primary(now)
            self.revoked[primary.id] = (time.monotonic(), Fernet(primary.key))
            self.ring.change(lambda ring: ring.revoked(primary.id, now))
            self.seen["revocations"] += 1
        else:
            before = self.ring.load().keys
            after = self.ring.change(lambda ring: ring.rotated(now, activate_in=2).pruned(now)).keys
            gone = {key.id for key in before} - {key.id for key in after}
            self.pruned = gone
            self.seen["keys pruned"] += len(gone)
            self.seen["rotations"] += 1

    def run(self, seconds: float) -> Counter[str]:
        command = [sys.executable, "-m", "gunicorn", "--workers", "4", "--bind",
                   f"127.0.0.1:{self.port}", "--log-level", "error",
                   "benches.load:create_app()"]  # fmt: skip
        server = subprocess.Popen(command, env=self.environment)
        try:
            for _ in range(200):
                try:
                    self.get("/read", "")
                    break
                except OSError:
                    time.sleep(0.1)
            browsers: list[threading.Thread] = [Browser(self) for _ in range(BROWSERS)]
            browsers.append(Idler(self))
            for browser in browsers:
                browser.start()
            end = time.monotonic() + seconds
            number = 0
            while time.monotonic() + EVERY < end:
                time.sleep(EVERY)
                self.change(number)
                number += 1
            time.sleep(max(0.0, end - time.monotonic()))
            self.stop.set()
            for browser in browsers:
                browser.join()
        finally:
            server.terminate()
            server.wait()
        return self.seen


def made(key: Fernet, token: str) -> bool:
    """Whether a key made a token."""
    try:
        key.extract_timestamp(token)
    except InvalidToken:
        return False
    return True


FAULTS = (
    "failed requests",
    "lost sessions",
    "opened under a revoked key",
    "opened under a key that was revoked",
    "opened under a key that was expired",
)
#: The run proves nothing unless each of these happened.
NEEDED = (
    "rotations",
    "revocations",
    "keys pruned",
    "ended by revocation",
    "came back under a key that was retired",
    "came back under a key that was revoked",
    "came back under a key that was expired",
)


def main(seconds: float = 120) -> int:
    with tempfile.TemporaryDirectory() as folder:
        seen = Load(Path(folder)).run(seconds)
    names = (*FAULTS, *NEEDED)
    figures = {name: seen[name] for name in (*names, *sorted(seen.keys() - set(names)))}
    print(json.dumps(figures, indent=1))
    return int(any(seen[fault] for fault in FAULTS) or not all(seen[name] for name in NEEDED))


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
