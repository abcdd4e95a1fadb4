"""Counters as a dict and as OpenMetrics text, and log records for machines."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from flask_fernet import EncryptedSessionInterface, Fernet, KeyRing
from flask_fernet.metrics import MEDIA_TYPE, counters, metrics_view, openmetrics, state
from tests.apps import RING_NAME, SECRET
from tests.commands import run as run_command
from tests.storing import RecordingStore, storing_app


def samples(text: str) -> dict[str, float]:
    """The samples of an OpenMetrics text, as the reference's parser reads it."""
    found = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        assert family.documentation
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "pid"}
            found[" ".join([sample.name, *labels.values()])] = sample.value
    return found


def app_of(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, **config})
    EncryptedSessionInterface(app)
    app.add_url_rule("/metrics", view_func=metrics_view)

    @app.get("/")
    def index() -> str:
        session["key"] = "value"
        return ""

    return app


def test_the_view_shows_what_was_counted() -> None:
    app = app_of(SESSION_ENCRYPTION_ACCEPT=["flask-signed"])
    signed = app_of(SESSION_ENCRYPTION_FORMAT="flask-signed")
    client, other = app.test_client(), signed.test_client()
    other.get("/")
    moving = other.get_cookie("session")
    assert moving is not None
    client.set_cookie("session", moving.value)
    client.get("/")
    for _ in range(3):
        client.set_cookie("session", "gAAAAA" + "A" * 94)
        client.get("/")
    response = client.get("/metrics")
    assert response.content_type == MEDIA_TYPE
    found = samples(response.text)
    assert found["flask_fernet_rejections_total unauthentic"] == 3
    assert found["flask_fernet_rejections_total expired"] == 0
    assert found["flask_fernet_migrations_total flask-signed"] == 1
    assert found["flask_fernet_store_events_total read"] == 0
    assert found["flask_fernet_release 0.1.0"] == 1
    assert counters(app)["rejections"]["unauthentic"] == 3
    assert counters(app)["migrations"] == {"flask-signed": 1}


def test_the_command_shows_keys_and_the_store(tmp_path: Path) -> None:
    app = app_of(
        SESSION_ENCRYPTION_KEYS=[Fernet.generate_key(), Fernet.generate_key()],
        SESSION_STORE="memory://",
    )
    for _ in range(2):
        app.test_client().get("/")
    found = samples(run_command(app, "metrics").output)
    assert found["flask_fernet_keys"] == 2
    assert found["flask_fernet_store_sessions live"] == 2
    assert found["flask_fernet_store_sessions expired"] == 0
    assert found["flask_fernet_store_size_bytes"] > 100
    assert "flask_fernet_ring_serial" not in found
    shown = json.loads(run_command(app, "metrics", "--json").output)
    assert shown["store"]["live"] == 2


def test_the_command_shows_a_key_ring(tmp_path: Path, ring: KeyRing) -> None:
    app = app_of(SESSION_ENCRYPTION_KEYRING=str(tmp_path / RING_NAME))
    ring.change(lambda before: before.rotated(time.time()))
    found = samples(openmetrics(app, state(app)))
    assert found["flask_fernet_ring_keys staged"] == 1
    assert found["flask_fernet_ring_keys primary"] == 1
    assert abs(found["flask_fernet_ring_newest_key_created_seconds"] - time.time()) < 60
    assert found["flask_fernet_ring_serial"] > 0
    EncryptedSessionInterface.of(app)._policy(app)
    (tmp_path / RING_NAME).write_text("not a ring")
    assert state(app)["ring"] is None


def test_nothing_secret_is_in_any_of_them(tmp_path: Path) -> None:
    key = Fernet.generate_key()
    app = app_of(SESSION_ENCRYPTION_KEYS=[key], SESSION_STORE="memory://")
    app.test_client().get("/")
    text = openmetrics(app, state(app)) + repr(counters(app)) + json.dumps(state(app))
    for secret in (key.decode(), SECRET, "value"):
        assert secret not in text


def test_another_interface_has_no_metrics() -> None:
    with pytest.raises(TypeError, match="EncryptedSessionInterface"):
        counters(Flask(__name__))
    with pytest.raises(TypeError, match="EncryptedSessionInterface"):
        state(Flask(__name__))
    failed = run_command(Flask(__name__), "metrics")
    assert failed.exit_code == 1
    assert "EncryptedSessionInterface" in failed.output


def test_a_quart_app_has_them_too() -> None:
    from tests.quart.apps import quart_app

    assert samples(openmetrics(quart_app()))["flask_fernet_rejections_total gone"] == 0


def test_log_records_have_names_and_fields_for_machines(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, ring: KeyRing
) -> None:
    store = RecordingStore()
    app = storing_app(store, SECRET_KEY="short", SESSION_ENCRYPTION_ACCEPT=["secret-key"])
    client = app.test_client()
    client.set_cookie("session", "nonsense")
    client.get("/read")
    client.delete_cookie("session")
    client.get("/login/1")
    store.is_away = True
    client.get("/read")
    found = {
        vars(record)["event"]: vars(record)
        for record in caplog.records
        if record.name == "flask_fernet"
    }
    assert set(found) == {"configuration.warning", "session.rejected", "store.unavailable"}
    rejected, unavailable = found["session.rejected"], found["store.unavailable"]
    assert (rejected["reason"], rejected["count"]) == ("malformed", 1)
    assert rejected["levelno"] == logging.WARNING
    assert (unavailable["operation"], unavailable["problem"]) == ("read", "it is away")
    assert unavailable["levelno"] == logging.ERROR
    # Of the place that logs, not of the helper.
    assert not {record.filename for record in caplog.records} & {"log.py"}
