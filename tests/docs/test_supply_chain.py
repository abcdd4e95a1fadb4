"""Every crate is audited or exempted, as `cargo vet` asks, which not every machine has."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
VET = ROOT / "supply-chain"


def locked() -> set[tuple[str, str]]:
    """The crates of ``Cargo.lock`` and their versions, this package excepted."""
    text = (ROOT / "Cargo.lock").read_text()
    return set(re.findall(r'^name = "(.+)"\nversion = "(.+)"\nsource = ', text, re.M))


def listed(file: str, kind: str) -> set[tuple[str, str]]:
    """The crates and versions of the tables of a kind in a file of `cargo vet`."""
    text = (VET / file).read_text()
    tables = re.findall(rf"^\[\[{kind}\.(.+)\]\]\n((?:.+\n)*)", text, re.M)
    return {
        (name.strip('"'), version)
        for name, table in tables
        for version in re.findall(r'^version = "(.+)"$', table, re.M)
    }


def test_each_crate_is_audited_or_exempted() -> None:
    """A new version of a crate needs an audit, or an exemption that somebody decided on."""
    known = listed("audits.toml", "audits") | listed("config.toml", "exemptions")
    assert len(locked()) > 90
    assert locked() - known == set()


def test_nothing_is_exempted_that_is_audited_or_not_used() -> None:
    exempted = listed("config.toml", "exemptions")
    assert exempted - locked() == set()
    assert exempted & listed("audits.toml", "audits") == set()


def test_each_audit_says_who_looked_and_at_what() -> None:
    text = (VET / "audits.toml").read_text()
    audits = re.findall(r"^\[\[audits\..+\]\]\n((?:.+\n)*)", text, re.M)
    assert len(audits) > 10
    for audit in audits:
        assert re.search(r'^who = ".+"$', audit, re.M)
        assert re.search(r'^criteria = "safe-to-(deploy|run)"$', audit, re.M)
        assert re.search(r'^notes = "', audit, re.M)
