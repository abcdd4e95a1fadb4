"""Prints tables of ratios, all sides measured in one run: ``python -m benches [--quick]``.

Each side of a row runs in turn, round after round, and its best round counts: whatever else the
machine does only ever makes a round slower.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from benches import requests, sessions, tokens

#: Seconds that one round of one side takes, about.
ROUND = 0.02


class Table:
    """Rows of sides that are measured together; the first is ours."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.rows: list[dict[str, Any]] = []

    def measure(self, name: str, sides: dict[str, Callable[[], object]]) -> None:
        """Measures one row and prints it."""
        counts = {side: self._calls_a_round(call) for side, call in sides.items()}
        best = dict.fromkeys(sides, float("inf"))
        for _ in range(self.rounds):
            for side, call in sides.items():
                count = range(counts[side])
                start = perf_counter()
                for _ in count:
                    call()
                best[side] = min(best[side], (perf_counter() - start) / len(count))
        ours = best["ours"]
        self.rows.append({"name": name, "microseconds": {s: t * 1e6 for s, t in best.items()}})
        others = "  ".join(
            f"{side} {seconds / ours:5.1f}x" for side, seconds in best.items() if side != "ours"
        )
        print(f"{name:<44} {ours * 1e6:9.2f} µs   {others}", flush=True)

    @staticmethod
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
    """What was measured, on what."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("flask-fernet", "flask", "werkzeug", "cryptography", "rfernet", "orjson",
                    "flask-enciphers"):  # fmt: skip
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            found[package] = "not installed"
    try:
        cpu = Path("/proc/cpuinfo").read_text()
        flags = next(line for line in cpu.splitlines() if line.startswith("flags")).split()
        wanted = ("aes", "avx2", "avx512f", "sha_ni", "vaes")
        found["cpu features"] = " ".join(flag for flag in wanted if flag in flags)
    except (OSError, StopIteration):
        pass
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    table = Table(rounds=5 if arguments.quick else 25)
    about = versions()
    print("  ".join(f"{name} {number}" for name, number in about.items()))
    print("Ours in microseconds a call; the others as multiples of it.\n")
    for part in (tokens, sessions, requests):
        print((part.__doc__ or "").strip().splitlines()[0])
        part.measure(table)
        print()
    if arguments.json:
        arguments.json.write_text(json.dumps({"versions": about, "rows": table.rows}, indent=2))
    return 0


sys.exit(main())
