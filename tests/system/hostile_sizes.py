"""Hostile inputs of two sizes, whose instructions ``test_instructions.py`` compares."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial

from benches.instructions import run_marked
from flask_fernet import EncryptedSessionInterface
from flask_fernet._core import Codec
from tests.apps import encrypted_app

TOKEN = "session=" + base64.urlsafe_b64encode(b"\x80" + bytes(120)).decode()


#: Cookie headers, and payloads that only a holder of the key can send, by a number of pieces.
HEADERS: dict[str, tuple[Callable[[int], str], int]] = {
    "cookies of others": (lambda n: "; ".join(f"name{i}=value" for i in range(n)), 5000),
    "cookies of ours": (lambda n: "; ".join([TOKEN] * n), 500),
    "semicolons": (lambda n: ";" * n, 200_000),
    "quotes": (lambda n: 'session="' + '\\"' * n, 50_000),
    "octal escapes": (lambda n: 'session="' + "\\101" * n + '"', 50_000),
    "a long token": (lambda n: "session=" + "A" * n, 200_000),
    "a long name": (lambda n: "session" * n + "=x", 50_000),
    "no base64": (lambda n: "session=" + "!" * n, 200_000),
}
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
    """A call for each size of each input, the smaller first."""
    app = encrypted_app(EncryptedSessionInterface())
    interface, codec = app.session_interface, Codec()
    made: dict[str, Callable[[], object]] = {}
    for name, (header, count) in HEADERS.items():
        for times in (1, 2):
            environ = {"HTTP_COOKIE": header(count * times), "wsgi.url_scheme": "http"}
            request = app.request_class(environ)
            made[f"{name}, {times}"] = partial(interface.open_session, app, request)
    for name, (payload, count) in PAYLOADS.items():
        for times in (1, 2):
            made[f"{name}, {times}"] = partial(codec.decode, payload(count * times).encode())
    return made


if __name__ == "__main__":
    run_marked(calls().values(), times=1, warm_up=1)
