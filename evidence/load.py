"""Mixed traffic on each WSGI server, and requests a second beside Flask's own sessions.

Users count in an encrypted cookie and in Redis while the key ring rotates and the server reloads
its workers, and one request in a hundred has a hostile cookie. wrk then measures the same server.
It needs Debian's ``redis-server`` and ``wrk``.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evidence.load_app import SIDES
from evidence.processes import family, memory
from evidence.suite import ROOT
from flask_fernet import Fernet, KeyRing
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.ports import free_port, wait_for_server
from tests.servers import RedisServer, program, running

APP = "evidence.load_app:create_app"
#: The command of each server with four workers (waitress has one process: four threads).
SERVERS: dict[str, list[str]] = {
    "gunicorn, sync": ["gunicorn", "--workers=4", "--bind={at}", f"{APP}()"],
    "gunicorn, gthread": ["gunicorn", "--workers=4", "--worker-class=gthread", "--threads=4",
                          "--bind={at}", f"{APP}()"],
    "gunicorn, gevent": ["gunicorn", "--workers=4", "--worker-class=gevent", "--bind={at}",
                         f"{APP}()"],
    "granian": ["granian", "--interface=wsgi", "--workers=4", "--blocking-threads=4", "--factory",
                "--host={host}", "--port={port}", "--no-access-log", "--log-level=error", APP],
    "uWSGI": ["uwsgi", "--master", "--processes=4", "--need-app", "--die-on-term",
              "--disable-logging", "--buffer-size=65535", "--http11-socket={at}",
              f"--module={APP}()"],
    "waitress": ["waitress-serve", "--threads=4", "--listen={at}", "--call", APP],
}  # fmt: skip
#: The same for a Python without a GIL.
FREE_THREADED = ["gunicorn", "--workers=2", "--worker-class=gthread", "--threads=8", "--bind={at}",
                 f"{APP}()"]  # fmt: skip
USERS = 6
#: The sessions that they have.
OURS = ("cookie", "redis")
#: Seconds between two rotations of the ring, and between two reloads of the server. Reloads end
#: before the memory is looked at, which would begin again with each.
ROTATE_EVERY, RELOAD_EVERY = 10.0, 30.0
RELOADS_UNTIL, SETTLED_AT = 0.4, 0.5
HOSTILE, LOGIN, READ = 0.01, 0.04, 0.35
#: What must have happened, or the run shows nothing.
NEEDED = ("requests", "hostile requests", "rotations", "reloads")
#: The share by which memory may grow in the second half. uWSGI interns the names of each request's
#: variables: now and then CPython makes its table of interned strings anew, 1.9 MiB in each worker,
#: until there is room for two of them.
GROWTH = 0.15
#: Seconds that a user waits after a request.
PAUSE = 0.01
#: Seconds of each round of wrk, and rounds.
WRK_SECONDS, WRK_ROUNDS = 4, 3


class Server:
    """A server and the processes that it starts."""

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        log: Path,
    ) -> None:
        self.name, self.command, self.environment, self.log = name, command, environment, log
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        at = {"at": f"127.0.0.1:{self.port}", "host": "127.0.0.1", "port": self.port}
        command = [part.format(**at) for part in self.command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        try:
            wait_for_server(self.port, self.process)
        except RuntimeError:
            raise SystemExit(
                f"{self.name} does not start:\n{self.log.read_text()[-4000:]}"
            ) from None

    def reload(self) -> None:
        """Replaces the workers as the server does it on a deploy; waitress starts anew."""
        assert self.process is not None
        if self.name == "waitress":
            self.stop()
            self.start()
        else:
            self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)

    def memory(self) -> float:
        """MiB of all its processes; a page that they share counts once (PSS)."""
        assert self.process is not None
        return sum(map(memory, family(self.process.pid))) / 1024


class Traffic:
    """The users of one server, and what happened to them."""

    def __init__(self, port: int, *sides: str) -> None:
        self.port, self.sides = port, sides
        self.stop = threading.Event()
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []
        self.lock = threading.Lock()

    def count(self, what: str) -> None:
        with self.lock:
            self.seen[what] += 1

    def fault(self, what: str, detail: str) -> None:
        with self.lock:
            self.seen[what] += 1
            if len(self.faults) < 20:
                self.faults.append(f"{what}: {detail}")

    def get(self, path: str, cookie: str) -> tuple[int, str, str]:
        """The status, text and new cookie of a request on its own connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        return response.status, text, (response.headers["Set-Cookie"] or "").partition(";")[0]

    def run(self, seconds: float, ring: KeyRing, server: Server) -> dict[str, Any]:
        users = [
            threading.Thread(target=User(self, side, number).run)
            for number in range(USERS // len(self.sides))
            for side in self.sides
        ]
        began = time.monotonic()
        for user in users:
            user.start()
        rotate, reload, settled = ROTATE_EVERY, RELOAD_EVERY, 0.0
        while (passed := time.monotonic() - began) < seconds:
            time.sleep(0.2)
            if passed > rotate:
                rotate += ROTATE_EVERY
                now = time.time()
                ring.change(lambda old, now=now: old.rotated(now, activate_in=2).pruned(now))  # type: ignore[misc]
                self.count("rotations")
            if reload < passed < seconds * RELOADS_UNTIL:
                reload += RELOAD_EVERY
                server.reload()
                self.count("reloads")
            if not settled and passed > seconds * SETTLED_AT:
                settled = server.memory()
        at_the_end = server.memory()
        self.stop.set()
        for user in users:
            user.join()
        return {
            "seconds": round(seconds),
            "seen": dict(self.seen),
            "faults": self.faults,
            "MiB": [round(settled, 1), round(at_the_end, 1)],
        }


class User:
    """Someone who counts in a session and knows the right count."""

    def __init__(self, traffic: Traffic, side: str, number: int) -> None:
        self.traffic, self.side = traffic, side
        self.random = random.Random(f"{side} {number}")
        self.cookie, self.number = "", 0

    def run(self) -> None:
        try:
            self.live()
        except Exception as error:  # noqa: BLE001 - it is reported
            self.traffic.fault("users that gave up", repr(error))

    def live(self) -> None:
        self.turn("login")
        while not self.traffic.stop.wait(PAUSE):
            chance = self.random.random()
            if chance < HOSTILE:
                self.attack()
            elif chance < HOSTILE + LOGIN:
                self.turn("login")
            elif chance < HOSTILE + LOGIN + READ:
                self.turn("read")
            else:
                self.turn("")

    def ask(self, path: str) -> tuple[int, str, str, int]:
        """Sends a request until it is answered, for up to 30 s. Returns the status, the text, the
        new cookie, and how many attempts may have been served without an answer.
        """
        dropped = 0
        for _ in range(300):
            try:
                return *self.traffic.get(path, self.cookie), dropped
            except ConnectionRefusedError:
                self.traffic.count("refused connections, tried again")
                time.sleep(0.1)
            except (OSError, http.client.HTTPException) as error:
                self.traffic.count("dropped connections, tried again")
                dropped += 1
                if dropped == 10:
                    self.traffic.fault("failed requests", repr(error))
        raise RuntimeError("The server does not come back.")

    def turn(self, path: str) -> None:
        self.traffic.count("requests")
        status, text, cookie, dropped = self.ask(f"/{self.side}/{path}")
        if status != 200:
            self.traffic.fault("failed requests", f"{self.side}/{path}: {status} {text[:200]}")
            return
        self.cookie = cookie or self.cookie
        expected = {"login": 0, "read": self.number, "": self.number + 1}[path]
        # A request whose connection was dropped may have been served.
        if not expected <= int(text) <= expected + (dropped if path == "" else 0):
            self.traffic.fault("lost sessions", f"{self.side}/{path}: {text}, not {expected}")
        self.number = int(text)

    def attack(self) -> None:
        """Sends a cookie that must not open: the session is empty, or the server refuses it."""
        name, _, token = self.cookie.partition("=")
        place = self.random.randrange(len(token))
        other = "A" if token[place] != "A" else "B"
        value = self.random.choice([
            token[:place] + other + token[place + 1 :], token[:place], token + token, "A" * 30_000,
            Fernet(Fernet.generate_key()).encrypt(b"{}").decode(), '"\\', "%00%ff;;==",
        ])  # fmt: skip
        copies = self.random.choice([1, 1, 200])
        header = "; ".join([f"{name}={value}"] * copies)[:60_000]
        self.traffic.count("hostile requests")
        try:
            status, text, _ = self.traffic.get(f"/{self.side}/read", header)
        except (OSError, http.client.HTTPException):
            self.traffic.count("hostile requests: connection closed")
            return
        self.traffic.count(f"hostile requests: {status}")
        # A token that differs in the last bits of its last letter alone is the same token.
        if status >= 500 or (status == 200 and text != "0" and place < len(token) - 3):
            self.traffic.fault("hostile requests that had an effect", f"{status} {text[:200]}")


def _measured(port: int) -> dict[str, Any]:
    """Requests a second, and milliseconds within which half and 99 % of the answers come."""
    best: dict[str, Any] = {}
    traffic = Traffic(port)
    with tempfile.TemporaryDirectory() as folder:
        scripts, samples = {}, {}
        for side in SIDES:
            cookies = [_counted_to_one(traffic, side) for _ in range(64)]
            samples[side] = cookies[0]
            scripts[side] = Path(folder) / f"{side}.lua"
            scripts[side].write_text(
                f"local cookies = {{{', '.join(json.dumps(one) for one in cookies)}}}\n"
                "local number = 0\n"
                "function request()\n"
                "  number = number + 1\n"
                "  local headers = {Cookie = cookies[number % #cookies + 1]}\n"
                f'  local path = number % 10 == 0 and "/{side}/" or "/{side}/read"\n'
                '  return wrk.format("GET", path, headers)\n'
                "end\n"
            )
        for _ in range(WRK_ROUNDS):
            for side, script in scripts.items():
                load = [program("wrk"), "-t1", "-c8", f"-d{WRK_SECONDS}s", "--latency", "-s",
                        str(script), f"http://127.0.0.1:{port}/"]  # fmt: skip
                said = subprocess.run(load, check=True, capture_output=True, text=True).stdout
                if "Non-2xx" in said or "Socket errors" in said:
                    raise SystemExit(f"{side}: {said}")
                # What was measured is sessions that open.
                _, text, _ = traffic.get(f"/{side}/read", samples[side])
                if int(text) < 1:
                    raise SystemExit(f"{side}: the session is empty.")
                one = {
                    "rps": float(re.findall(r"Requests/sec: +([\d.]+)", said)[0]),
                    "p50": _milliseconds(re.findall(r"50% +(\S+)", said)[0]),
                    "p99": _milliseconds(re.findall(r"99% +(\S+)", said)[0]),
                }
                if one["rps"] > best.get(side, {"rps": 0.0})["rps"]:
                    best[side] = one
    return best


def _counted_to_one(traffic: Traffic, side: str) -> str:
    """The cookie of a session that has counted to one."""
    _, _, cookie = traffic.get(f"/{side}/login", "")
    status, text, newer = traffic.get(f"/{side}/", cookie)
    if (status, text) != (200, "1"):
        raise SystemExit(f"{side}: {status} {text[:200]}")
    return newer or cookie


def _milliseconds(text: str) -> float:
    number, unit = re.findall(r"([\d.]+)(\w+)", text)[0]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


@contextmanager
def _server(
    name: str, python: str, command: list[str], redis: str, **more: str
) -> Iterator[tuple[Server, KeyRing]]:
    """Runs a server whose program is installed beside a Python."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ring.json"
        ring = KeyRing(path)
        ring.create(new_ring(SESSIONS, time.time() - 100, retention=3600))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOAD_REDIS": redis,
                       "LOAD_RING": str(path), **more}  # fmt: skip
        whole = [str(Path(python).with_name(command[0])), *command[1:]]
        server = Server(name, whole, environment, Path(folder) / "log")
        server.start()
        try:
            yield server, ring
        finally:
            server.stop()


def run(seconds: float) -> dict[str, Any]:
    """Mixed traffic for so many seconds on each server, and then what its requests cost by wrk.

    :raises SystemExit: if a request failed, a session was lost, a hostile cookie had an effect,
        memory grew, or nothing happened by which one would have seen that.
    """
    results = {}
    with running(RedisServer) as redis:
        for name, command in SERVERS.items():
            with _server(name, sys.executable, command, redis.url) as (server, ring):
                found = Traffic(server.port, *OURS).run(seconds, ring, server)
                results[name] = {**found, "cost": _measured(server.port)}
            print(name, json.dumps(results[name]), flush=True)
    for name, found in results.items():
        _require_service(name, found)
        _require_memory(name, found, GROWTH)
    return results


def free_threaded(python: str, seconds: float) -> dict[str, Any]:
    """The same traffic for so many seconds on gunicorn under a Python without a GIL, and then for
    as long with Flask's signed sessions, whose memory grows there too.

    :param python: its path. This package, Flask, gunicorn and redis are installed there.
    :raises SystemExit: as :func:`run`, or if its GIL is on. Memory may grow by a tenth more than
        with Flask's sessions.
    """
    name, results = "gunicorn, gthread, no GIL", []
    with running(RedisServer) as redis:
        for sides in (OURS, ("signed",)):
            more = {"LOAD_SIDES": ",".join(sides)}
            with _server(name, python, FREE_THREADED, redis.url, **more) as (server, ring):
                traffic = Traffic(server.port, *sides)
                if traffic.get("/gil", "")[1] != "False":
                    raise SystemExit("The GIL is on.")
                results.append(traffic.run(seconds, ring, server))
    ours, signed = results
    for found in results:
        print(found, flush=True)
        _require_service(name, found)
    _require_memory(name, ours, _growth(signed) + 0.1)
    version = subprocess.run([python, "-VV"], check=True, capture_output=True, text=True).stdout
    return {**ours, "signed": signed, "python": version.strip()}


def _require_service(name: str, found: dict[str, Any]) -> None:
    """Ends the run unless something happened, and nothing failed."""
    if found["faults"] or not all(found["seen"].get(needed) for needed in NEEDED):
        raise SystemExit(f"{name}: {found}")


def _require_memory(name: str, found: dict[str, Any], growth: float) -> None:
    """Ends the run if memory grew by more than this share in the second half."""
    if _growth(found) > growth:
        raise SystemExit(f"{name}: memory grew from {found['MiB'][0]} to {found['MiB'][1]} MiB.")


def _growth(found: dict[str, Any]) -> float:
    halfway, at_the_end = found["MiB"]
    return float(at_the_end / halfway - 1)
