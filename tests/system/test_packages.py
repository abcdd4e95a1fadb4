"""The wheel and the source distribution, each installed into an empty environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from tests.ports import free_port
from tests.servers import answers, unavailable, until

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"


def package(pattern: str) -> Path:
    """What ``make wheel`` has made, without which a test is :func:`unavailable`."""
    found = sorted(DIST.glob(pattern))
    if not found:
        unavailable(f"run make wheel first: there is no dist/{pattern}")
    assert len(found) == 1, found
    return found[0]


def installed(folder: Path, path: Path, **environment: str) -> Path:
    """The interpreter of an empty environment into which a package was installed."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", str(path)],
        check=True, env={**os.environ, "PIP_REQUIRE_HASHES": "", **environment}, cwd=folder,
    )  # fmt: skip
    return python


@contextmanager
def demo(python: Path, instance: Path) -> Iterator[str]:
    """The demo by an interpreter that has nothing but the package."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FLASK_")},
        "ARTICLE_INSTANCE": str(instance),
        "PYTHONPATH": str(ROOT),
    }
    port = free_port()
    subprocess.run([str(python), "-m", "examples.article.keys"], check=True, env=environment,
                   cwd=ROOT)  # fmt: skip
    command = [str(python), "-m", "flask", "--app", "examples.article.app:create_app", "run",
               "--port", str(port)]  # fmt: skip
    server = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL)  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until(partial(answers, f"{url}/login"), 30)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def runs_the_demo(python: Path, instance: Path) -> None:
    with demo(python, instance) as url:
        browser = build_opener(HTTPCookieProcessor(CookieJar()))
        page = browser.open(f"{url}/login", urlencode({"username": "ada"}).encode()).read()
        assert b"<mark>&#34;ada@example.org&#34;</mark>" in page
        assert b"gAAAAA" in page
        assert b"4093 bytes" in browser.open(f"{url}/session").read()


def test_the_wheel_runs_the_demo(tmp_path: Path) -> None:
    python = installed(tmp_path / "environment", package("*.whl"))
    runs_the_demo(python, tmp_path / "instance")
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "freeze"], capture_output=True, text=True,
        check=True,
    ).stdout.lower()  # fmt: skip
    # What a user gets with it: Flask's own dependencies, and nothing else.
    names = {line.partition("==")[0] for line in listed.split()}
    assert names - {"pip", "setuptools"} == {
        "flask-fernet", "flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "click",
        "blinker",
    }  # fmt: skip


def test_the_source_distribution_runs_the_demo(tmp_path: Path) -> None:
    # Without the optimisation that takes most of the time to build.
    quick = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    python = installed(tmp_path / "environment", package("*.tar.gz"), **quick)
    runs_the_demo(python, tmp_path / "instance")


@pytest.mark.skipif(sys.platform != "linux", reason="only wheels for Linux have such a tag")
def test_the_wheel_loads_on_older_systems() -> None:
    tag = re.search(r"cp310-abi3-manylinux_2_(\d+)_\w+\.whl$", package("*.whl").name)
    assert tag is not None
    assert int(tag.group(1)) <= 28


def test_the_packages_hold_what_they_must_and_no_more() -> None:
    with zipfile.ZipFile(package("*.whl")) as wheel:
        names = wheel.namelist()
        (metadata,) = [one for one in names if one.endswith("METADATA")]
        text = wheel.read(metadata).decode()
    assert "flask_fernet/py.typed" in names
    assert "flask_fernet/_core.pyi" in names
    assert "flask_fernet/stores/scripts/replace.lua" in names
    assert not [one for one in names if "test_" in one or one.endswith((".rs", ".pyc"))]
    assert "Project-URL: Documentation, https://" in text
    # What PyPI shows has no link that leads nowhere there.
    assert not re.findall(r"\]\((?!https://)[^)]*\)", text)
    with tarfile.open(package("*.tar.gz")) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Cargo.lock", "LICENSE-MIT", "LICENSE-APACHE", "README.md", "src/lib.rs"} <= inside
    assert not [one for one in inside if one.startswith(("target/", "dist/", ".cache/"))]
