"""Kills and restarts a store under load: ``python -m benches.outages [--seconds 300]``.

Four workers keep sessions in Redis and then in PostgreSQL. Users write to their sessions from two
browser tabs at once, log out while requests are under way, and log in again, while the server is
killed every few seconds. Nothing that was confirmed may be lost, nobody who logged out may be in
again, and no session may show what another has written.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.servers import PostgresServer, RedisServer, Server
from tests.system.serving import THREADS, Browser, created, gunicorn

USERS = 8
KILL_EVERY = 7.0


@dataclass
class Tally:
    """What happened."""

    requests: int = 0
    refused: int = 0
    writes: int = 0
    log_outs: int = 0
    kills: int = 0
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, **counts: int) -> None:
        with self.lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def fault(self, text: str) -> None:
        with self.lock:
            self.faults.append(text)


class User:
    """A user with one browser and two tabs."""

    def __init__(self, port: int, number: int, tally: Tally, stop: threading.Event) -> None:
        self.port, self.number, self.tally, self.stop = port, number, tally, stop
        self.random = random.Random(number)

    def get(self, browser: Browser, path: str) -> tuple[int, str]:
        status, text = browser.get(path)
        self.tally.add(requests=1, refused=int(status in (500, 503)))
        if status not in (200, 500, 503):
            self.tally.fault(f"{path} answered {status}")
        return status, text

    def run(self) -> None:
        try:
            for life in itertools.count():
                if self.stop.is_set():
                    return
                self.live(f"u{self.number}-{life}")
        except Exception as error:  # noqa: BLE001 - it is reported
            self.tally.fault(f"user {self.number}: {error!r}")

    def live(self, name: str) -> None:
        """Logs in, writes from two tabs, logs out, and looks whether that holds."""
        browser = Browser(self.port)
        while self.get(browser, f"/login/{name}")[0] != 200:
            if self.stop.is_set():
                return
            time.sleep(0.2)
        confirmed: dict[str, int] = {}
        tabs = [
            threading.Thread(target=self.write, args=(browser.cookie, tab, confirmed))
            for tab in ("a", "b")
        ]
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join()
        if not self.holds(browser, name, confirmed):
            return
        former = browser.cookie
        # A slow request of another tab is under way while the user logs out.
        slow = threading.Thread(
            target=self.get, args=(Browser(self.port, former), "/set/late/1?wait=0.1")
        )
        slow.start()
        left = self.get(browser, "/logout")[0] == 200
        slow.join()
        if left:
            self.tally.add(log_outs=1)
            for cookie in (former, browser.cookie):
                status, text = self.get(Browser(self.port, cookie), "/read")
                if status == 200 and "_user_id" in text:
                    self.tally.fault(f"{name} is in again after the log-out")

    def write(self, cookie: str, tab: str, confirmed: dict[str, int]) -> None:
        browser = Browser(self.port, cookie)
        try:
            for value in range(1, self.random.randint(10, 40)):
                if self.get(browser, f"/set/{tab}/{value}")[0] == 200:
                    confirmed[tab] = value
                    self.tally.add(writes=1)
        except Exception as error:  # noqa: BLE001 - it is reported
            self.tally.fault(f"tab {tab} of user {self.number}: {error!r}")
        if browser.set:
            self.tally.fault(f"a write changed a cookie: {browser.set[0][:20]}")

    def holds(self, browser: Browser, name: str, confirmed: dict[str, int]) -> bool:
        """Whether everything that was confirmed is there. Waits until the store is back."""
        for _ in range(100):
            status, text = self.get(browser, "/read")
            if status == 200:
                break
            time.sleep(0.1)
        else:
            self.tally.fault("the store did not come back")
            return False
        found = json.loads(text)
        if found.get("_user_id") != name:
            self.tally.fault(f"{name} was logged out: {found.get('_user_id')}")
            return False
        for tab, value in confirmed.items():
            # A later write may have come through without a confirmation.
            if int(found.get(tab, 0)) < value:
                self.tally.fault(f"{name} lost {tab}={value}: {found.get(tab)}")
        return True


def kill(server: Server, tally: Tally, stop: threading.Event) -> None:
    try:
        while not stop.wait(KILL_EVERY):
            server.kill()
            time.sleep(random.uniform(0, 1))
            server.start()
            tally.add(kills=1)
    except Exception as error:  # noqa: BLE001 - it is reported
        tally.fault(f"the server does not start again: {error!r}")


def prove(server: Any, seconds: float) -> Tally:
    """Runs the load for some time and tells what happened."""
    tally, stop = Tally(), threading.Event()
    server.start()
    try:
        with gunicorn(created(server.url), *THREADS, STORED_APP_QUIET="1") as port:
            users = [User(port, number, tally, stop) for number in range(USERS)]
            threads = [threading.Thread(target=user.run) for user in users]
            threads.append(threading.Thread(target=kill, args=(server, tally, stop)))
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            stop.set()
            for thread in threads:
                thread.join()
    finally:
        server.close()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.outages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="for each store")
    seconds = parser.parse_args().seconds
    failed = False
    for kind in (RedisServer, PostgresServer):
        tally = prove(kind(), seconds)
        print(
            f"{kind.__name__}: {tally.requests:,} requests, {tally.writes:,} confirmed writes, "
            f"{tally.log_outs:,} log-outs, {tally.kills} kills, {tally.refused:,} requests refused "
            f"while the server was away, {len(tally.faults)} faults",
            flush=True,
        )
        for fault in tally.faults[:20]:
            print(f"  {fault}")
        failed = failed or bool(tally.faults) or not tally.kills or not tally.log_outs
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
