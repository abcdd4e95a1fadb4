"""Draws the bar charts of the README and puts the tables of one run's figures into the pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
CHART = ROOT / "docs" / "benchmarks.svg"
README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"

#: What is drawn: a row's name and a title.
DRAWN = {
    "open + save, Flask-Login": "Open and save a Flask-Login session",
    "open + save, Flask-Login, cart of 20": "The same with a cart of 20 items",
    "WSGI request, Flask-Login session": "A whole request in Flask",
    "encrypt, 256 bytes": "Fernet.encrypt, 256 bytes",
    "decrypt, 256 bytes": "Fernet.decrypt, 256 bytes",
}
NAMES = {
    "ours": "flask-fernet",
    "signed": "Flask, signed only",
    "hand-written": "cryptography, by hand",
    "enciphers": "flask-enciphers",
    "nothing": "no session at all",
}
WIDTH, LABEL, BAR = 860, 190, 18


def publish(rows: list[dict[str, Any]], about: dict[str, str]) -> None:
    """Writes the chart, and the tables between the marks in the README and the page."""
    found = {row["name"]: row["microseconds"] for row in rows if "microseconds" in row}
    missing = DRAWN.keys() - found.keys()
    if missing:
        raise SystemExit(f"not measured in this run: {', '.join(sorted(missing))}")
    CHART.write_text(chart({name: found[name] for name in DRAWN}))
    put(README, table(found, about))
    put(PERFORMANCE, everything(rows, about))


def put(page: Path, text: str) -> None:
    """Puts a text between the marks in a page."""
    before = page.read_text()
    mark = "<!-- benchmarks: written by `make bench-publish` -->"
    start, end = before.index(mark) + len(mark), before.index("<!-- end of benchmarks -->")
    page.write_text(f"{before[:start]}\n\n{text}\n{before[end:]}")


def chart(rows: dict[str, dict[str, float]]) -> str:
    """Horizontal bars, a group a row, in microseconds."""
    parts, y = [], 10
    for name, sides in rows.items():
        parts.append(f'<text x="10" y="{y + 16}" class="title">{escape(DRAWN[name])}</text>')
        y += 28
        longest = max(sides.values())
        for side, value in sides.items():
            width = max(2.0, value / longest * (WIDTH - LABEL - 150))
            ours = " ours" if side == "ours" else ""
            ratio = "" if side == "ours" else f" ({value / sides['ours']:.1f}x)"
            middle = y + BAR - 5
            parts.append(
                f'<text x="{LABEL - 8}" y="{middle}" class="name">{escape(NAMES.get(side, side))}'
                f'</text><rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 4}"'
                f' rx="2" class="bar{ours}"/><text x="{LABEL + width + 6:.1f}" y="{middle}"'
                f' class="value">{value:.2f} µs{ratio}</text>'
            )
            y += BAR
        y += 14
    style = (
        "text{font:13px system-ui,sans-serif;fill:#444}.title{font-weight:600;fill:#222}"
        ".name{text-anchor:end}.bar{fill:#b8bcc4}.ours{fill:#0f766e}"
        "@media(prefers-color-scheme:dark){text{fill:#bbb}.title{fill:#eee}.bar{fill:#5b616b}"
        ".ours{fill:#2dd4bf}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">'
        f"<title>Microseconds a call, shorter is better</title><style>{style}</style>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def table(found: dict[str, dict[str, float]], about: dict[str, str]) -> str:
    """The same figures as text, and more of them."""
    columns = ["signed", "hand-written", "enciphers", "cryptography", "rfernet", "nothing"]
    lines = [
        "| | ours | " + " | ".join(NAMES.get(column, column) for column in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for name, sides in found.items():
        if re.match(r"(open \+ save|WSGI|one request|(en|de)crypt, (32|256|1024) )", name):
            cells = [f"{sides[c] / sides['ours']:.1f}x" if c in sides else "" for c in columns]
            lines.append(f"| {name} | {sides['ours']:.2f} µs | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", measured_with(about)]) + "\n"


def everything(rows: list[dict[str, Any]], about: dict[str, str]) -> str:
    """Every row as text: times with the others as multiples, and figures that are no times."""
    lines = [measured_with(about), "", "| | ours | others |", "|---|---|---|"]
    for row in rows:
        sides = row.get("microseconds", {})
        ours = sides.get("ours")
        others = [
            f"{NAMES.get(side, side)} {time / ours:.2f}x"
            for side, time in sides.items()
            if side != "ours"
        ]
        if ours is not None:
            lines.append(f"| {row['name']} | {ours:.2f} µs | {', '.join(others)} |")
    lines += ["", "| | |", "|---|---|"]
    for row in rows:
        figures = [
            f"{name.replace('_', ' ')} {value:,.2f}".removesuffix(".00")
            for name, value in row.items()
            if name not in ("name", "microseconds")
        ]
        if figures:
            lines.append(f"| {row['name']} | {', '.join(figures)} |")
    return "\n".join(lines) + "\n"


def measured_with(about: dict[str, str]) -> str:
    """The versions, in a sentence."""
    return f"Measured with {', '.join(f'{name} {number}' for name, number in about.items())}."
