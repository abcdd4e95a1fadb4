"""Mutation testing: each small change of the core, and of the Python that decides about keys,
sessions, lifetimes and merging, must make a test fail. Takes hours, and needs cargo-mutants and
cosmic-ray, which their package managers install.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .suite import ROOT

#: The sources of the core that are changed.
RUST = (
    "src/compress.rs",
    "src/cookie.rs",
    "src/http_date.rs",
    "src/json/*.rs",
    "src/keys/*.rs",
    "src/search.rs",
    "src/token/*.rs",
)
#: Modules of Python, and the tests that must see a change of them.
PYTHON = {
    f"python/flask_fernet/{module}": tests
    for module, tests in {
        "keys/document.py": "tests/keys",
        "keys/following.py": "tests/keys/test_polling.py tests/keys/test_following.py",
        "keys/keyring.py": "tests/keys tests/sessions/test_key_sources.py",
        "keys/ring.py": "tests/keys tests/sessions/test_key_sources.py",
        "sessions/key_sources.py": "tests/sessions tests/keys tests/test_doctor.py tests/cli",
        "sessions/lifetimes.py": "tests/sessions tests/stored tests/parity/test_against_flask.py",
        "sessions/opening.py": "tests/sessions tests/keys/test_following.py tests/test_signals.py",
        "sessions/policy.py": "tests/sessions tests/stored tests/parity/test_against_flask.py",
        "sessions/saving.py": "tests/sessions tests/test_signals.py",
        "sessions/stored_reading.py": "tests/sessions tests/stored",
        "sessions/storing.py": "tests/sessions",
        "stored/changes.py": "tests/stored tests/sessions",
        "stored/exchange.py": "tests/stored tests/sessions",
        "stored/feed.py": "tests/stored tests/sessions",
        "stored/merging.py": "tests/stored tests/sessions tests/parity/test_against_flask.py",
        "stored/owners.py": "tests/stored tests/sessions tests/cli/test_store.py",
        "stored/records.py": "tests/stored tests/sessions",
    }.items()
}
#: Operators that are left out. Most ``|`` are in annotations, which Python does not evaluate.
_LEFT_OUT = ["core/ReplaceBinaryOperator_BitOr_.*", "core/RemoveDecorator"]
#: Tests of the core that take long, and that no change needs in order to be seen.
_SLOW = ("the_accumulated_vectors", "inflating_undoes_deflating")
#: Tests of the core that are programs of their own.
_PROGRAMS = ("--test", "forks", "--test", "wiping")
#: Changes that no test can see, by a pattern of their names, and why.
EXPLAINED = {
    r"cookie\.rs:.*replace \| with \^": "conditions that exclude each other: `|` is `^`",
    r"warm_up with \(\)": "work that is done earlier, and otherwise at the first use",
    r"replace [-+*] with [-+*/] in (try_decode|deflate|inflate|append_string)": (
        "how much memory is asked for at first"
    ),
    r"keyring\.py:(?!.*(newest|changed\.serial|\)) - 1).*serial ?= ?max\(": (
        "a serial: any that is greater than all before will do"
    ),
    r"_ATTEMPTS = ": "after how many attempts one gives up",
    r"(above|serial): int = ": "a number below all serials",
    r"begins: int = |\._latest = (1|-1)|\._next = -1\.0": ("a time before all others"),
    r"is still staged": "which of several keys a message names",
    r"other\.revoked > other\.activates": (
        "a key revoked in its first second, whose successor begins in that second"
    ),
    r"staged = sorted\(.*activates >= now": (
        "a key that is activated now, which stays where it is in any case"
    ),
    r"purpose >= SESSIONS": "the comparison of one of two purposes",
    r"Mul_Div: .*/,": "which arguments are given by their names",
    r"Is_(GtE|LtE): .*State\.": "the order of the states' names, of which one is last",
    r"Sub_Mod: .* change % now": (
        "a difference of two times, of which the later is less than twice the earlier"
    ),
    r"Eq_LtE: .*\.key <= 0|Gt_NotEq: .*(\.key|refresh_from) != 0": (
        "the comparison of a number that is never negative"
    ),
    r"StoredNote\(self, .* False\)$": (
        "whether the cookie of a new session is the newest, which is sent in any case"
    ),
    r"payload is None and policy\.storage is None": (
        "the payload of a cookie that moves to the store, which is always kept"
    ),
    r"saving\.py.*ExceptionReplacer: except CosmicRayTestingException:$": (
        "a payload that has been read in this request already"
    ),
    r"time\.monotonic\(\) < until": "a single moment of the monotonic clock",
    r"_retry_after = (1|-1)\.0": "a pause that is set before it is used",
    r"_forks (<|is not) self\._lock\.forks": (
        "a counter that never decreases and is copied unchanged"
    ),
    r"if self\.user (== self\.over\.user|is self\.over\.user and .*\.key (<|== -1))": (
        "a fast path that gives the same arguments"
    ),
    r"len\(address\) is ADDRESS_BYTES": "`is` for `==` of a small number",
    r"stored_reading\.py.* payload\.startswith\(MARK\):$": (
        "whether native code or Python reads a session"
    ),
    r"stored_reading\.py.*error\.reason [<>] Reason\.UNAUTHENTIC": (
        "the order of two reasons, of which `malformed` cannot be of a newer record"
    ),
    r"note\.lost [<>]= Reason\.SUPERSEDED": (
        "the order of reasons: `superseded_at` is 0 for all others"
    ),
    r"compression > \"always\"|overflow >= \"warn\"": "the order of a setting's values",
    r"get\(CREATED, (1|-1)\)|take_creation\(.*, (1|-1)\)": "a default that is not looked at",
    r"latest = max\(.*default=|activate_in= -1\)": (
        "the lower of two times, of which the later counts"
    ),
    # Sites by their names: of a text or a long number there may be several objects.
    r"type\((serial|retention|created)\) [!=]= int|type\((user|self\.serializer)\) != ": (
        "`==` for `is` of classes"
    ),
    r"hook == |\"__func__\", None\) == ": "`==` for `is` of functions",
    r"Is_Eq: .* == (State|Reason|Replaced|Outcome|Identity)\.|"
    r"IsNot_NotEq: .* != (State|Reason|Outcome|Identity)\.": (
        "`==` for `is` of members of an enumeration"
    ),
    r"(key == found|key is not primary|found is last|is self\.primary\(now\))": (
        "`is` for `==`, or `==` for `is`, of keys of one ring"
    ),
    r"Is_Eq: .*== NO_FINGERPRINT": "`==` for `is` of an object that equals nothing else",
    r"(_ABSENT|finder == self|== policy\.(keys|ring_state)|get\(app\) != keys\.ring)": (
        "`==` for `is` of objects that equal nothing else, or that change nothing if they do"
    ),
    r"\(key in one\) is not \(key in other\)|is not bool\(before": (
        "`is not` for `!=` of truth values"
    ),
    r"source is not SIGNED_FORMAT": "`is not` for `!=` of a constant that is handed through",
    r"get\(\"_fresh\"\) == False": "a `_fresh` that is 0, which Flask-Login never writes",
    r"TYPE_CHECKING": "imports that only a type checker needs",
    r"config\.get\(\"DEBUG\"": "the value of a setting that Flask always has",
    r"key=lambda name: name <": "the order of two names, which stays",
    r"replace (\+ with \*|\* with /) in FernetKey::encrypt_and_mac": (
        "how a token is cut, which only its time shows"
    ),
    r"replace wiped_page::.* with None": "drawing from the system each time, which is slower",
    r"replace \+ with \* in wiped_page::generation": "generations that are counted from 0",
    r"process_id::generation": "code for systems other than Linux, which is not compiled here",
    r"replace \| with \^ in (Message.*::tag|wiped_page|.*hex4|find_by_word|unpadded_len)": (
        "bits that exclude each other: `|` is `^`"
    ),
    r"replace \| with \^ in (.*unescaped_run|append_string|special)": (
        "marks of bytes, of which the first is in one alone"
    ),
    r"replace \* with . in position": "how far a search looks at once, which only its time shows",
    r"replace < with <= in find_by_word": "a byte that is looked at twice, and found at first",
    r"replace > with >= in append_float": "the sign of an infinity, which is not 0",
    r"document\.get\(\"serial\", 1\)$": "the serial of a ring without one, while it is checked",
    r"indent= ": "how a document is indented",
    r"NotEq_Lt: if len\(": "the length of a set, which is never above that of its list",
    r"TIE_WAIT = ": "how long a log-in waits",
    r"_rank\(other\) >= _rank\(mine\)": "the ranks of two sessions, which differ",
    r"@dataclass\(frozen=False\)": "whether an object may be changed that nobody changes",
    r"formats\[ 0:\]": "a format that is opened in any case",
    r"name > \"keyring\"": "the order of two names of sources, which stays",
    r"replace \* with \+ in Message.*::apply_later_key_stream": (
        "in what steps of whole blocks a text is encrypted"
    ),
    r"wrapping\.rs:.*replace \|\| with &&": "an early refusal of what its tag refuses too",
    r"replace (> with >=|\+ with \*) in Pool::draw": (
        "when the pool is filled again: sooner than it must be"
    ),
    r"Drop for Message": ("wiping what a message leaves on the stack, whose bytes no test knows"),
}
_CONFIGURATION = """
[cosmic-ray]
module-path = "{module}"
timeout = 300.0
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
[cosmic-ray.filters.operators-filter]
exclude-operators = {left_out}
"""


#: What became of the changes of one file.
Outcome = dict[str, Any]


def rust(folder: Path, files: Iterable[str]) -> dict[str, Outcome]:
    """Runs cargo-mutants on some files, which reports into a folder."""
    named = [option for name in files for option in ("-f", name)]
    skipped = [option for name in _SLOW for option in ("--skip", name)]
    command = ["cargo", "mutants", "--no-config", "--minimum-test-timeout=60", "-o", str(folder),
               *named, "--no-default-features", "--", "--lib", *_PROGRAMS, "--",
               *skipped]  # fmt: skip
    # It ends with another status if a change was not seen.
    subprocess.run(command, cwd=ROOT, check=False)
    return of_rust(folder / "mutants.out" / "outcomes.json")


def of_rust(outcomes: Path) -> dict[str, Outcome]:
    """For each file what cargo-mutants has reported."""
    kinds = {"CaughtMutant": "killed", "MissedMutant": "survived", "Timeout": "out of time",
             "Unviable": "did not compile"}  # fmt: skip
    verdicts: dict[str, list[tuple[str, str]]] = {}
    for one in json.loads(outcomes.read_text())["outcomes"]:
        # The baseline is no change.
        if isinstance(one["scenario"], dict):
            changed = one["scenario"]["Mutant"]
            verdict = changed["name"], kinds.get(one["summary"], "not tried")
            verdicts.setdefault(changed["file"], []).append(verdict)
    return {name: _outcome(of_file) for name, of_file in verdicts.items()}


def _outcome(verdicts: list[tuple[str, str]]) -> Outcome:
    """The counts, with the changes that no test can see apart from those that survived.

    :param verdicts: the name of each change, and what became of it.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    survivors = []
    for name, verdict in verdicts:
        found = [reason for pattern, reason in EXPLAINED.items() if re.search(pattern, name)]
        if verdict == "survived" and found:
            reasons[found[0]] += 1
            verdict = "alike"
        elif verdict == "survived":
            survivors.append(name)
        counts[verdict] += 1
    return {"counts": dict(counts), "alike": dict(reasons), "survivors": sorted(survivors)}


