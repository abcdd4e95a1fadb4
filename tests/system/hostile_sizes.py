"""Hostile inputs of two sizes, whose instructions ``test_instructions.py`` compares."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from functools import partial

from benches.instructions import run_marked
from flask_fernet import EncryptedSessionInterface, Fernet
from tests.apps import encrypted_app

KEY = Fernet.generate_key()
SCHEME = {"wsgi.url_scheme": "http"}
#: A cookie of the right form that nobody's key made.
FORGED = "session=" + base64.urlsafe_b64encode(b"\x80" + bytes(120)).decode()
#: ``Cookie`` headers, by a number of pieces, and that number.
HEADERS: dict[str, tuple[Callable[[int], str], int]] = {
    "cookies of others": (lambda n: "; ".join(f"name{i}=value" for i in range(n)), 5000),
    "cookies of ours": (lambda n: "; ".join([FORGED] * n), 500),
    "semicolons": (lambda n: ";" * n, 100_000),
    "quotes": (lambda n: 'session="' + '\\"' * n, 20_000),
    "octal escapes": (lambda n: 'session="' + "\\101" * n + '"', 20_000),
    "a long token": (lambda n: "session=gAAA" + "A" * 4 * n, 50_000),
    "a long name": (lambda n: "session" * n + "=x", 20_000),
    "no base64": (lambda n: "session=" + "!" * n, 100_000),
}
#: The JSON of a session, which only a holder of the key can send, likewise.
PAYLOADS: dict[str, tuple[Callable[[int], str], int]] = {
    "keys": (lambda n: "{" + ",".join(f'"key{i}":{i}' for i in range(n)) + "}", 5000),
    "one key": (lambda n: "{" + ",".join(['"key":1'] * n) + "}", 5000),
    "escapes": (lambda n: '{"a":"' + "\\u00e9" * n + '"}', 20_000),
    "strings": (lambda n: '{"a":[' + ",".join(['"x"'] * n) + "]}", 20_000),
    "tags": (lambda n: '{"a":[' + ",".join(['{" t":[]}'] * n) + "]}", 5000),
    "depth": (lambda n: '{"a":' + "[" * n + "]" * n + "}", 20_000),
    "digits": (lambda n: '{"a":' + "1" * n + "}", 20_000),
    "digits of a fraction": (lambda n: '{"a":0.' + "1" * n + "}", 20_000),
    "exponent": (lambda n: '{"a":1e' + "1" * n + "}", 20_000),
    "spaces": (lambda n: '{"a":' + " " * n + "1}", 20_000),
}


def calls() -> dict[str, Callable[[], object]]:
    """A call for each size of each input, the smaller first: a request is made, and its session
    opened.
    """
    app = encrypted_app(EncryptedSessionInterface(keys=[KEY]))
    interface = app.session_interface

    def header_of(payload: Callable[[int], str], count: int) -> str:
        return f"session={Fernet(KEY).encrypt(payload(count).encode()).decode()}"

    headers = HEADERS | {
        f"JSON: {name}": (partial(header_of, payload), count)
        for name, (payload, count) in PAYLOADS.items()
    }

    def open_(environ: dict[str, str]) -> object:
        # Werkzeug keeps what it has parsed with the request.
        return interface.open_session(app, app.request_class(dict(environ)))

    return {
        f"{name}, {times}": partial(open_, {"HTTP_COOKIE": header(count * times), **SCHEME})
        for name, (header, count) in headers.items()
        for times in (1, 2)
    }


if __name__ == "__main__":
    logging.disable()
    run_marked(calls().values(), times=1, warm_up=1)
