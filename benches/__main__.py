"""Prints tables of ratios, all sides measured in one run: ``python -m benches [--quick]``.

Each side of a row runs in turn, round after round, and its best round counts: whatever else the
machine does only ever makes a round slower.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benches import (
    charts,
    fallback,
    formats,
    growth,
    layers,
    memory,
    policies,
    requests,
    rotation,
    server,
    sessions,
    stores,
    tokens,
)
from benches.table import Table, versions

PARTS = {
    part.__name__.rpartition(".")[2]: part
    for part in (
        tokens,
        layers,
        sessions,
        formats,
        fallback,
        policies,
        rotation,
        requests,
        growth,
        server,
        stores,
        memory,
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a few rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--publish", action="store_true", help="draw the charts of the README")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    table = Table(rounds=5 if arguments.quick else 25)
    about = versions()
    print("  ".join(f"{name} {number}" for name, number in about.items()))
    print("Ours in microseconds per call; the others as multiples of it.\n")
    for name, part in PARTS.items():
        if not arguments.parts or name in arguments.parts:
            print((part.__doc__ or "").strip().splitlines()[0])
            part.measure(table)
            print()
    if arguments.json:
        figures = {"versions": about, "rows": table.rows}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    if arguments.publish:
        charts.publish(table.rows, about)
    return 0


sys.exit(main())