def python(folder: Path, modules: Iterable[str]) -> dict[str, Outcome]:
    """Runs cosmic-ray on some modules in a copy of the package."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "copy")], check=True)
    installed = Path(sysconfig.get_path("platlib")) / "flask_fernet"
    for extension in installed.glob("_core*"):
        shutil.copy(extension, folder / "copy" / "python" / "flask_fernet")
    environment = {**os.environ, "PYTHONPATH": str(folder / "copy" / "python")}
    outcomes: dict[str, Outcome] = {}
    for module in modules:
        name = module.replace("/", "-")
        toml, session = folder / f"{name}.toml", folder / f"{name}.sqlite"
        toml.write_text(_CONFIGURATION.format(module=module, tests=PYTHON[module],
                                              python=sys.executable,
                                              left_out=json.dumps(_LEFT_OUT)))  # fmt: skip
        for command in (
            ["cosmic-ray", "init", str(toml), str(session)],
            ["cr-filter-operators", str(session), str(toml)],
            ["cosmic-ray", "exec", str(toml), str(session)],
        ):
            path = str(Path(sys.executable).with_name(command[0]))
            subprocess.run([path, *command[1:]], cwd=folder / "copy", env=environment, check=True)
        outcomes[module] = of_python(session)
    return outcomes


def of_python(session: Path) -> Outcome:
    """What cosmic-ray has recorded of a module."""
    rows = sqlite3.connect(session).execute(
        "select module_path, operator_name, start_pos_row, worker_outcome, test_outcome, diff"
        " from mutation_specs left join work_results using (job_id)"
        " where worker_outcome is null or worker_outcome != 'SKIPPED'"
    )
    verdicts = []
    for module, operator, line, worker, outcome, diff in rows:
        changed = [
            one[1:].strip()
            for one in (diff or "").splitlines()
            if one[:1] == "+" and one[:3] != "+++"
        ]
        name = f"{module}:{line}: {operator.rpartition('/')[2]}: {' '.join(changed)}"
        kinds = {"SURVIVED": "survived", "KILLED": "killed"}
        verdict = "not tried" if worker is None else kinds.get(outcome, "did not compile")
        verdicts.append((name, verdict))
    return _outcome(verdicts)


def run(files: Iterable[str], recorded: dict[str, Outcome]) -> dict[str, Outcome]:
    """Changes some files, and keeps what is recorded of the others.

    :param files: their paths; all if there are none.
    """
    everything = [str(path.relative_to(ROOT)) for name in RUST for path in ROOT.glob(name)]
    named = list(files) or sorted(everything) + list(PYTHON)
    if unknown := set(named) - {*everything, *PYTHON}:
        raise SystemExit(f"FILE must be one of those in evidence/mutants.py, not {min(unknown)}.")
    outcomes = dict(recorded)
    with tempfile.TemporaryDirectory() as folder:
        if core := [name for name in named if name in everything]:
            outcomes |= rust(Path(folder), core)
        if modules := [name for name in named if name in PYTHON]:
            outcomes |= python(Path(folder), modules)
    return outcomes
