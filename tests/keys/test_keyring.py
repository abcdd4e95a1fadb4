"""The handle of a ring: over a file, or over a store of the app's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from flask_fernet import ConfigurationError, EncryptedSessionInterface, KeyRing, KeyRingError
from tests.apps import add_views, write
from tests.commands import succeed
from tests.oracles import maker_of


def test_a_ring_may_be_kept_in_a_store_of_the_apps_own(tmp_path: Path) -> None:
    """A store of the app's own."""

    class Memory:
        document: bytes | None = None

        def load(self) -> bytes:
            if self.document is None:
                raise KeyRingError("There is none.")
            return self.document

        def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
            same = self.document == expected
            self.document = document if same else self.document
            return same

        def fingerprint(self) -> object:
            return self.document

    keyring = KeyRing(Memory(), secrets=["a secret of more than sixteen bytes"])
    app = add_views(Flask(__name__, instance_path=str(tmp_path)))
    app.config["SESSION_ENCRYPTION_KEYRING"] = keyring
    with pytest.raises(ConfigurationError, match="There is none"):
        EncryptedSessionInterface(app)
    app.session_interface = EncryptedSessionInterface()
    app.secret_key = None
    succeed(app, "ring", "init")
    token = write(app.test_client(), a=1)
    succeed(app, "ring", "rotate", "--activate-in", "0")
    assert len(keyring.load().keys) == 2
    succeed(app, "ring", "rewrap")
    assert maker_of(token, keyring) == keyring.load().keys[0].id
    succeed(app, "doctor")
