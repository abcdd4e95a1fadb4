"""Runs the samples of the README and the docs unchanged, and checks their lists and links."""

from __future__ import annotations

import base64
import configparser
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask, session

import flask_fernet
from flask_fernet import EncryptedSessionInterface, Fernet, KeyRing, new_ring
from flask_fernet.sessions import storage
from flask_fernet.settings import SETTINGS
from flask_fernet.testing import SessionTester
from tests.strategies import EVERYTHING

ROOT = Path(__file__).parents[2]
# As for the script itself, which is beside what it imports.
sys.path.insert(0, str(ROOT / "docs"))
_spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def samples(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def run(page: Path) -> dict[str, Any]:
    """Runs the samples of a page in order in one module, as a reader would."""
    module: dict[str, Any] = {"__name__": "sample"}
    for sample in samples(page):
        exec(compile(sample, page.name, "exec"), module)
    return module


SAMPLED = [page for page in PAGES if samples(page)]


@pytest.mark.parametrize("page", SAMPLED, ids=lambda page: page.name)
def test_every_sample_of_a_page_runs(page: Path) -> None:
    assert len(run(page)) > 2


def test_the_pages_for_users_have_samples() -> None:
    """These pages have samples, so the test above cannot pass because it found none."""
    names = {page.name for page in SAMPLED}
    assert names >= {
        *("README.md", "index.md", "quickstart.md", "demo.md", "moving.md", "coming-from.md"),
        *("deployment.md", "testing.md", "observability.md", "quart.md", "formats.md"),
        *("fernet.md", "keys.md", "sessions.md", "stores.md"),
    }


def test_the_quick_start_encrypts_sessions_in_five_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    (sample,) = [one for one in samples(ROOT / "README.md") if "from_prefixed_env" in one]
    assert len([line for line in sample.splitlines() if line]) == 5
    monkeypatch.setenv("FLASK_SECRET_KEY", "the secret of the README's test")
    app: Flask = run(ROOT / "README.md")["app"]

    @app.get("/")
    def view() -> str:
        session["user_id"] = 42
        return ""

    cookie = app.test_client().get("/").headers["Set-Cookie"]
    assert cookie.startswith("session=gAAAAA")


@pytest.mark.parametrize("source", ["explicit", "derived"])
@pytest.mark.parametrize("compression", ["never", "always"])
def test_the_reader_of_the_readme_reads_every_session(source: str, compression: str) -> None:
    readme = run(ROOT / "README.md")
    app = Flask(__name__)
    app.config["SESSION_COMPRESSION"] = compression
    key = Fernet.generate_key()
    if source == "derived":
        app.secret_key = "the secret of the README's test"
        key = readme["derived_key"](app.secret_key)
        app.session_interface = EncryptedSessionInterface()
    else:
        app.session_interface = EncryptedSessionInterface(keys=[key])

    @app.get("/")
    def view() -> str:
        session.update(EVERYTHING)
        return ""

    cookie = app.test_client().get("/").headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    assert set(readme["read_session"](cookie, key)) == set(EVERYTHING)


def test_the_readers_of_the_formats_read_what_is_written() -> None:
    module = run(ROOT / "docs" / "formats.md")
    secret = "the secret of the formats' test"
    for name, reader in (("fernet", "read_fernet"), ("xaes-256-gcm", "read_xaes")):
        for compression in ("never", "always"):
            app = Flask(__name__)
            app.config.update(
                SECRET_KEY=secret, SESSION_ENCRYPTION_FORMAT=name, SESSION_COMPRESSION=compression
            )
            EncryptedSessionInterface(app)
            cookie = SessionTester(app).forge(EVERYTHING)
            found = module[reader](cookie, module["derived_key"](secret))
            assert set(found) == set(EVERYTHING)
            assert found["bytes"] == EVERYTHING["bytes"]


def test_the_reader_of_a_wrapped_ring_reads_it(tmp_path: Path) -> None:
    secret = b"the secret of a wrapped ring"
    ring = KeyRing(tmp_path / "ring.json", secrets=[secret])
    ring.create(new_ring("sessions", time.time()))
    module = run(ROOT / "docs" / "formats.md")
    found = module["read_wrapped_ring"]((tmp_path / "ring.json").read_bytes(), secret)
    assert [key["id"] for key in found["keys"]] == [key.id for key in ring.load().keys]


def test_the_derivation_of_the_readme_gives_the_keys_of_the_vectors() -> None:
    """The README's derivation with `cryptography` gives the keys that the Rust tests expect."""
    derived_key = run(ROOT / "README.md")["derived_key"]
    vectors = json.loads((ROOT / "tests/vectors/derived_keys.json").read_text())
    assert len(vectors) >= 6
    for vector in vectors:
        key = derived_key(vector["secret"], vector["salt"])
        assert key.decode() == vector["key"]


def test_the_pages_made_from_the_code_are_up_to_date() -> None:
    """``make docs`` writes them."""
    assert len(SETTINGS) >= 15
    assert (ROOT / "docs" / "settings.md").read_text() == generate.settings_page()
    text = (ROOT / "README.md").read_text()
    assert generate.readme(text) == text
    evidence = (ROOT / "docs" / "evidence.md").read_text()
    assert generate.evidence(evidence) == evidence
    for name in SETTINGS:
        assert f"[`{name}`]({generate.SITE}settings/#{name.lower()})" in text


def test_each_default_of_the_reference_is_what_is_in_force() -> None:
    app = Flask(__name__)
    app.secret_key = "the secret of the reference's test"
    policy = EncryptedSessionInterface(app)._policy(app)
    for name, value in (
        ("SESSION_ENCRYPTION_FORMAT", policy.format),
        ("SESSION_COMPRESSION", policy.compression),
        ("SESSION_OVERFLOW", policy.overflow),
        ("SESSION_ENCRYPTION_ACCEPT", policy.accepted),
        ("SESSION_STORE_TIMEOUT", storage.TIMEOUT),
        ("SESSION_USER_KEY", storage.USER_KEY),
    ):
        default = SETTINGS[name].default
        assert default is not None
        assert json.loads(default) == value


def test_links_of_the_readme_lead_to_pages_of_the_site() -> None:
    """They are absolute, because the README is also read where no page is beside it."""
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    for link in links:
        assert link.startswith("https://"), link
        if not link.startswith(generate.SITE):
            continue
        name, _, anchor = link.removeprefix(generate.SITE).partition("#")
        page = ROOT / "docs" / f"{name.rstrip('/')}.md"
        assert page.is_file(), link
        headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
        assert not anchor or anchor in {generate.slug(one) for one in headings}, link


def blocks(language: str) -> list[Any]:
    """The blocks of a language in all pages."""
    return [
        pytest.param(block, id=f"{page.name}: {number}")
        for page in PAGES
        for number, block in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        )
    ]


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_yaml_is_well_formed(block: str) -> None:
    assert isinstance(yaml.safe_load(block), dict)


