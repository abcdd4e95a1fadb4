"""Whether the time of refusing a token tells where it is wrong: Welch's t-test over interleaved
measurements, as in dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017).

A value of |t| above 4.5 would say that two kinds take different times. It is reported and gates
nothing: other load on a machine moves it.
"""

from __future__ import annotations

import base64
import contextlib
import math
import random
import statistics
import time
from typing import Any

from flask_fernet import Fernet, SessionRejected
from flask_fernet._core import SessionKeys

#: Seconds since the epoch at which all tokens are made and opened.
NOW = 1_790_000_000
#: The share of the slowest measurements that are left out: interruptions.
OUTLIERS = 0.1


def _flipped(token: str, at: int) -> str:
    raw = bytearray(base64.urlsafe_b64decode(token))
    raw[at] ^= 1
    return base64.urlsafe_b64encode(raw).decode()


def _t(one: list[int], other: list[int]) -> float:
    """Welch's t."""

    def kept(times: list[int]) -> list[int]:
        return sorted(times)[: int(len(times) * (1 - OUTLIERS))]

    a, b = kept(one), kept(other)
    variance = statistics.pvariance(a) / len(a) + statistics.pvariance(b) / len(b)
    return (statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(variance or 1)


def _compared(keys: SessionKeys, tokens: tuple[str, str], rounds: int) -> tuple[float, float]:
    """Welch's t of opening two tokens, and the difference of the medians in nanoseconds."""
    times: tuple[list[int], list[int]] = ([], [])
    clock, chance = time.perf_counter_ns, random.Random(1)
    for _ in range(rounds):
        # In a random order, so that nothing periodic meets one of them alone.
        for which in (0, 1) if chance.random() < 0.5 else (1, 0):
            token = tokens[which]
            begin = clock()
            with contextlib.suppress(SessionRejected):
                keys.open(token, NOW, 60, "session")
            times[which].append(clock() - begin)
    medians = [statistics.median(one) for one in times]
    return _t(*times), medians[0] - medians[1]


def run(rounds: int = 200_000) -> list[dict[str, Any]]:
    """Measures each pair of kinds.

    :param rounds: measurements of each kind.
    """
    results = []
    for kind in ("fernet", "xaes-256-gcm"):
        keys = SessionKeys([("key", Fernet.generate_key())], "salt", kind)
        payload = b'{"_user_id":"42","_fresh":true}' * 8
        token = keys.seal(payload, NOW, "session")
        old = keys.seal(payload, NOW - 10**6, "session")
        # The MAC is at the end in both formats: 32 and 16 bytes.
        mac = 32 if kind == "fernet" else 16
        pairs = {
            "the same token twice": (_flipped(token, -1), _flipped(token, -1)),
            "the MAC's first byte, its last": (_flipped(token, -mac), _flipped(token, -1)),
            "the first byte of the text, its last": (
                _flipped(token, 60), _flipped(token, -mac - 1),
            ),
            "a new forgery, an old one": (_flipped(token, -1), _flipped(old, -1)),
            # These differ, and show that the measurement sees a difference. No secret is in it.
            "control: a forgery, a token cut short": (_flipped(token, -1), token[:40]),
        }  # fmt: skip
        for name, pair in pairs.items():
            t, difference = _compared(keys, pair, rounds)
            results.append(
                {"format": kind, "pair": name, "rounds": rounds, "t": round(t, 2),
                 "nanoseconds": round(difference, 1)}
            )  # fmt: skip
            print(f"{kind}: {name}: t = {t:.2f}, {difference:+.0f} ns", flush=True)
    return results
