"""Tokens of every release stay readable for good.

`python -m tests.sessions.test_golden VERSION` writes those of a release, once; they are
never changed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.json.tag import TaggedJSONSerializer

from flask_fernet import EncryptedSessionInterface, Fernet, MultiFernet
from tests.apps import MakeApp, token_of
from tests.strategies import EVERYTHING, FLASK_LOGIN

VECTORS = Path(__file__).parents[1] / "vectors"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECRET = "the secret of the golden tokens"
CASES: list[dict[str, Any]] = [
    case for path in sorted(VECTORS.glob("golden_*.json")) for case in json.loads(path.read_text())
]


def configured(make: Any, case: dict[str, Any]) -> Flask:
    keys = [KEY] if case["keys"] == "explicit" else None
    app: Flask = make(EncryptedSessionInterface(keys=keys), SECRET_KEY=SECRET)
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
    """The plaintext of today is that of the release, but for compression."""
    app = configured(make_app, case)
    with app.app_context():
        data = TaggedJSONSerializer().loads(case["plaintext"])
        assert TaggedJSONSerializer().dumps(data) == case["plaintext"]


def test_golden_tokens_cover_every_kind() -> None:
    kinds = {(case["keys"], case["compressed"]) for case in CASES}
    assert kinds == {(keys, packed) for keys in ("explicit", "derived") for packed in (True, False)}


def test_golden_fernet_tokens_open_with_fernet() -> None:
    for path in sorted(VECTORS.glob("golden_*.json")):
        for case in json.loads(path.read_text()):
            if case["keys"] == "explicit" and not case["compressed"]:
                several = MultiFernet([Fernet(Fernet.generate_key()), Fernet(KEY)])
                assert several.decrypt(case["token"]).decode() == case["plaintext"]


def main(version: str) -> None:
    """Writes the golden tokens of a release."""
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
                with app.test_request_context():
                    session = interface.session_class(data)
                    session.modified = True
                    response = app.response_class()
                    interface.save_session(app, session, response)
                    plaintext = TaggedJSONSerializer().dumps(data)
                cases.append(
                    {
                        "version": version,
                        "name": f"{name}, {keys} key, compression {compression}",
                        "keys": keys,
                        "compressed": compression == "always" and name != "one",
                        "token": token_of(response.headers["Set-Cookie"]),
                        "plaintext": plaintext,
                    }
                )
    path = VECTORS / f"golden_{version}.json"
    with path.open("x") as file:
        json.dump(cases, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
