"""Stores that lie, and stores that pause: real servers behind a proxy."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator

import pytest
from flask import Flask

from benches.memory import resident
from tests.apps import add_views, encrypted_app, quiet, write
from tests.system.liars import Liar, MariaLiar, PostgresLiar, RedisLiar
from tests.system.serving import Note, created, lost

# Drivers leave it to the collector to close what failed while it was opened.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LIARS = {"redis": RedisLiar, "postgres": PostgresLiar, "maria": MariaLiar}
#: Answers that the driver refuses with errors other than its own, which are raised as they are.
UNNAMED = {("maria", "no integer"), ("maria", "no packet")}


@contextlib.contextmanager
def behind_a_liar(
    request: pytest.FixtureRequest, store: str, timeout: float
) -> Iterator[tuple[Liar, Flask]]:
    server = request.getfixturevalue(f"{store}_server")
    created(server.url)
    liar = LIARS[store](server)
    app = add_views(encrypted_app(SESSION_STORE=f"{liar.url}?timeout={timeout}"))
    try:
        with quiet(app):
            yield liar, app
    finally:
        liar.listener.close()
        # Here, and not in another test.
        gc.collect()


@pytest.mark.parametrize(
    ("store", "lie"), [(store, lie) for store, liar in LIARS.items() for lie in liar.LIES]
)
def test_a_store_that_lies_is_not_believed(
    request: pytest.FixtureRequest,
    record_property: Note,
    store: str,
    lie: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Otherwise the store would not be asked again for a second.
    monkeypatch.setattr("flask_fernet.stored.outage.PAUSE", 0.0)
    # Nobody waits: the connection ends with each lie.
    with behind_a_liar(request, store, timeout=5) as (liar, app):
        client = app.test_client()
        write(client, number=1)
        before = resident()
        liar.lie = lie
        statuses = []
        for _ in range(20):
            answer = client.get("/read")
            statuses.append(answer.status_code)
            if (store, lie) in UNNAMED:
                assert answer.status_code == 500
            else:
                assert answer.status_code == 503 or answer.text == "{}"
            assert answer.headers.getlist("Set-Cookie") == []
        grown = (resident() - before) / 2**20
        assert liar.told >= 20
        liar.lie = None
        gone = lost(client, 1, within=10)
    said = ", ".join(sorted({str(status) for status in statuses}))
    record_property("observed", f"{lie}: {said}")
    record_property("lost", gone)
    assert gone == 0
    assert grown < 64


@pytest.mark.parametrize("store", LIARS)
class TestPausingStore:
    """The timeout is a second, for each wait for bytes."""

    def read(
        self, request: pytest.FixtureRequest, note: Note, store: str, drip: float
    ) -> tuple[int, str, float]:
        """The status, the text and the seconds of a read, with such a pause before each byte."""
        with behind_a_liar(request, store, timeout=1) as (liar, app):
            client = app.test_client()
            write(client, number=1)
            liar.drip = drip
            began = time.monotonic()
            answer = client.get("/read")
            took = time.monotonic() - began
            liar.drip = 0.0
            gone = lost(client, 1, within=10)
        note("observed", f"{store}, {drip} s before each byte: {answer.status_code} after "
             f"{took:.1f} s")  # fmt: skip
        note("lost", gone)
        assert gone == 0
        return answer.status_code, answer.text, took

    def test_it_is_waited_for_no_longer_than_the_timeout(
        self, request: pytest.FixtureRequest, record_property: Note, store: str
    ) -> None:
        status, _, took = self.read(request, record_property, store, 1.5)
        assert status == 503
        assert took < 10

    def test_it_is_waited_for_within_the_timeout(
        self, request: pytest.FixtureRequest, record_property: Note, store: str
    ) -> None:
        _, text, took = self.read(request, record_property, store, 0.02)
        assert text == "{'number': 1}"
        assert took > 1
