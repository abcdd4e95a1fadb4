"""Layers: token calls from Python against the sum of the primitives they need."""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benches.table import best_of
from flask_fernet import Fernet

if TYPE_CHECKING:
    from benches.table import Table

ROOT = Path(__file__).parents[1]
COMMAND = ["cargo", "bench", "--quiet", "--locked", "--no-default-features", "--bench", "layers"]


def in_rust() -> dict[str, float]:
    """The nanoseconds per call of each layer and primitive, from ``benches/layers.rs``."""
    done = subprocess.run(COMMAND, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(table: Table) -> None:
    """Takes the best of two runs of the Rust program, with the calls from Python between them."""
    before = in_rust()
    fernet = Fernet(Fernet.generate_key())
    ours = {}
    for size in (32, 256, 1024, 3000):
        data = os.urandom(size)
        calls = {
            "sealing": partial(fernet.encrypt, data),
            "opening": partial(fernet.decrypt, fernet.encrypt(data)),
        }
        ours[size] = best_of(table.rounds, calls)
    after = in_rust()
    layers = {name: min(value, after[name]) for name, value in before.items()}
    for size, calls_of_size in ours.items():
        for what, seconds in calls_of_size.items():
            verb = {"sealing": "seal", "opening": "open"}[what]
            table.put(
                f"{what} {size} bytes, from Python",
                {
                    "ours": seconds,
                    "primitives alone": layers[f"primitives of {what} {size}"] / 1e9,
                    "our Rust alone": layers[f"{verb} {size}"] / 1e9,
                },
            )
    for name, nanoseconds in layers.items():
        if name.startswith(("scan", "write", "find", "base64", "fernet ", "xaes")):
            table.note(f"in Rust: {name}", nanoseconds=nanoseconds)
