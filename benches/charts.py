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

#: The rows that the chart shows, each with its title.
DRAWN = {
    "open + save, Flask-Login": "Open and save a Flask-Login session",
    "open + save, Flask-Login, cart of 20": "The same with a cart of 20 items",
    "WSGI request, Flask-Login session": "A whole request in Flask",
    "Redis, read and change": "Read and change a session in Redis",
    "Redis, read only": "Read a session in Redis",
    "SQLite, read and change": "Read and change a session in SQLite",
    "encrypt, 256 bytes": "Fernet.encrypt, 256 bytes",
    "decrypt, 256 bytes": "Fernet.decrypt, 256 bytes",
}
NAMES = {
    "ours": "flask-fernet",
    "signed": "Flask, signed only",
    "hand-written": "cryptography, by hand",
    "hand-written JSON": "the same, plain JSON",
    "enciphers": "flask-enciphers",
    "nothing": "no session at all",
    "compressed": 'flask-fernet, `"always"`',
}
#: The heading of the table that the README shows too.
LENGTHS = "Length of a session cookie, in characters"
#: The tables of figures that are not times per side: a heading, and patterns of a row's name and a
#: figure's name, each with the row and the column that show the figure.
FIGURES = {
    "Tokens in Rust, without Python": [
        (
            r"in Rust: (fernet|xaes-256-gcm) (seal|open)s (\d+): nanoseconds",
            r"\3 bytes",
            r"\1, \2 (ns)",
        ),
    ],
    "Other steps in Rust, without Python": [
        (r"in Rust: base64 (en|de)codes (\d+): \w+", r"base64: \1code \2 bytes", "time (ns)"),
        (r"in Rust: find a cookie of (\d+): \w+", r"find a cookie of \1 characters", "time (ns)"),
        (r"in Rust: scan a cart of (\d+): \w+", r"scan a cart of \1 items as JSON", "time (ns)"),
        (r"in Rust: write a string of (\d+): \w+", r"write a string of \1 characters", "time (ns)"),
        (r"in Rust: (.*): nanoseconds", r"\1", "time (ns)"),
    ],
    "Length of a token": [
        (r"characters of a token over (\d+) bytes: fernet", r"\1 bytes", "fernet (characters)"),
        (
            r"characters of a token over (\d+) bytes: xaes_256_gcm",
            r"\1 bytes",
            "xaes-256-gcm (characters)",
        ),
    ],
    LENGTHS: [
        (r"characters of a cookie: (.+): ([\w-]+)", r"\1", r"\2"),
    ],
    "Time by size": [
        (r"(\d+) bytes: (\w+)_µs", r"\1 bytes", r"\2 (µs)"),
        (r"(\d+) bytes: ns_a_byte_(\w+)", r"\1 bytes", r"\2, per byte over 16 (ns)"),
    ],
    "Encryption throughput": [
        (r"(\d+) (\w+): MB_a_second_1048576", r"\2: \1", "messages of 1 MiB (MB/s)"),
        (r"(\d+) (\w+): MB_a_second_(\d+)", r"\2: \1", r"messages of \3 bytes (MB/s)"),
    ],
    "Requests per second behind a server": [
        (r"requests a second behind (\w+): ([\w-]+)", r"\1", r"\2"),
    ],
    "Memory and machine": [
        (r"open \+ save, Flask-Login: cycles", "Flask-Login sessions opened and saved", "figure"),
        (
            r"open \+ save, Flask-Login: kB_grown",
            "growth of the process after these, in kB",
            "figure",
        ),
        ("processors: count", "processors of the machine", "figure"),
    ],
}
WIDTH, LABEL, BAR = 860, 190, 18


def publish(rows: list[dict[str, Any]], about: dict[str, str]) -> None:
    """Writes the chart, and the tables between the marks in the README and the page."""
    found = {row["name"]: row["microseconds"] for row in rows if "microseconds" in row}
    missing = DRAWN.keys() - found.keys()
    if missing:
        raise SystemExit(f"not measured in this run: {', '.join(sorted(missing))}")
    CHART.write_text(chart({name: found[name] for name in DRAWN}))
    lengths = figures_table(grouped(rows)[LENGTHS])
    parts = [table(found, about), stores_table(found), f"{LENGTHS}:", "", *lengths]
    put(README, "\n".join(parts) + "\n")
    put(PERFORMANCE, everything(rows, about))


