"""The tables of the page of evidence, from ``evidence/record.json`` and ``fuzz/record.json``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def evidence_tables() -> dict[str, list[str]]:
    """The lines of each table, by the name that the page gives it."""
    record = json.loads((ROOT / "evidence" / "record.json").read_text())
    tables = {"fuzz": _fuzz(json.loads((ROOT / "fuzz" / "record.json").read_text()))}
    for name, (part, lines) in _TABLES.items():
        ran = record[part]
        how = (
            f"`python -m evidence {part}`, {ran['date']}, CPython {ran['python']}, "
            f"{ran['machine']}, commit {ran['commit']}"
        )
        if "seconds" in ran:
            how += f", {max(1, round(ran['seconds'] / 60))} min"
        found = ran.get("versions", {})
        if beside := [f"{one} {found[one]}" for one in _BESIDE.get(name, ()) if one in found]:
            how += f"; {', '.join(beside)}"
        how += "."
        tables[name] = [how, "", *lines(ran["result"])]
    tables["faults"].append(_line(_without_a_gil(record["free_threads"]["result"])))
    return tables


def _fuzz(targets: dict[str, Any]) -> list[str]:
    return _table(
        ["target", "executions>", "minutes>", "edges covered>", "inputs kept>", "last run"],
        [
            [f"`{name}`", _number(one["executions"]), f"{one['seconds'] / 60:.0f}",
             _number(one["edges"]), _number(one["inputs"]), one["last"]]
            for name, one in targets.items()
        ],
    )  # fmt: skip


def _differential(subjects: dict[str, Any]) -> list[str]:
    return _table(
        ["subject", "compared>", "seed>", "what happened"],
        [
            [name, _number(one["count"]), one["seed"],
             "; ".join(f"{kind}: {count:,}" for kind, count in sorted(one["seen"].items()))]
            for name, one in subjects.items()
        ],
    )  # fmt: skip


def _side_channels(found: dict[str, Any]) -> list[str]:
    def rows(pairs: list[dict[str, Any]], unit: int) -> list[list[Any]]:
        return [
            [f"`{one['format']}`", one["pair"], _number(one["rounds"]), one["t"],
             # Without a zero below zero.
             round(one["nanoseconds"] / unit, 1) + 0.0]
            for one in pairs
        ]  # fmt: skip

    columns = ["format", "tokens", "measurements of each>", "t>"]
    return [
        *_table([*columns, "median difference, ns>"], rows(found["native"], 1)),
        "",
        *_table([*columns, "median difference, \u00b5s>"], rows(found["server"], 1000)),
    ]


def _threads(found: dict[str, Any]) -> list[str]:
    return [
        f"All {found['tests']} tests passed with eight threads of {found['cycles']:,} cycles each, "
        "that of the ring with 200 and those of stores with 25."
    ]


def _free_threads(found: dict[str, Any]) -> list[str]:
    seen = Counter(found["seen"])
    python = " ".join(found["python"].split()[:2])
    return [
        f"The same {found['tests']} tests passed on a free-threaded {python}. On it, gunicorn "
        "with two workers of eight threads each answered "
        f"{seen['requests']:,} requests of users who count in cookies and in Redis, and "
        f"{seen['hostile requests']:,} with hostile cookies, in {found['seconds']} seconds with "
        f"{seen['rotations']} rotations. Reloads: {seen['reloads']}; failed: {_failed(seen)}; lost "
        f"sessions: {seen['lost sessions']}. Memory went from {found['MiB'][0]} to "
        f"{found['MiB'][1]} MiB in the second half; with Flask's signed sessions in their place it "
        f"went from {found['signed']['MiB'][0]} to {found['signed']['MiB'][1]} MiB."
    ]


def _sanitizer(found: dict[str, Any]) -> list[str]:
    return [
        f"All {found['tests']:,} tests passed, and nothing was reported; the control was reported."
    ]


def _objects(found: dict[str, Any]) -> list[str]:
    return [
        f"All {found['tests']} properties held, each for {found['examples']:,} examples, in "
        f"{found['cpu_seconds'] / 60:.0f} minutes of CPU time."
    ]


def _cycles(cycles: list[dict[str, Any]]) -> list[str]:
    return _table(
        ["cycle", "times>", "blocks left>", "references left>", "KiB more>"],
        [
            [one["cycle"], _number(one["count"]), one["blocks"], one["references"], one["KiB"]]
            for one in cycles
        ],
    )


def _memcheck(found: dict[str, Any]) -> list[str]:
    return [
        f"All {found['tests']:,} tests passed, and no report had a function of the extension in "
        f"its stack. {found['reports of CPython']} reports were of CPython alone."
    ]


def _faults(rows: list[dict[str, Any]]) -> list[str]:
    return _table(
        ["fault", "expected", "observed", "lost sessions>", "memory, MiB>"],
        [
            [row["fault"], row["expected"], "; ".join(row["observed"]),
             "\u2013" if row["lost"] is None else row["lost"], row["MiB"]]
            for row in rows
        ],
    )  # fmt: skip


def _without_a_gil(found: dict[str, Any]) -> list[Any]:
    """The row of the server that another part runs."""
    seen = Counter(found["seen"])
    return [
        "two workers of eight threads without a GIL (above, under Threads)", "nothing is lost",
        f"{seen['requests']:,} requests, {_failed(seen)} failed", seen["lost sessions"],
        max(found["MiB"]),
    ]  # fmt: skip


def _proofs(rows: list[dict[str, Any]]) -> list[str]:
    return _table(
        ["under load", "what happened", "faults>"],
        [
            [row["proof"], "; ".join(f"{what}: {count:,}" for what, count in
                                     row["happened"].items()), row["faults"]]
            for row in rows
        ],
    )  # fmt: skip


def _load(servers: dict[str, Any]) -> list[str]:
    rows = []
    for name, one in servers.items():
        seen = Counter(one["seen"])
        again = sum(count for what, count in seen.items() if what.endswith("tried again"))
        rows.append([
            name, _number(seen["requests"]), _number(seen["hostile requests"]),
            seen["rotations"], seen["reloads"], again,
            _failed(seen), seen["lost sessions"],
            *one["MiB"],
        ])  # fmt: skip
    return _table(
        ["server", "requests>", "hostile>", "rotations>", "reloads>", "sent again>", "failed>",
         "sessions lost>", "MiB halfway>", "MiB at the end>"],
        rows,
    )  # fmt: skip


def _latency(servers: dict[str, Any]) -> list[str]:
    sides = {"our cookie": "cookie", "Flask's signed cookie": "signed", "our Redis": "redis",
             "Flask-Session in Redis": "flask-session"}  # fmt: skip
    return _table(
        ["server", *sides],
        [
            [name, *(f"{of['rps']:,.0f}/s; {of['p50']:.1f} and {of['p99']:.1f} ms"
                     for of in (found["cost"][side] for side in sides.values()))]
            for name, found in servers.items()
        ],
    )  # fmt: skip


def _mutants(files: dict[str, Any]) -> list[str]:
    kinds = ["killed", "out of time", "alike", "survived", "did not compile"]
    if any("not tried" in one["counts"] for one in files.values()):
        kinds.append("not tried")

    def row(name: str, counts: dict[str, int]) -> list[Any]:
        return [
            name,
            _number(sum(counts.values())),
            *(_number(counts.get(kind, 0)) for kind in kinds),
        ]

    total: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for one in files.values():
        total.update(one["counts"])
        reasons.update(one["alike"])
    survivors = [[f"`{survivor}`"] for one in files.values() for survivor in one["survivors"]]
    return [
        *_table(
            ["file", "changes>", *(f"{kind}>" for kind in kinds)],
            [
                *(
                    row(f"`{name.removeprefix('python/flask_fernet/')}`", one["counts"])
                    for name, one in sorted(files.items())
                ),
                row("all", dict(total)),
            ],
        ),
        "",
        *_table(
            ["alike, because they change", "changes>"],
            [[reason, count] for reason, count in sorted(reasons.items())],
        ),
        *(["", *_table(["survived"], survivors)] if survivors else []),
    ]


def _wheels(found: dict[str, Any]) -> list[str]:
    return [f"Two builds, each in a clone of its own, had one SHA-256: `{found['sha256']}`."]


_SERVERS = ("gunicorn", "gevent", "granian", "uwsgi", "waitress", "redis")
#: The packages whose versions a table tells.
_BESIDE = {
    "differential": ("cryptography", "rfernet", "flask", "werkzeug"),
    "faults": ("gunicorn", "gevent", "granian", "redis"),
    "objects": ("flask", "hypothesis"),
    "load": _SERVERS,
    "latency": ("flask", "flask-session", *_SERVERS),
}
#: The part of the record that each table shows, and how.
_TABLES: dict[str, tuple[str, Callable[[Any], list[str]]]] = {
    "differential": ("differential", _differential),
    "side channels": ("side_channels", _side_channels),
    "threads": ("threads", _threads),
    "free threads": ("free_threads", _free_threads),
    "sanitizer": ("sanitizer", _sanitizer),
    "objects": ("objects", _objects),
    "cycles": ("cycles", _cycles),
    "memcheck": ("memcheck", _memcheck),
    "faults": ("faults", _faults),
    "proofs": ("proofs", _proofs),
    "load": ("load", _load),
    "latency": ("load", _latency),
    "mutants": ("mutants", _mutants),
    "wheels": ("wheels", _wheels),
}


def _failed(seen: Counter[str]) -> int:
    """The requests that failed, and the users that could not be served at all."""
    return seen["failed requests"] + seen["users that gave up"]


def _number(count: int) -> str:
    return f"{count:,}"


def _table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    """The lines of a table. A column whose head ends with ``>`` is aligned to the right."""
    rules = ["--:" if head.endswith(">") else "---" for head in heads]
    names = [head.removesuffix(">") for head in heads]
    return [_line(names), f"|{'|'.join(rules)}|", *map(_line, rows)]


def _line(row: list[Any]) -> str:
    # A bar in a cell would end it.
    cells = (str(cell).replace("|", "\\|") for cell in row)
    return f"| {' | '.join(cells)} |"
