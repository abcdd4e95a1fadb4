"""Runs the samples of the README and the docs unchanged, and checks their lists and links."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session

import flask_fernet
from flask_fernet import EncryptedSessionInterface, Fernet
from flask_fernet.settings import ENCRYPTION_SETTINGS
from tests.strategies import EVERYTHING

ROOT = Path(__file__).parents[2]
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
    assert names >= {"README.md", "fernet.md", "keys.md", "sessions.md"}


def test_the_first_sample_encrypts_sessions_in_five_lines() -> None:
    lines = [line for line in samples(ROOT / "README.md")[0].splitlines() if line]
    assert len(lines) == 5
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


def test_the_derivation_of_the_readme_gives_the_keys_of_the_vectors() -> None:
    """The README's derivation with `cryptography` gives the keys that the Rust tests expect."""
    derived_key = run(ROOT / "README.md")["derived_key"]
    vectors = json.loads((ROOT / "tests/vectors/derived_keys.json").read_text())
    assert len(vectors) >= 6
    for vector in vectors:
        key = derived_key(vector["secret"], vector["salt"])
        assert key.decode() == vector["key"]


def test_every_setting_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for name in (*ENCRYPTION_SETTINGS, "SESSION_COMPRESSION", "SESSION_OVERFLOW"):
        assert f"| `{name}` |" in text


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
                anchors = {
                    re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings
                }
                assert anchor in anchors, f"{page.name} links to {target}"


def test_public_names_are_documented() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert len(flask_fernet.__all__) >= 10
    for name in flask_fernet.__all__:
        assert f"`{name}" in text or f"{name}(" in text, f"{name} is in no page"