def test_the_mode_of_the_kubernetes_secret_is_one_that_a_ring_accepts() -> None:
    (block,) = [one.values[0] for one in blocks("yaml") if "defaultMode" in one.values[0]]
    (volume,) = yaml.safe_load(block)["spec"]["template"]["spec"]["volumes"]
    # YAML 1.1 reads it as octal, as Kubernetes does.
    assert volume["secret"]["defaultMode"] == 0o440


@pytest.mark.parametrize("block", blocks("ini"))
def test_every_unit_of_systemd_is_well_formed(block: str) -> None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block)
    assert parser.sections()


def test_every_dependency_is_argued_for() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    manifest = (ROOT / "Cargo.toml").read_text()
    crates = set()
    for table in re.findall(r"^\[(?:target\S*\.)?dependencies\]\n(.*?)\n\n", manifest, re.M | re.S):
        crates |= set(re.findall(r"^([\w-]+) = ", table, re.M))
    assert len(crates) > 15
    assert {crate for crate in crates if f"`{crate}`" not in text} == set()


def test_each_test_that_the_threat_model_names_exists() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    named = re.findall(r"`((?:tests|src|fuzz)/[\w/.]+)`", text)
    assert len(named) > 15
    for name in named:
        assert (ROOT / name).is_file(), name


def test_every_make_verb_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(
        re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M)
    )
    verbs = {first or second for first, second in named}
    assert verbs >= {"demo", "test", "bench"}
    for verb in verbs:
        assert f"\n## {verb}:" in makefile


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "SECURITY.md"]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            linked = (page.parent / name).resolve() if name else page
            assert linked.is_file(), f"{page.name} links to {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.M)
                anchors = {generate.slug(text) for text in headings}
                assert anchor in anchors, f"{page.name} links to {target}"


def test_public_names_are_documented() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert len(flask_fernet.__all__) >= 10
    for name in flask_fernet.__all__:
        assert f"`{name}" in text or f"{name}(" in text, f"{name} is in no page"


