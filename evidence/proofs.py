"""What `make proof` runs: keys, deploys and stores that change under load, each for two minutes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benches import deploy, load, outages
from tests.servers import PostgresServer, RedisServer

#: Seconds of each.
SECONDS = 120


def run(share: float) -> list[dict[str, Any]]:
    """Runs each for a share of its time.

    :raises SystemExit: if something was lost, came back or failed, or if it did not happen by
        which one would have seen that.
    """
    seconds = SECONDS * share
    with tempfile.TemporaryDirectory() as folder:
        rotated = load.Load(Path(folder)).run(seconds)
    rows = [
        _row("keys rotated, pruned and revoked", rotated, load.FAULTS, load.NEEDED),
        _row("moving from Flask's cookies and back", deploy.Deploy().run(seconds), deploy.FAULTS,
             ("came back", "deploys")),
    ]  # fmt: skip
    for kind in (RedisServer, PostgresServer):
        tally = outages.prove(kind(), seconds)
        happened = {"requests": tally.requests, "confirmed writes": tally.writes,
                    "log-outs": tally.log_outs, "kills": tally.kills,
                    "refused meanwhile": tally.refused, "faults": len(tally.faults)}  # fmt: skip
        for fault in tally.faults[:20]:
            print(fault, flush=True)
        name = kind.__name__.removesuffix("Server")
        rows.append(_row(f"{name} killed and started again", happened, ("faults",),
                         ("confirmed writes", "log-outs", "kills")))  # fmt: skip
    return rows


def _row(
    name: str, seen: dict[str, int], faults: tuple[str, ...], needed: tuple[str, ...]
) -> dict[str, Any]:
    print(f"{name}: {dict(seen)}", flush=True)
    wrong = {fault: seen[fault] for fault in faults if seen.get(fault)}
    missing = [one for one in needed if not seen.get(one)]
    if wrong or missing:
        raise SystemExit(f"{name}: {wrong}, missing: {missing}")
    happened = {what: count for what, count in sorted(seen.items()) if what not in faults}
    return {"proof": name, "happened": happened, "faults": sum(wrong.values())}
