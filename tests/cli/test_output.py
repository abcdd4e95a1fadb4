"""The output of commands, for people and for programs."""

from __future__ import annotations

import json

from flask import Flask

from tests.commands import succeed


def test_commands_that_change_a_ring_print_it_for_programs(app: Flask) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
    (key,) = json.loads(succeed(app, "ring", "init", "--json"))["keys"]
    assert len(json.loads(succeed(app, "ring", "rotate", "--json"))["keys"]) == 2
    revoked = json.loads(succeed(app, "ring", "revoke", key["id"], "--json"))["keys"][0]
    assert revoked["revoked"] in succeed(app, "ring", "list")
    assert len(json.loads(succeed(app, "ring", "prune", "--json"))["keys"]) == 3
