"""The processes that a process has started, and their memory. Linux alone."""

from __future__ import annotations

import re
from pathlib import Path


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def memory(pid: int) -> int:
    """KiB of a process, with its part of the pages that it shares (PSS); 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # A process that has ended and was not waited for has no pages.
    return int((re.findall(r"^Pss: +(\d+)", text, re.M) or ["0"])[0])


def name(pid: int) -> str:
    """The name of its program; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
