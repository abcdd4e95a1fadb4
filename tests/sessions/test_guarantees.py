"""What each place of a session guarantees, cell by cell of the table in docs/threat-model.md."""

from __future__ import annotations

import base64
import contextlib
import re
import zlib
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from string import ascii_letters
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_fernet import ConfigurationError, EncryptedSessionInterface, Fernet
from flask_fernet.stores.memory import MemoryStore
from tests.apps import OTHER_SECRET, SECRET, signed_app
from tests.clock import Clock
from tests.storing import add_storing_views, cookie_of, with_cookie

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"
FLASKS, FERNET, XAES, STORED = PLACES = (
    "Flask's signed cookie", "`fernet` cookie", "`xaes-256-gcm` cookie", "stored session",
)  # fmt: skip


def table() -> dict[str, dict[str, str]]:
    """The cells by row and place."""
    lines = PAGE.read_text().partition("## What each place of a session guarantees")[2].split("\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    heads, _, *rows = rows[: next(at for at, row in enumerate(rows) if len(row) != len(rows[0]))]
    return {row[0]: dict(zip(heads[1:], row[1:], strict=True)) for row in rows}


class Place:
    """An app that keeps its sessions in one of the places."""

    def __init__(self, name: str, **config: Any) -> None:
        self.name = name
        self.store = config.setdefault("SESSION_STORE", MemoryStore()) if name == STORED else None
        self.config = config
        config.setdefault("SESSION_COMPRESSION", "never")
        if name == XAES:
            config["SESSION_ENCRYPTION_FORMAT"] = "xaes-256-gcm"
        self.app = add_storing_views(Flask(__name__)) if name != FLASKS else signed_app(**config)
        if name != FLASKS:
            self.app.config.update({"SECRET_KEY": SECRET, **config})
            EncryptedSessionInterface(self.app)

    def again(self, **config: Any) -> Place:
        """Another app with the same sessions and other settings."""
        return Place(self.name, **{**self.config, **config})

    def writes(self, client: FlaskClient | None = None, **data: Any) -> str:
        """The cookie of a session with these contents."""
        client = client or self.app.test_client()
        assert client.post("/write", json=data).status_code == 200
        return cookie_of(client) or ""

    def reads(self, cookie: str, name: str = "session") -> str:
        return with_cookie(self.app, cookie, name).get("/read").text

    def record(self) -> bytes:
        assert self.store is not None
        (address,) = self.store.addresses()
        return self.store.read(address) or b""


def yes(holds: object) -> str:
    return "yes" if holds else "no"


def decoded(cookie: str) -> list[bytes]:
    """What the parts of a cookie hold, for whoever has no key."""
    parts = [base64.urlsafe_b64decode(part + "===") for part in cookie.split(".") if part]
    for part in list(parts):
        with contextlib.suppress(zlib.error):
            parts.append(zlib.decompress(part))
    return parts


def hides_its_contents(place: Place, _: Clock) -> str:
    seen = decoded(place.writes(user="alice"))
    if place.name == STORED:
        seen.append(place.record())
    return yes(not any(b"alice" in part or b"user" in part for part in seen))


def cannot_be_changed(place: Place, _: Clock) -> str:
    cookie = place.writes(user="alice")
    # The last letter of a part has bits that belong to no byte.
    changed = [
        cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :]
        for at in range(len(cookie))
        if re.match(r"[\w-][\w-]", cookie[at : at + 2])
    ]
    assert len(changed) > 50
    assert "alice" in place.reads(cookie)
    return yes(not any("alice" in place.reads(one) for one in changed))


def is_bound_to_the_app(place: Place, _: Clock) -> str:
    def bound_to_the_salt(place: Place) -> bool:
        cookie, other = place.writes(user="alice"), place.again()
        assert "alice" in other.reads(cookie)
        other.app.session_interface.salt = "another"  # type: ignore[attr-defined]
        return "alice" not in other.reads(cookie)

    if place.name != FLASKS:
        assert bound_to_the_salt(place.again(SESSION_ENCRYPTION_KEYS=[Fernet.generate_key()]))
    another_key = place.again(SECRET_KEY=OTHER_SECRET).reads(place.writes(user="alice"))
    return yes("alice" not in another_key and bound_to_the_salt(place))


