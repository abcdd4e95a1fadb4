"""Counts instructions, which noise cannot change: ``python -m benches.instructions [--write]``.

Runs itself under callgrind, which starts a new count at each call of ``getpriority``, a function
of the C library that nothing here needs otherwise. Valgrind knows no SHA instructions and runs
SHA-256 in portable code, some 3300 instructions a block; so the hash is counted apart, as the
difference between the MACs of a longer and a shorter token, and subtracted from the rest.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("instructions.json")
ROOT = Path(__file__).parents[1]
#: Calls per case.
CALLS = 400
#: The share by which a case may exceed its baseline.
TOLERANCE = 0.02
#: Bytes in the tokens whose MACs are compared, and in those of the token cases.
SHORT, LONG, TOKEN = 64, 2048, 256


def mac_blocks(plaintext: int) -> int:
    """Blocks of SHA-256 in the inner hash of a token's MAC, after the key's."""
    authenticated = 25 + (plaintext // 16 + 1) * 16
    return -(-(authenticated + 9) // 64)


def cases() -> dict[str, tuple[Callable[[], object], int]]:
    """The calls that are counted, each with its blocks of SHA-256, without the outer hash's."""
    from werkzeug.test import EnvironBuilder

    from benches.interfaces import app
    from benches.payloads import CART, LOGIN
    from flask_fernet import EncryptedSessionInterface, Fernet
    from flask_fernet._core import Codec, find_cookie

    fernet = Fernet(base64.urlsafe_b64encode(bytes(range(32))))
    data = {**LOGIN, "cart": CART}
    codec = Codec()
    text = codec.encode(data)
    assert text is not None

    def opens_and_saves(
        token_format: str,
    ) -> tuple[Callable[[], object], Callable[[], object], str]:
        made = app()
        made.config["SESSION_ENCRYPTION_FORMAT"] = token_format
        interface = made.session_interface = EncryptedSessionInterface()
        made.test_request_context().push()
        session: Any = interface.session_class(LOGIN)
        session.accessed = session.modified = True
        response = made.response_class()
        headers: list[Any] = response.headers._list

        def save() -> None:
            headers.clear()
            interface.save_session(made, session, response)

        save()
        cookie = next(value for name, value in headers if name == "Set-Cookie").partition(";")[0]
        environ = EnvironBuilder(headers=[("Cookie", str(cookie))]).get_environ()
        request = made.request_class(environ)
        return partial(interface.open_session, made, request), save, cookie

    def leaves_alone() -> Callable[[], object]:
        """A stored session that nobody touches, opened and saved."""
        made = app()
        made.config["SESSION_STORE"] = "memory://"
        interface = made.session_interface = EncryptedSessionInterface()
        made.test_request_context().push()
        session: Any = interface.session_class(LOGIN)
        session.modified = True
        first, response = made.response_class(), made.response_class()
        interface.save_session(made, session, first)
        cookie = first.headers["Set-Cookie"].partition(";")[0]
        environ = EnvironBuilder(headers=[("Cookie", cookie)]).get_environ()
        request = made.request_class(environ)
        headers: list[Any] = response.headers._list

        def call() -> None:
            headers.clear()
            opened: Any = interface.open_session(made, request)
            opened.accessed = True
            interface.save_session(made, opened, response)

        return call

    opening, saving, cookie = opens_and_saves("fernet")
    opening_xaes, saving_xaes, _ = opens_and_saves("xaes-256-gcm")
    header = f"theme=dark; _ga=GA1.1.1234567890.1234567890; {cookie}"
    sealed = len(codec.encode(LOGIN) or b"")
    token = fernet.encrypt(bytes(TOKEN))
    return {
        "mac of a short token": (
            partial(fernet.extract_timestamp, fernet.encrypt(bytes(SHORT))),
            0,
        ),
        "mac of a long token": (partial(fernet.extract_timestamp, fernet.encrypt(bytes(LONG))), 0),
        "codec reads a cart": (partial(codec.decode, text), 0),
        "codec writes a cart": (partial(codec.encode, data), 0),
        "find a cookie": (partial(find_cookie, header, "session"), 0),
        "encrypt": (partial(fernet.encrypt, bytes(TOKEN)), mac_blocks(TOKEN)),
        "decrypt": (partial(fernet.decrypt, token), mac_blocks(TOKEN)),
        "open": (opening, mac_blocks(sealed)),
        "save": (saving, mac_blocks(sealed)),
        # The payload of its cookie has 80 bytes.
        "untouched, stored": (leaves_alone(), mac_blocks(80)),
        # These use no SHA-256 and are counted whole.
        "open, xaes-256-gcm": (opening_xaes, 0),
        "save, xaes-256-gcm": (saving_xaes, 0),
    }


def run_marked(calls: Iterable[Callable[[], object]], times: int, warm_up: int = 20) -> None:
    """Makes each call so many times between two calls of the mark, for :func:`count_marked`."""
    import gc

    gc.disable()
    for call in calls:
        for _ in range(warm_up):
            call()
        os.getpriority(os.PRIO_PROCESS, 0)
        for _ in range(times):
            call()
        os.getpriority(os.PRIO_PROCESS, 0)


def count_marked(*module: str, calls: int) -> list[int]:
    """The instructions between the marks of each call, in a module that uses
    :func:`run_marked` with so many calls.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
                   "--dump-before=getpriority", sys.executable, "-m", *module]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
        # Every second dump holds a case; the dumps between hold its warm-up.
        dumps = [Path(f"{out}.{2 * number}").read_text() for number in range(1, calls + 1)]
    return [int(re.findall(r"^(?:summary|totals): (\d+)", dump, re.M)[-1]) for dump in dumps]


def count() -> dict[str, int]:
    """The instructions per call of each case, without the hash."""
    # The request contexts that they enter end with this one.
    blocks = {name: number for name, (_, number) in copy_context().run(cases).items()}
    totals = count_marked("benches.instructions", "--run", calls=len(blocks))
    counted = {name: total // CALLS for name, total in zip(blocks, totals, strict=True)}
    longer = counted["mac of a long token"] - counted["mac of a short token"]
    a_block = longer / (mac_blocks(LONG) - mac_blocks(SHORT))
    return {
        name: round(counted[name] - blocks[name] * a_block)
        for name in blocks
        if not name.startswith("mac of")
    }


def versions() -> dict[str, str]:
    """The versions on which the counts depend."""
    rust = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True)
    return {"rust": rust.stdout.split()[1], "python": platform.python_version()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="make these counts the baseline")
    arguments = parser.parse_args()
    if arguments.run:
        run_marked((call for call, _ in cases().values()), CALLS)
        return 0
    counted = count()
    if arguments.write:
        figures = {"versions": versions(), "instructions": counted}
        BASELINE.write_text(json.dumps(figures, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())["instructions"]
    for name, instructions in counted.items():
        before = baseline.get(name)
        change = f"{instructions / before - 1:+.1%}" if before else "new"
        print(f"{name:<24} {instructions:>8,} instructions per call  {change}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
