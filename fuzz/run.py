"""Builds the fuzz targets and runs each of them for a time: ``python3 fuzz/run.py``.

It needs Rust and a C++ compiler: the targets are built with AddressSanitizer and the flags of
``cargo fuzz --no-cfg-fuzzing``, by the installed compiler. A target that finds something leaves the
input in ``fuzz/artifacts`` and makes the command fail.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

FUZZ = Path(__file__).parent
#: What all runs that were recorded amount to, by target.
RECORD = FUZZ / "record.json"
TARGETS = re.findall(r'^\[\[bin\]\]\nname = "(\w+)"$', (FUZZ / "Cargo.toml").read_text(), re.M)
#: Bytes of an input. Longer ones find nothing more here, and take longer.
LONGEST = 4096
#: Those of ``cargo fuzz`` (SanitizerCoverage, <https://clang.llvm.org/docs/SanitizerCoverage.html>).
FLAGS = (
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Dwarnings",
)


def build() -> Path:
    """Builds all targets. Returns the folder of their programs."""
    rustc = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host: str = re.findall(r"^host: (.*)$", rustc, re.M)[0]
    # Lets a stable compiler have the sanitizer, for this build alone.
    environment = {
        **os.environ,
        "RUSTC_BOOTSTRAP": "1",
        "RUSTFLAGS": " ".join(FLAGS),
        # For libdeflate, which is C.
        "CFLAGS": "-fsanitize=address",
    }
    command = ["cargo", "build", "--locked", "--release", "--quiet", "--target", host]
    subprocess.run(command, check=True, cwd=FUZZ, env=environment)
    return FUZZ / "target" / host / "release"


def run(program: Path, seconds: int) -> dict[str, Any]:
    """Runs a target. Returns what it says of itself, and its seconds of CPU time."""
    name = program.name
    corpus, artifacts = FUZZ / "corpus" / name, FUZZ / "artifacts" / name
    for folder in (corpus, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    if (seeds := FUZZ / "seeds" / f"{name}.zip").exists():
        with zipfile.ZipFile(seeds) as archive:
            archive.extractall(corpus)
    if (recorded := FUZZ / "seeds" / f"{name}.txt").exists():
        for number, line in enumerate(recorded.read_text().splitlines()):
            (corpus / f"recorded-{number}").write_text(line)
    command = [
        str(program), f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=10",
        "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={artifacts}/",
        str(corpus),
    ]  # fmt: skip
    with tempfile.TemporaryFile() as output:
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=output)
        # Tells how long this one program computed, beside others and however often it waited.
        _, status, usage = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")

    def last(pattern: str) -> int:
        return int((re.findall(pattern, said) or ["0"])[-1])

    return {
        "name": name,
        "failed": started.returncode != 0,
        "said": said,
        "executions": last(r"stat::number_of_executed_units: (\d+)") or last(r"#(\d+)"),
        "edges": last(r"cov: (\d+)"),
        "inputs": last(r"corp: (\d+)/"),
        "seconds": round(usage.ru_utime + usage.ru_stime),
    }


def keep(program: Path) -> None:
    """Makes the seeds of a target from its corpus: the fewest inputs that cover as much."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = FUZZ / "corpus" / program.name
        command = [str(program), "-set_cover_merge=1", folder, str(corpus)]
        subprocess.run(command, check=True, capture_output=True)
        with zipfile.ZipFile(FUZZ / "seeds" / f"{program.name}.zip", "w") as archive:
            for path in sorted(Path(folder).iterdir()):
                # Without a date: the same inputs make the same file.
                entry = zipfile.ZipInfo(path.name)
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def record(results: list[dict[str, Any]]) -> None:
    """Adds these runs to the record, those that failed excepted."""
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for one in (one for one in results if not one["failed"]):
        before = known.get(one["name"], {})
        known[one["name"]] = {
            "executions": before.get("executions", 0) + one["executions"],
            "seconds": before.get("seconds", 0) + one["seconds"],
            "edges": max(before.get("edges", 0), one["edges"]),
            "inputs": one["inputs"],
            "last": date.today().isoformat(),
        }
    RECORD.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the fuzz targets.")
    parser.add_argument("targets", nargs="*", help="all of them if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--record", action="store_true", help="adds the run to fuzz/record.json")
    parser.add_argument("--keep", action="store_true", help="makes the seeds from what was found")
    options = parser.parse_args()
    names = options.targets or TARGETS
    unknown = ", ".join(set(names) - set(TARGETS))
    if unknown:
        parser.error(f"TARGET must be one of {', '.join(TARGETS)}, not {unknown}.")
    folder = build()
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: run(folder / name, options.seconds), names))
    print(f"{'target':15}{'executions':>14}{'a second':>12}{'edges':>8}{'inputs':>8}")
    for one in results:
        rate = one["executions"] // max(1, one["seconds"])
        print(f"{one['name']:15}{one['executions']:14,}{rate:12,}{one['edges']:8,}{one['inputs']:8,}"
              f"{'  FAILED' if one['failed'] else ''}")  # fmt: skip
    for one in results:
        if one["failed"]:
            print(one["said"][-4000:], file=sys.stderr)
    if options.record:
        record(results)
    if options.keep:
        for name in names:
            keep(folder / name)
    return int(any(one["failed"] for one in results))


if __name__ == "__main__":
    sys.exit(main())
