"""Whether the time of refusing a token tells where it is wrong: a t-test over interleaved
measurements, much as in dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?",
2017).

A value of |t| above 4.5 would say that two kinds take different times. It is reported and gates
nothing: other load on a machine moves it.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flask_fernet import Fernet, Reason
from flask_fernet._core import SessionKeys
from flask_fernet.testing import SessionTester
from tests.clock import NOW
from tests.storing import with_cookie
from tests.system.refused_tokens import flipped, opened, padded
from tests.system.serving import granian
from tests.system.stored_app import create_app

#: The share of the slowest measurements that are left out: interruptions.
OUTLIERS = 0.1
#: Batches of measurements.
BATCHES = 100


def _mean(times: list[int]) -> float:
    """The mean without the slowest."""
    return statistics.fmean(sorted(times)[: int(len(times) * (1 - OUTLIERS))])


def _compared(
    send: Callable[[str], object], tokens: tuple[str, str], rounds: int
) -> tuple[float, float]:
    """The t of what two tokens differ by in the time that sending them takes, and the median of
    that difference in nanoseconds.

    It is the t of the batches and not of the single measurements: a token takes a nanosecond more
    in one place of memory than in another, which so many measurements find even in two copies of
    one token. Each batch has copies in other places.
    """
    clock, chance = time.perf_counter_ns, random.Random(1)
    differences, moved = [], []
    for _ in range(BATCHES):
        # Kept, so that the copies come to lie elsewhere.
        moved.append(bytes(chance.randrange(4096)))
        copies = ["", ""]
        for which in chance.sample((0, 1), 2):
            copies[which] = tokens[which].encode().decode()
        times: tuple[list[int], list[int]] = ([], [])
        for _ in range(max(10, rounds // BATCHES)):
            # In a random order, so that nothing periodic meets one of them alone.
            for which in (0, 1) if chance.random() < 0.5 else (1, 0):
                token = copies[which]
                begin = clock()
                send(token)
                times[which].append(clock() - begin)
        differences.append(_mean(times[0]) - _mean(times[1]))
    deviation = statistics.stdev(differences) / math.sqrt(BATCHES)
    return statistics.fmean(differences) / (deviation or 1), statistics.median(differences)


def _native(rounds: int) -> list[dict[str, Any]]:
    """Each pair of tokens, opened in this process."""
    results = []
    for kind in ("fernet", "xaes-256-gcm"):
        key = Fernet.generate_key()
        keys = SessionKeys([("key", key)], "salt", kind)
        payload = b'{"_user_id":"42","_fresh":true}' * 8
        token = keys.seal(payload, NOW, "session")
        old = keys.seal(payload, NOW - 10**6, "session")
        # The MAC is at the end in both formats: 32 and 16 bytes. The text begins behind the time
        # and the IV, or behind the hint, the time and the nonce.
        mac, text = (32, 25) if kind == "fernet" else (16, 37)
        pairs = {
            "the same token twice": (flipped(token, -1), flipped(token, -1)),
            "the MAC's first byte, its last": (flipped(token, -mac), flipped(token, -1)),
            "the first byte of the text, its last": (
                flipped(token, text), flipped(token, -mac - 1),
            ),
            "a new forgery, an old one": (flipped(token, -1), flipped(old, -1)),
            # These differ, and show that the measurement sees a difference. No secret is in it.
            "control: a forgery, a token cut short": (flipped(token, -1), token[:40]),
        }  # fmt: skip
        if kind == "fernet":
            pairs["wrong padding under a right MAC: its length, its first byte"] = (
                padded(key, b"x" * 240, bytes(16)),
                padded(key, b"x" * 240, b"\x0f" + b"\x10" * 15),
            )  # fmt: skip
        send = partial(opened, keys)
        results += [_row(kind, name, send, pair, rounds) for name, pair in pairs.items()]
    return results


def _through_a_server(rounds: int) -> list[dict[str, Any]]:
    """Requests with a forgery beside requests with a cookie that is refused for each other reason,
    sent to a server on this machine.
    """
    results = []
    for kind in ("fernet", "xaes-256-gcm"):
        with (
            granian("", "--workers", "1", STORED_APP_FORMAT=kind) as port,
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as one,
        ):
            app = create_app()
            app.config["SESSION_ENCRYPTION_FORMAT"] = kind
            tester = SessionTester(app)
            get = _Client(one).get
            contents = {"_user_id": "42", "_fresh": True, "text": "x" * 200}
            good = tester.forge(contents)
            forgery = flipped(good, -1)
            another_key = tester.forge(contents, keys=[Fernet.generate_key()])
            cookies = {
                "the same again": (forgery, Reason.UNAUTHENTIC),
                "another forgery": (flipped(tester.forge(contents), -1), Reason.UNAUTHENTIC),
                "malformed": ("!" * len(good), Reason.MALFORMED),
                "cut short": (good[: len(good) // 8 * 4], Reason.UNAUTHENTIC),
                "under another key": (another_key, Reason.UNAUTHENTIC),
                "expired": (tester.forge(contents, age=10**8), Reason.EXPIRED),
                "of the future": (tester.forge(contents, age=-(10**8)), Reason.FROM_FUTURE),
            }
            for name, (cookie, reason) in cookies.items():
                with tester.rejects(reason):
                    with_cookie(app, cookie).get("/read")
                pair = (forgery, cookie)
                results.append(_row(kind, f"a forgery, {name}", get, pair, rounds))
            # It takes longer, which shows that the measurement would see it.
            pair = (forgery, "A" * 4000)
            results.append(_row(kind, "control: a forgery, 4,000 letters", get, pair, rounds))
    return results


class _Client:
    """Asks over one connection, and checks that every answer is the same."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.first: tuple[int, list[tuple[str, str]], bytes] | None = None

    def get(self, cookie: str) -> None:
        self.connection.request("GET", "/read", headers={"Cookie": f"session={cookie}"})
        response = self.connection.getresponse()
        headers = [header for header in response.getheaders() if header[0].lower() != "date"]
        answer = response.status, headers, response.read()
        self.first = self.first or answer
        if answer != self.first:
            raise SystemExit(f"{self.first} and {answer} differ.")


def _row(
    kind: str, name: str, send: Callable[[str], object], pair: tuple[str, str], rounds: int
) -> dict[str, Any]:
    t, difference = _compared(send, pair, rounds)
    print(f"{kind}: {name}: t = {t:.2f}, {difference:+.0f} ns", flush=True)
    return {"format": kind, "pair": name, "rounds": rounds, "t": round(t, 2),
            "nanoseconds": round(difference, 1)}  # fmt: skip


def run(share: float) -> dict[str, list[dict[str, Any]]]:
    """Measures each pair of tokens natively and through a server.

    :param share: of 200,000 and of 10,000 measurements of each.
    """
    return {
        "native": _native(int(200_000 * share)),
        "server": _through_a_server(int(10_000 * share)),
    }
