"""A million cycles without a leaked reference, and the extension under valgrind's memcheck.

CPython itself has reports under memcheck. A report counts if a function of the extension is in its
stack. It needs ``valgrind`` and CPython 3.12: those before make 0 from a digit that they have not
set (<https://github.com/python/cpython/issues/102509>), and memcheck takes the address of that 0
for uninitialised wherever an integer goes that Hypothesis draws.
"""

from __future__ import annotations

import gc
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from benches.memory import resident
from evidence import suite
from tests.servers import program
from tests.system.cycles import CYCLES

#: What memcheck runs through, some 50 times slower than without: the boundary and hostile tokens.
TESTS = ("tests/codec/test_recorded.py", "tests/test_fernet.py",
         "tests/sessions/test_forgeries.py", "tests/stored/test_records.py",
         "tests/parity/test_odd_apps.py", "tests/test_tracebacks.py")  # fmt: skip
#: These have to meet enough of what they draw.
HOSTILE = ("tests/parity/test_hostile_objects.py",)
#: Objects that Python keeps for ever: a leaked reference to one of them leaves no block behind.
#: From CPython 3.12 on they are immortal, and have no count that would tell.
COUNTED = (None, True, False, "", b"", ())


def cycles(count: int) -> list[dict[str, Any]]:
    """What a cycle of each kind leaves behind, after so many.

    :raises SystemExit: if it leaves a block or a reference behind.
    """
    results = []
    for name, make in CYCLES.items():
        call = make()
        for _ in range(10_000):
            call()
        before = _state()
        for _ in range(count):
            call()
        after = _state()
        blocks, references, resident_bytes = (b - a for a, b in zip(before, after, strict=True))
        results.append({"cycle": name, "count": count, "blocks": blocks, "references": references,
                        "KiB": resident_bytes // 1024})  # fmt: skip
        print(results[-1], flush=True)
        # Caches of the interpreter come and go; a leak would be one for each cycle. Native memory
        # is no block of Python's: a byte for each cycle would be a leak.
        if max(blocks, references) > count / 1000 + 50 or resident_bytes > count + (1 << 20):
            raise SystemExit(f"{name} leaks.")
    return results


def _state() -> tuple[int, int, int]:
    gc.collect()
    return (
        sys.getallocatedblocks(),
        sum(map(sys.getrefcount, COUNTED)),
        resident(),
    )


def memcheck() -> dict[str, Any]:
    """Runs tests under memcheck.

    :raises SystemExit: before CPython 3.12, if a test fails, or if memcheck reports something of
        the extension, or does not report the error of :mod:`evidence.control`.
    """
    if sys.version_info < (3, 12):
        raise SystemExit("memcheck needs CPython 3.12 or later.")
    with tempfile.TemporaryDirectory() as folder:

        def under(name: str) -> tuple[str, ...]:
            return (program("valgrind"), "-q", "--leak-check=no", "--num-callers=40",
                    "--trace-children=no", f"--log-file={folder}/{name}")  # fmt: skip

        suite.control(before=under("control"), PYTHONMALLOC="malloc")
        if not any(map(_is_ours, _reports(Path(folder, "control")))):
            raise SystemExit("The error of evidence.control is not reported.")
        tests, reports = 0, []
        for name, files, examples in (("boundary", TESTS, "20"), ("hostile", HOSTILE, "150")):
            tests += suite.passed(*files, before=under(name), PYTHONMALLOC="malloc",
                                  HYPOTHESIS_MAX_EXAMPLES=examples)  # fmt: skip
            reports += _reports(Path(folder, name))
    if ours := list(filter(_is_ours, reports)):
        raise SystemExit("\n".join(ours[:5]))
    return {"tests": tests, "reports of CPython": len(reports)}


def _reports(path: Path) -> list[str]:
    return [one for one in re.split(r"==\d+== \n", path.read_text()) if " at 0x" in one]


def _is_ours(report: str) -> bool:
    return "_core.abi3" in report or "flask_fernet" in report
