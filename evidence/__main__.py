"""Runs what the page of evidence reports, and writes ``evidence/record.json``:
``python -m evidence [PART…]``. `make evidence` runs all of it and writes the page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import (
    differential,
    faults,
    load,
    memory,
    mutants,
    proofs,
    sanitizer,
    side_channels,
    suite,
    wheels,
)
from .suite import ROOT

RECORD = Path(__file__).parent / "record.json"
#: Cycles of each of the eight threads in the tests of what threads share, those of the ring and of
#: stores excepted.
THREAD_CYCLES = 2000


def _threads(python: str, *options: str) -> dict[str, Any]:
    passed = suite.passed(
        "tests/test_threads.py", *options, python=python, THREAD_CYCLES=str(THREAD_CYCLES)
    )
    return {"tests": passed, "cycles": THREAD_CYCLES}


def _free_threads(options: argparse.Namespace) -> Any:
    python = os.environ.get("FREE_THREADED_PYTHON")
    if python is None:
        raise SystemExit("FREE_THREADED_PYTHON must be the path of a Python.")
    # Without a GIL the connections of a store are closed by the collector, with a warning for each.
    tests = _threads(python, "-W", "ignore:unclosed:ResourceWarning")
    return {**tests, **load.free_threaded(python, 120 * options.share)}


def _record() -> dict[str, Any]:
    """What is recorded of each part."""
    record: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return record


def _mutants(options: argparse.Namespace) -> Any:
    return mutants.run(options.files, _record().get("mutants", {}).get("result", {}))


def _fuzz(options: argparse.Namespace) -> Any:
    command = [sys.executable, "fuzz/run.py", "--record", "--seconds", str(options.fuzz_seconds)]
    subprocess.run(command, cwd=ROOT, check=True)
    # Its own record adds up over all runs.
    return {"seconds": options.fuzz_seconds}


def _objects(options: argparse.Namespace) -> Any:
    examples = int(2000 * options.share)
    documents = "tests/keys/test_document.py::test_a_changed_document_is_a_ring_or_a_named_error"
    tests = ("tests/parity/test_hostile_objects.py", documents)
    before = _cpu_seconds()
    passed = suite.passed(*tests, HYPOTHESIS_MAX_EXAMPLES=str(examples))
    spent = round(_cpu_seconds() - before)
    return {"tests": passed, "examples": examples, "cpu_seconds": spent}


def _cpu_seconds() -> float:
    """CPU time of the processes that have been waited for, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "differential": lambda options: differential.run(options.share, options.seed),
    "side_channels": lambda options: side_channels.run(options.share),
    "threads": lambda _: _threads(sys.executable),
    "sanitizer": lambda _: sanitizer.run(),
    "fuzz": _fuzz,
    "faults": lambda _: faults.run(),
    "proofs": lambda options: proofs.run(options.share),
    "cycles": lambda options: memory.cycles(int(1_000_000 * options.share)),
    "memcheck": lambda _: memory.memcheck(),
    "objects": _objects,
    "wheels": lambda _: wheels.run(),
    "load": lambda options: load.run(600 * options.share),
    "free_threads": _free_threads,
    "mutants": _mutants,
}
#: Packages whose versions are recorded.
COMPARED = ("flask-fernet", "flask", "werkzeug", "cryptography", "rfernet", "flask-session",
            "redis", "gunicorn", "gevent", "granian", "uwsgi", "waitress",
            "hypothesis")  # fmt: skip
#: Parts that run only when they are named, because they take long, or may need another Python. The
#: others together take little more than an hour.
NAMED = {"load", "memcheck", "free_threads", "mutants"}


def _commit() -> str:
    """The commit, with "-dirty" if anything but what is recorded here has changed."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        return done.stdout.strip()

    recorded = (":!evidence/record.json", ":!fuzz/record.json", ":!docs/evidence.md")
    changed = git("status", "--porcelain", "--", ".", *recorded)
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def _versions() -> dict[str, str]:
    """The versions of this package and of the others, as far as they are installed, and of what
    the extension is built with.
    """
    found = {}
    for name in COMPARED:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    lock = (ROOT / "Cargo.lock").read_text()
    (found["pyo3"],) = re.findall(r'^name = "pyo3"\nversion = "(.*)"$', lock, re.M)
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True)
    found["rustc"] = rustc.stdout.split()[1]
    found["linux"] = platform.release()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        help=f"of {', '.join(PARTS)}; if none is named, all but {', '.join(sorted(NAMED))}",
    )
    parser.add_argument("--share", type=float, default=1.0, help="of what is compared (1.0)")
    parser.add_argument("--seed", type=int, default=int(date.today().strftime("%Y%m%d")))
    parser.add_argument("--files", nargs="*", default=[], help="that mutants changes (all)")
    parser.add_argument("--fuzz-seconds", type=int, default=120, help="for each target (120)")
    options = parser.parse_args()
    unknown = ", ".join(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"PART must be one of {', '.join(PARTS)}, not {unknown}.")
    commit = _commit()
    for name in options.parts or [name for name in PARTS if name not in NAMED]:
        begun = time.monotonic()
        result = PARTS[name](options)
        record = _record()
        record[name] = {
            "result": result,
            "date": date.today().isoformat(),
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": _versions(),
            "commit": commit,
            "seconds": round(time.monotonic() - begun),
        }
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
