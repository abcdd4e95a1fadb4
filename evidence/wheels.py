"""Two builds of the wheel, each in a clone of its own, with one hash."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .suite import ROOT


def run() -> dict[str, Any]:
    """Builds what is committed twice.

    :raises SystemExit: if the wheels differ.
    """
    hashes = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "clone", "--quiet", str(ROOT), folder], check=True)
            make = ["make", "--silent", "wheel", f"PYTHON={sys.executable}"]
            subprocess.run(make, cwd=folder, check=True)
            (wheel,) = (Path(folder) / "dist").glob("*.whl")
            hashes.append(hashlib.sha256(wheel.read_bytes()).hexdigest())
    if len(set(hashes)) != 1:
        raise SystemExit(f"The wheels differ: {hashes}")
    return {"sha256": hashes[0], "wheel": wheel.name}