#: An app for the commands of the pages.
APP = """
import os
from flask import Flask, session
from flask_fernet import EncryptedSessionInterface
app = Flask(__name__, instance_path=os.path.abspath("instance"))
app.config.from_prefixed_env()
app.config.setdefault("SECRET_KEY", None)
app.secret_key = app.secret_key or "qzvkxw82mhrtbnjlpdfgsyceaiou3579"
if os.path.exists("instance/session-keys.json"):
    app.config["SESSION_ENCRYPTION_KEYRING"] = "session-keys.json"
EncryptedSessionInterface(app)
"""
#: The blocks of commands that need the package index or build the project.
NOT_RUN = ("pip install", "make ")


def commands(kind: str) -> list[Any]:
    found = []
    for page in PAGES:
        blocks = re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        found += [pytest.param(block, id=f"{page.name}: {block[:40]}") for block in blocks]
    return found


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs commands in the folder of an app with a key ring whose key has the id of the pages."""
    (tmp_path / "yourapp.py").write_text(APP)
    (tmp_path / "yourapp.env").write_text("export FLASK_DEBUG=0\n")
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, script in {
        "flask": f'exec "{sys.executable}" -m flask "$@"',
        "python3": f'exec "{sys.executable}" "$@"',
        # These need a cluster and root. They look at what they would get.
        "kubectl": f'exec "{sys.executable}" -c "import json; json.load(open(\'ring.json\'))"',
        "systemd-creds": "grep -Eqx '[A-Za-z0-9_-]{43}='",
    }.items():
        program = binaries / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def run_shell(text: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FLASK_")},
            "FLASK_APP": "yourapp",
            "PATH": f"{binaries}:{os.environ['PATH']}",
        }
        return subprocess.run(
            ["sh", "-eu", "-c", text], cwd=tmp_path, env=environment, capture_output=True,
            text=True, check=False, input="gAAAA", timeout=120,
        )  # fmt: skip

    return run_shell


def make_ring(folder: Path) -> None:
    (folder / "instance").mkdir(mode=0o700)
    ring = new_ring("sessions", time.time() - 100)
    named = replace(ring, keys=(replace(ring.keys[0], id="6b7bbb5d"),))
    KeyRing(folder / "instance" / "session-keys.json").create(named)


@pytest.mark.parametrize("block", commands("sh"))
def test_every_command_of_a_page_runs(
    tmp_path: Path, shell: Callable[[str], subprocess.CompletedProcess[str]], block: str
) -> None:
    lines = [line for line in block.splitlines() if not line.startswith(NOT_RUN)]
    if "ring" in block and "ring init" not in block:
        make_ring(tmp_path)
        if "--path ring.json" in block:
            lines.insert(0, "flask fernet ring init --path ring.json")
    if "fernet store" in block:
        # The app of docs/stores.md.
        lines.insert(0, f"export FLASK_SESSION_STORE=sqlite:///{tmp_path}/sessions.db")
        lines.insert(1, "flask --app yourapp fernet store create")
    done = shell("\n".join(lines))
    # The cookie that is pasted is not one, which the command says.
    refused = "inspect" in block and "refused:   malformed" in done.stdout
    assert done.returncode == (1 if refused else 0), done.stdout + done.stderr


def test_the_pages_have_commands() -> None:
    assert len(commands("sh")) >= 7
    assert len(commands("crontab")) == 1


def test_the_line_for_cron_rotates_quietly(
    tmp_path: Path, shell: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    (line,) = [parameter.values[0] for parameter in commands("crontab")]
    fields = line.split(None, 5)
    assert [field == "*" or field.isdigit() for field in fields[:5]] == [True] * 5
    make_ring(tmp_path)
    # Cron has no environment of the app and another folder.
    done = shell(f"cd /; unset FLASK_APP; {fields[5]}".replace("/srv/yourapp", str(tmp_path)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ring = KeyRing(tmp_path / "instance" / "session-keys.json").load()
    assert [key.id == "6b7bbb5d" for key in ring.keys] == [True, False]


def test_what_the_readme_says_of_one_cookie_is_true() -> None:
    """Flask's cookie shows its contents, and ours does not."""
    module = run(ROOT / "README.md")
    shown = base64.urlsafe_b64decode(module["flask_cookie"].split(".")[0])
    assert json.loads(shown) == {"email": "ada@example.org", "role": "admin"}
    (ours,) = re.findall(r"^gAAAAA\S+$", (ROOT / "README.md").read_text(), re.M)
    raw = base64.urlsafe_b64decode(ours)
    assert raw[0] == 0x80
    assert b"ada" not in raw
