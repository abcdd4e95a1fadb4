"""Sessions under load while an app moves from Flask's signed cookies to ours, and back.

``python -m benches.deploy [seconds]``: four servers, each restarted in turn with the next step's
configuration, as a rolling deploy does, browsers that go to any of them, and others that come back
with a cookie of the step before. Prints figures, and exits with 1 if a user was logged out or a
write was lost, and if nobody came back to see it by.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from flask import Flask

from benches.counting import add_views
from flask_fernet import EncryptedSessionInterface
from tests.ports import free_port, wait_for_server

ROOT = Path(__file__).parents[1]
WORKERS = 4
BROWSERS = 6
SIGNED: dict[str, object] = {
    "SESSION_ENCRYPTION_FORMAT": "flask-signed",
    "SESSION_ENCRYPTION_ACCEPT": ["fernet"],
}
ENCRYPTED: dict[str, object] = {"SESSION_ENCRYPTION_ACCEPT": ["flask-signed"]}
#: ``None`` stands for Flask's own interface. Getting to ours alone takes two deploys, and back too.
STEPS: list[dict[str, object] | None] = [None, SIGNED, ENCRYPTED, {}, ENCRYPTED, SIGNED, None]


def create_app() -> Flask:
    """The app, for gunicorn."""
    app = Flask("deploy")
    app.secret_key = "the secret of the rolling deploy"
    config = json.loads(os.environ["DEPLOY_STEP"])
    if config is not None:
        app.config.update(config)
        EncryptedSessionInterface(app)
    return add_views(app)


class Worker:
    """A server with one process, which can be restarted with another configuration."""

    def __init__(self, step: object) -> None:
        self.port = free_port()
        self.start(step)

    def start(self, step: object) -> None:
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}",
                   "--log-level", "critical", "benches.deploy:create_app()"]  # fmt: skip
        environment = {**os.environ, "DEPLOY_STEP": json.dumps(step), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, env=environment)
        wait_for_server(self.port, self.process)

    def end(self) -> None:
        """Stops the server as a deploy does: it answers the requests that it has."""
        self.process.terminate()
        self.process.wait()


class Deploy:
    """One run."""

    def __init__(self) -> None:
        self.workers = [Worker(STEPS[0]) for _ in range(WORKERS)]
        self.ready = list(self.workers)
        self.stop = threading.Event()
        self.seen: Counter[str] = Counter()
        self.latest: tuple[str, int] | None = None
        self.idle: tuple[str, int] | None = None

    def get(self, path: str, cookie: str) -> tuple[str, str] | None:
        """The text and the cookie of a response from any of the workers; no cookie is ``None``."""
        worker = random.choice(self.ready)
        connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException):
            # A load balancer would have chosen another worker.
            self.seen["retried requests"] += 1
            return None
        finally:
            connection.close()
        self.seen["requests"] += 1
        if response.status != 200 or not text.isdecimal():
            self.seen["failed requests"] += 1
            return None
        return text, (response.headers["Set-Cookie"] or cookie).partition(";")[0]

    def browse(self) -> None:
        cookie, count = "", 0
        while not self.stop.is_set():
            answer = self.get("/", cookie)
            if answer is None:
                continue
            if int(answer[0]) != count + 1:
                self.seen["log-outs or lost writes"] += 1
            count, cookie = int(answer[0]), answer[1]
            # The worker that made it was at this step or at the one before.
            self.latest = (cookie, count)

    def come_back(self) -> None:
        """Sends cookies from before the present roll."""
        while not self.stop.wait(0.01):
            if self.idle is not None:
                cookie, count = self.idle
                answer = self.get("/read", cookie)
                if answer is not None:
                    self.seen["came back"] += 1
                    self.seen["log-outs or lost writes"] += int(answer[0]) != count

    def roll(self, step: object, pause: float) -> None:
        """Restarts one worker after the other with the configuration of a step."""
        # All workers are at one step now, so this cookie belongs to it.
        self.idle = self.latest
        for worker in self.workers:
            self.ready.remove(worker)
            time.sleep(0.1)
            worker.end()
            worker.start(step)
            self.ready.append(worker)
            time.sleep(pause)
        self.seen["deploys"] += 1

    def run(self, seconds: float) -> Counter[str]:
        browsers = [threading.Thread(target=self.browse) for _ in range(BROWSERS)]
        browsers.append(threading.Thread(target=self.come_back))
        for browser in browsers:
            browser.start()
        pause = seconds / (len(STEPS) * WORKERS)
        try:
            time.sleep(pause)
            for step in STEPS[1:]:
                self.roll(step, pause)
        finally:
            self.stop.set()
            for browser in browsers:
                browser.join()
            for worker in self.workers:
                worker.end()
        return self.seen


FAULTS = ("failed requests", "log-outs or lost writes")


def main(seconds: float = 120) -> int:
    seen = Deploy().run(seconds)
    figures = {name: seen[name] for name in (*FAULTS, *sorted(seen.keys() - set(FAULTS)))}
    print(json.dumps(figures, indent=1))
    return int(any(seen[fault] for fault in FAULTS) or not seen["came back"])


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