def is_bound_to_its_name(place: Place, _: Clock) -> str:
    def bound(place: Place) -> bool:
        cookie = place.writes(user="alice")
        return "alice" not in place.again(SESSION_COOKIE_NAME="b").reads(cookie, "b")

    if place.name != STORED:
        return yes(bound(place))
    both = [bound(place.again(SESSION_ENCRYPTION_FORMAT=one)) for one in ("fernet", "xaes-256-gcm")]
    assert both == [False, True]
    return "as its cookie's format"


def ends_by_the_clock(place: Place, clock: Clock) -> str:
    cookie = place.writes(user="alice")
    clock.now += 31 * 86400 - 10
    assert "alice" in place.reads(cookie)
    clock.now += 20
    return yes("alice" not in place.reads(cookie))


def ends_by_a_log_out(place: Place, _: Clock) -> str:
    client = place.app.test_client()
    copy = place.writes(client, _user_id="1")
    with client.session_transaction() as session:
        session.clear()
    return yes("_user_id" not in place.reads(copy))


def ends_by_a_log_in(place: Place, _: Clock) -> str:
    client = place.app.test_client()
    former = place.writes(client, cart="full")
    place.writes(client, cart="full", _user_id="1")
    return yes("full" not in place.reads(former))


def can_be_ended_elsewhere(place: Place, _: Clock) -> str:
    cookie = place.writes(_user_id="1")
    if place.name == FLASKS:
        return "no"
    with place.app.app_context():
        try:
            EncryptedSessionInterface.of(place.app).revoke_user("1")
        except ConfigurationError:
            assert "_user_id" in place.reads(cookie)
            return "no"
    return yes("_user_id" not in place.reads(cookie))


def steps(lengths: Iterable[int]) -> set[int]:
    return {longer - shorter for shorter, longer in pairwise(lengths)}


def hides_its_length(place: Place, _: Clock) -> str:
    def lengths_of(part: Callable[[Place, str], int]) -> list[int]:
        places = [place.again(**fresh(place)) for _ in range(52)]
        # No letter comes twice, so nothing is compressed.
        return [part(one, one.writes(text=ascii_letters[:n])) for n, one in enumerate(places)]

    cookies = lengths_of(lambda _, cookie: len(decoded(cookie)[0]))
    if place.name == STORED:
        assert steps(cookies) == {0}
        assert steps(lengths_of(lambda one, _: len(one.record()))) == {1}
        return "in the cookie yes; in the store no"
    return {(1,): "no", (0, 16): "in steps of 16 bytes"}[tuple(sorted(steps(cookies)))]


def fresh(place: Place) -> dict[str, Any]:
    return {"SESSION_STORE": MemoryStore()} if place.name == STORED else {}


def hides_its_time(place: Place, clock: Clock) -> str:
    cookie = place.writes(user="alice")
    now = int(clock.now).to_bytes(8, "big").lstrip(b"\0")
    shown = [now in part for part in decoded(cookie)]
    if place.name == STORED:
        shown.append(now in place.record())
    assert sum(shown) == (2 if place.name == STORED else 1)
    return yes(not any(shown))


def is_its_newest_state(place: Place, _: Clock) -> str:
    client = place.app.test_client()
    former = place.writes(client, count=1)
    place.writes(client, count=2)
    shown = place.reads(former)
    if place.name != STORED:
        return yes("1" not in shown)
    assert "2" in shown
    # tests/sessions/test_users.py has what a writer to the store can do.
    return "against the client yes; against who writes to the store only without the former cookie"


ROWS: dict[str, Callable[[Place, Clock], str]] = {
    "the client cannot read it": hides_its_contents,
    "the client cannot change it": cannot_be_changed,
    "bound to the app, by key or salt": is_bound_to_the_app,
    "bound to the name of its cookie": is_bound_to_its_name,
    "ends by the server's clock": ends_by_the_clock,
    "a log-out ends copies of the cookie": ends_by_a_log_out,
    "a log-in makes the former cookie worthless": ends_by_a_log_in,
    "can be ended by somebody else": can_be_ended_elsewhere,
    "hides its length": hides_its_length,
    "hides when it was issued": hides_its_time,
    "bound to its newest state": is_its_newest_state,
}


def test_every_row_is_tested() -> None:
    assert list(table()) == list(ROWS)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("row", ROWS)
def test_a_place_guarantees_what_the_threat_model_says(row: str, name: str, clock: Clock) -> None:
    assert ROWS[row](Place(name), clock) == table()[row][name]
