"""The tests of the boundary to Python, with the extension under AddressSanitizer.

The sanitizer's runtime is GCC's, which Python must load first. Python's own allocator is off, so
that objects count too. Leaks are not looked for: Python never frees what lives as long as it does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from . import suite
from .suite import ROOT

TARGET = ROOT / "target" / "sanitizer"
TESTS = ("tests/codec", "tests/sessions", "tests/stored", "tests/test_fernet.py",
         "tests/parity/test_implementations.py", "tests/parity/test_hostile_objects.py",
         "tests/parity/test_odd_apps.py", "tests/test_tracebacks.py",
         "tests/test_threads.py")  # fmt: skip


def run() -> dict[str, Any]:
    """Builds the extension and runs the tests.

    :raises SystemExit: with the output, if a test fails, the sanitizer reports something, or it
        does not report the error of :mod:`evidence.control`.
    """
    rustc = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host: str = re.findall(r"^host: (.*)$", rustc, re.M)[0]
    # Lets a stable compiler have the sanitizer, for this build alone.
    building = {**os.environ, "RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zsanitizer=address",
                "CFLAGS": "-fsanitize=address"}  # fmt: skip
    build = ["cargo", "build", "--locked", "--quiet", "--lib", "--target", host,
             "--target-dir", str(TARGET)]  # fmt: skip
    subprocess.run(build, check=True, cwd=ROOT, env=building)
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True,
                           text=True)  # fmt: skip
    runtime = Path(found.stdout.strip()).resolve()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "flask_fernet"
        shutil.copytree(ROOT / "python" / "flask_fernet", package)
        shutil.copy(TARGET / host / "debug" / "libflask_fernet.so", package / "_core.abi3.so")
        environment = {"LD_PRELOAD": str(runtime), "PYTHONPATH": folder, "PYTHONMALLOC": "malloc",
                       "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1"}  # fmt: skip
        control = suite.control(**environment)
        # The code of the extension itself must have read it, which only this build can name.
        report = r"heap-buffer-overflow.*\nREAD of size .*\n +#0 .*flask_fernet::"
        if not re.search(report, control):
            raise SystemExit(f"The error of evidence.control is not reported:\n{control}")
        passed = suite.passed(*TESTS, **environment)
    return {"tests": passed, "reports": 0, "control": "reported"}
