"""Tokens of every release stay readable forever.

`python -m tests.sessions.test_golden VERSION [FORMAT]` writes the tokens of a release once. They
are never changed.
"""

from __future__ import annotations

import itertools
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.json.tag import TaggedJSONSerializer

from flask_fernet import EncryptedSessionInterface, Fernet, MultiFernet
from flask_fernet.settings import ENCRYPTED_FORMATS
from tests.apps import MakeApp, token_of
from tests.oracles import OracleFernet, derived_key, read_xaes
from tests.strategies import EVERYTHING, FLASK_LOGIN

VECTORS = Path(__file__).parents[1] / "vectors"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECRET = "the secret of the golden tokens"
CASES: list[dict[str, Any]] = [
    case for path in sorted(VECTORS.glob("golden_*.json")) for case in json.loads(path.read_text())
]


def format_of(case: dict[str, Any]) -> str:
    """Returns the format of a token. The oldest file names none, because there was only one."""
    found: str = case.get("format", "fernet")
    return found


def configured(make: Any, case: dict[str, Any]) -> Flask:
    keys = [KEY] if case["keys"] == "explicit" else None
    app: Flask = make(EncryptedSessionInterface(keys=keys), SECRET_KEY=SECRET)
    app.config["SESSION_ENCRYPTION_FORMAT"] = format_of(case)
    app.config["PERMANENT_SESSION_LIFETIME"] = 10**10  # A golden token never expires.
    return app


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['version']} {case['name']}")
def test_golden_tokens_open(make_app: MakeApp, case: dict[str, Any]) -> None:
    app = configured(make_app, case)
    client = app.test_client()
    client.set_cookie("session", case["token"])
    with client.session_transaction() as session:
        opened = dict(session)
    with app.app_context():
        assert opened == TaggedJSONSerializer().loads(case["plaintext"])
    assert opened


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['version']} {case['name']}")
def test_golden_plaintexts_are_written_alike(make_app: MakeApp, case: dict[str, Any]) -> None:
    """A session has the same plaintext as in the release, except for its compression."""
    app = configured(make_app, case)
    interface: Any = app.session_interface
    with app.app_context():
        data = TaggedJSONSerializer().loads(case["plaintext"])
        assert interface._dump(app, data) == case["plaintext"].encode()


def test_golden_tokens_cover_every_kind() -> None:
    kinds = {(format_of(case), case["keys"], case["compressed"]) for case in CASES}
    assert kinds == set(
        itertools.product(ENCRYPTED_FORMATS, ("explicit", "derived"), (True, False))
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['version']} {case['name']}")
def test_golden_tokens_open_with_other_implementations(case: dict[str, Any]) -> None:
    derived = derived_key(SECRET.encode()).decode()
    key = KEY if case["keys"] == "explicit" else derived
    if format_of(case) == "fernet":
        payload = OracleFernet(key).decrypt(case["token"])
    else:
        payload, _ = read_xaes(key, "cookie-session", "session", case["token"])
    assert (payload[:1] == b".") is case["compressed"]
    plaintext = zlib.decompress(payload[1:]) if case["compressed"] else payload
    assert plaintext.decode() == case["plaintext"]


def test_golden_fernet_tokens_open_with_fernet() -> None:
    several = MultiFernet([Fernet(Fernet.generate_key()), Fernet(KEY)])
    opened = 0
    for case in CASES:
        if (format_of(case), case["keys"], case["compressed"]) == ("fernet", "explicit", False):
            assert several.decrypt(case["token"]).decode() == case["plaintext"]
            opened += 1
    assert opened >= 3


def main(version: str, token_format: str = "fernet") -> None:
    """Writes the golden tokens of a release in one format."""
    cases = []
    sessions: dict[str, dict[str, Any]] = {
        "flask-login": FLASK_LOGIN,
        "everything": EVERYTHING,
        "one": {"user_id": 42},
    }
    for keys in ("explicit", "derived"):
        for compression in ("never", "always"):
            for name, data in sessions.items():
                app = Flask(__name__)
                app.secret_key = SECRET
                interface = EncryptedSessionInterface(keys=[KEY] if keys == "explicit" else None)
                app.session_interface = interface
                app.config["SESSION_COMPRESSION"] = compression
                app.config["SESSION_ENCRYPTION_FORMAT"] = token_format
                with app.test_request_context():
                    session = interface.session_class(data)
                    session.modified = True
                    response = app.response_class()
                    interface.save_session(app, session, response)
                    plaintext = TaggedJSONSerializer().dumps(data)
                cases.append(
                    {
                        "version": version,
                        "format": token_format,
                        "name": f"{name}, {keys} key, {token_format}, compression {compression}",
                        "keys": keys,
                        "compressed": compression == "always" and name != "one",
                        "token": token_of(response.headers["Set-Cookie"]),
                        "plaintext": plaintext,
                    }
                )
    suffix = "" if token_format == "fernet" else "_" + token_format.partition("-")[0]
    path = VECTORS / f"golden_{version}{suffix}.json"
    with path.open("x") as file:
        json.dump(cases, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