def put(page: Path, text: str) -> None:
    """Puts a text between the marks in a page."""
    before = page.read_text()
    mark = "<!-- benchmarks: written by `make bench-publish` -->"
    start, end = before.index(mark) + len(mark), before.index("<!-- end of benchmarks -->")
    page.write_text(f"{before[:start]}\n\n{text}\n{before[end:]}")


def chart(rows: dict[str, dict[str, float]]) -> str:
    """Horizontal bars in microseconds, one group per row."""
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
    """The README's table: the rows of the chart and others like them."""
    columns = ["signed", "hand-written", "hand-written JSON", "enciphers", "cryptography",
               "rfernet", "nothing"]  # fmt: skip
    lines = [
        "| | ours | " + " | ".join(NAMES.get(column, column) for column in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for name, sides in found.items():
        if re.match(r"(open \+ save|WSGI|one request|(en|de)crypt, (32|256|1024) )", name):
            cells = [f"{sides[c] / sides['ours']:.1f}x" if c in sides else "" for c in columns]
            lines.append(f"| {name} | {sides['ours']:.2f} µs | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", measured_with(about)]) + "\n"


def stores_table(found: dict[str, dict[str, float]]) -> str:
    """The README's table of stored sessions."""
    bare = ("bare client", "SQLAlchemy Core", "no session, bare GET")
    lines = [
        "Stored Flask-Login sessions. The bare client is redis-py's `GET` and `SET`, or SQLAlchemy "
        "Core's `SELECT` and `UPDATE` in autocommit:",
        "",
        "| | ours | the bare client | Flask-Session |",
        "|---|---|---|---|",
    ]
    for name, sides in found.items():
        if re.match(r"(Redis|PostgreSQL|SQLite), ", name):
            other = next((sides[side] / sides["ours"] for side in bare if side in sides), None)
            cells = ["" if other is None else f"{other:.2f}x"]
            cells.append(f"{sides['Flask-Session'] / sides['ours']:.1f}x")
            lines.append(f"| {name} | {sides['ours']:.1f} µs | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def everything(rows: list[dict[str, Any]], about: dict[str, str]) -> str:
    """Every row as text: times, with those of the others as multiples, and other figures."""
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
    for heading, figures in grouped(rows).items():
        lines += ["", f"### {heading}", "", *figures_table(figures)]
    return "\n".join(lines) + "\n"


def figures_table(figures: dict[str, dict[str, float]]) -> list[str]:
    """The lines of a table of figures."""
    columns = list(dict.fromkeys(column for cells in figures.values() for column in cells))
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, cells in figures.items():
        shown = [number(cells[column]) if column in cells else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return lines


def grouped(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Every figure that is not a time per side, by heading, row and column."""
    groups: dict[str, dict[str, dict[str, float]]] = {heading: {} for heading in FIGURES}
    for row in rows:
        for name, value in row.items():
            if name not in ("name", "microseconds"):
                heading, line, column = place(f"{row['name']}: {name}")
                groups.setdefault(heading, {}).setdefault(line, {})[column] = value
    return {
        heading: dict(sorted(group.items(), key=size)) for heading, group in groups.items() if group
    }


def place(figure: str) -> tuple[str, str, str]:
    """The heading, row and column of a figure."""
    for heading, patterns in FIGURES.items():
        for pattern, line, column in patterns:
            if match := re.fullmatch(pattern, figure):
                column = match.expand(column)
                return heading, match.expand(line), NAMES.get(column, column)
    name, _, column = figure.rpartition(": ")
    return "Other figures", name, column.replace("_", " ")


def size(row: tuple[str, object]) -> int:
    """Sorts rows that begin with a number by it, and leaves the others in the order of the run."""
    match = re.match(r"\d+", row[0])
    return int(match[0]) if match else 0


def number(value: float) -> str:
    """A measured value with two decimals, a count with none."""
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def measured_with(about: dict[str, str]) -> str:
    """The versions, in a sentence."""
    return f"Measured with {', '.join(f'{name} {number}' for name, number in about.items())}."
