"""Faults: what is expected of each, what was observed, lost sessions, and memory.

The tests observe, and run in `make test` too; :mod:`evidence.peak` measures. It needs the servers
of the tests and ``unshare``.
"""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, NamedTuple

from .suite import passed

_FAULTS = "tests/system/test_faults.py"
_LYING = "tests/system/test_lying_stores.py"
_STORED = "tests/system/test_stored.py"
_PROCESSES = "tests/system/test_processes.py"


class Fault(NamedTuple):
    """A row of the table."""

    fault: str
    expected: str
    #: A file of tests, and the beginning of a test's name.
    file: str
    test: str
    #: Whether there are sessions that could be lost.
    has_sessions: bool = True


FAULTS = [
    Fault("workers killed under load", "what was confirmed is there", _FAULTS, "test_no_session"),
    Fault("full and read-only disk of a ring", "rotating is refused, all else goes on", _FAULTS,
          "test_a_ring_stays"),
    Fault("full and read-only disk of SQLite", "no session changes, and all come back", _FAULTS,
          "test_sessions_in_sqlite"),
    Fault("clock a day ahead, then right; sessions live a week",
          "sessions of before open throughout", _FAULTS, "test_a_day_ahead_and_back"),
    Fault("clock a day back, then right; sessions live a week",
          "sessions are kept, and open again", _FAULTS, "test_a_day_back"),
    Fault("key ring rotated by a clock a day ahead, then right",
          "the former key is used for that day, and all sessions come back", _FAULTS,
          "test_a_ring_rotated"),
    Fault("memory limit reached", "MemoryError", _FAULTS, "test_memory_that"),
    Fault("sessions for which there is no memory", "MemoryError, and the process goes on", _FAULTS,
          "test_sessions_for_which"),
    Fault("hostile headers over raw sockets", "an empty session, 400, 431 or no answer", _FAULTS,
          "test_hostile_headers"),
    Fault("Redis that lies", "503 or an empty session, and no cookie", _LYING,
          "test_a_store_that_lies_is_not_believed[redis"),
    Fault("PostgreSQL that lies", "503 or an empty session, and no cookie", _LYING,
          "test_a_store_that_lies_is_not_believed[postgres"),
    Fault("MariaDB that lies", "503 or an empty session, and no cookie; 500 where PyMySQL fails",
          _LYING, "test_a_store_that_lies_is_not_believed[maria"),
    Fault("store without memory, store that only reads", "sessions open, writing fails", _FAULTS,
          "test_a_store_that_is_full"),
    Fault("slow store", "503 after the timeout for a byte; within it, the session", _LYING,
          "test_it_is_waited_for"),
    Fault("mute store", "after the timeout, then at once: 503, or with readonly an empty session",
          _STORED, "test_a_mute_store"),
    Fault("store killed under load", "what was confirmed is there", _STORED,
          "test_nothing_that_was_confirmed"),
    Fault("gevent, two thousand greenlets", "twenty connections suffice", _STORED,
          "test_two_thousand"),
    Fault("workers of four kinds of server", "nobody reads the answer of another", _STORED,
          "test_no_worker_reads"),
    Fault("forks by Python, by C and by the kernel alone", "no IV comes twice", _PROCESSES,
          "test_forks_never", has_sessions=False),
    Fault("eight threads in one app", "nobody sees another's session", _PROCESSES,
          "test_eight_threads"),
    Fault("sub-interpreters", "ImportError; the main one works", _PROCESSES,
          "test_a_subinterpreter"),
    Fault("interpreter ends under daemon threads", "status 0 and no message", _FAULTS,
          "test_an_interpreter_ends"),
]  # fmt: skip


def run() -> list[dict[str, Any]]:
    """Runs the tests.

    :raises SystemExit: if one fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = sorted({fault.file for fault in FAULTS})
        passed(*files, "-p", "evidence.peak", "-o", "junit_family=xunit1", f"--junitxml={report}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    rows = []
    for fault in FAULTS:
        module = fault.file.removesuffix(".py").replace("/", ".")
        found = [
            case
            for case in cases
            if (case.get("classname") or "").startswith(module)
            and (case.get("name") or "").startswith(fault.test)
        ]
        if not found:
            raise SystemExit(f"No test is named {fault.test}.")
        skipped = [case.get("name") for case in found if case.find("skipped") is not None]
        if skipped:
            raise SystemExit(f"Not tried on this machine: {', '.join(map(str, skipped))}.")
        notes = [
            (note.get("name"), note.get("value") or "")
            for case in found
            for note in case.iter("property")
        ]
        observed = [value for name, value in dict.fromkeys(notes) if name == "observed"]
        lost = [int(value) for name, value in notes if name == "lost"]
        if not observed or bool(lost) != fault.has_sessions:
            raise SystemExit(f"{fault.test} does not say what it observed, or what was lost.")
        rows.append(
            {
                "fault": fault.fault,
                "expected": fault.expected,
                "tests": len(found),
                "observed": observed,
                "lost": sum(lost) if lost else None,
                "MiB": max(float(value) for name, value in notes if name == "MiB"),
            }
        )
    return rows
