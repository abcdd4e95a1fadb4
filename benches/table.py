"""Rows whose sides are measured together."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

#: The approximate duration of one round of one side, in seconds.
ROUND = 0.02


class Table:
    """Measures rows, prints them and keeps them. Our side of a row is called "ours"."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.rows: list[dict[str, Any]] = []

    def measure(self, name: str, sides: Mapping[str, Callable[[], object]]) -> None:
        """Measures one row and prints it."""
        self.put(name, best_of(self.rounds, sides))

    def put(self, name: str, seconds: dict[str, float]) -> None:
        """Prints and keeps a row that has been measured: the seconds per call of each side."""
        ours = seconds["ours"]
        self.rows.append({"name": name, "microseconds": {s: t * 1e6 for s, t in seconds.items()}})
        others = "  ".join(
            f"{side} {time / ours:5.2f}x" for side, time in seconds.items() if side != "ours"
        )
        print(f"{name:<46} {ours * 1e6:10.2f} µs   {others}", flush=True)

    def note(self, name: str, **figures: float) -> None:
        """Prints and keeps figures that are not times."""
        self.rows.append({"name": name, **figures})
        shown = "  ".join(
            f"{what.replace('_', ' ')} {value:,.10g}" for what, value in figures.items()
        )
        print(f"{name:<46} {shown}", flush=True)


def best_of(rounds: int, sides: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The seconds per call of each side, in its best round."""
    counts = {side: _calls_a_round(call) for side, call in sides.items()}
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for side, call in sides.items():
            count = range(counts[side])
            start = perf_counter()
            for _ in count:
                call()
            best[side] = min(best[side], (perf_counter() - start) / len(count))
    return best


def _calls_a_round(call: Callable[[], object]) -> int:
    count = 1
    while True:
        start = perf_counter()
        for _ in range(count):
            call()
        taken = perf_counter() - start
        if taken > ROUND / 2:
            return max(1, int(count * ROUND / taken))
        count *= 4


def versions() -> dict[str, str]:
    """The versions that are measured, and the processor's features."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("flask-fernet", "flask", "werkzeug", "cryptography", "rfernet", "orjson",
                    "flask-enciphers", "granian", "gunicorn", "flask-session", "redis", "hiredis",
                    "sqlalchemy", "psycopg"):  # fmt: skip
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    try:
        cpu = Path("/proc/cpuinfo").read_text()
        flags = next(line for line in cpu.splitlines() if line.startswith("flags")).split()
        wanted = ("aes", "avx2", "avx512f", "sha_ni", "vaes")
        found["cpu features"] = " ".join(flag for flag in wanted if flag in flags)
    except (OSError, StopIteration):
        pass
    return found
