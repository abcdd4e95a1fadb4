"""What a visitor of the demo changes for all of its workers: the format, the compression, the time.

A real app sets these in its configuration, and lets the time pass by itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import flask.sessions
from flask import Flask

from flask_fernet.testing.tester import FollowingDatetime

from . import keys

FORMATS = ("fernet", "xaes-256-gcm")
COMPRESSIONS = ("fit", "always", "never")
#: Seconds by which the demo's clock can be ahead at most: about three years.
LONGEST = 100_000_000


@dataclass(frozen=True)
class Controls:
    """The state of the demo."""

    format: str = "fernet"
    compression: str = "fit"
    #: Seconds by which the demo's clock is ahead of the machine's.
    ahead: int = 0


def load() -> Controls:
    """The controls as they were set last, by any worker. A file that no worker can have written
    counts as none: a demo that was changed by hand goes on.
    """
    try:
        found = Controls(**json.loads((keys.INSTANCE / "controls.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return Controls()
    is_known = found.format in FORMATS and found.compression in COMPRESSIONS
    is_time = type(found.ahead) is int and 0 <= found.ahead <= LONGEST
    return found if is_known and is_time else Controls()


def change(**changed: Any) -> None:
    """Sets some of the controls. One worker never reads what another has half written."""
    with tempfile.NamedTemporaryFile("w", dir=keys.INSTANCE, delete=False) as file:
        json.dump(asdict(replace(load(), **changed)), file)
    os.replace(file.name, keys.INSTANCE / "controls.json")


def rotate() -> None:
    """Adds a key to the ring by the command that an operator would schedule: no request ever makes
    a key by itself. The workers follow within a second.
    """
    command = [sys.executable, "-m", "flask", "fernet", "ring", "rotate", "--quiet", "--force",
               "--activate-in", "0", "--path", str(keys.INSTANCE / keys.RING)]  # fmt: skip
    subprocess.run(command, check=True, timeout=30)  # noqa: S603


class Controlled:
    """A WSGI app that follows the controls, with a clock that may be ahead."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._ahead = 0
        real = time.time
        time.time = lambda: real() + self._ahead
        # The expiry of cookies is reckoned from it, and browsers compare it with the server's Date.
        flask.sessions.datetime = FollowingDatetime  # type: ignore[attr-defined]

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        controls = load()
        self._ahead = controls.ahead
        apply(self._app, controls)
        return self._app(environ, start_response)


def apply(app: Flask, controls: Controls) -> None:
    """Puts the controls into the configuration. Sessions in the other format go on opening."""
    app.config["SESSION_ENCRYPTION_FORMAT"] = controls.format
    app.config["SESSION_ENCRYPTION_ACCEPT"] = [one for one in FORMATS if one != controls.format]
    app.config["SESSION_COMPRESSION"] = controls.compression
