"""Ours beside the implementations that it must agree with: tokens, sessions and cookie headers.

Each disagreement has a name, under which it is counted, and a vector in
``tests/vectors/fernet_differences.json``, or is an error.
"""

from __future__ import annotations

import base64
import json
import math
import random
import re
import string
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import rfernet
from cryptography.fernet import Fernet as Cryptographys
from cryptography.fernet import InvalidToken as CryptographysInvalid
from flask import Flask
from flask.json.tag import TaggedJSONSerializer
from markupsafe import Markup
from werkzeug.sansio.http import parse_cookie

from flask_fernet import Fernet, InvalidToken
from flask_fernet._core import Codec, find_cookie

from .suite import ROOT

LETTERS = string.ascii_letters + string.digits + "-_"


#: Who opens a token of each difference, by its vector. Tests verify the vectors for all three.
_DIFFERENCES: dict[str, list[str]] = {
    vector["desc"]: vector["opened_by"]
    for vector in json.loads((ROOT / "tests" / "vectors" / "fernet_differences.json").read_text())
}


class Disagreement(AssertionError):
    """A disagreement that nothing explains."""


def _bytes_of(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 15, 16, 17, 31, 32, 100, 300)))


def _changed(token: str, chance: random.Random) -> str:
    """A token with one change, of those that happen on the way and those that an attacker makes."""
    at = chance.randrange(len(token))
    match chance.randrange(9):
        case 0:
            return token[:at] + chance.choice(LETTERS) + token[at + 1 :]
        case 1:
            return token[:at] + token[at + 1 :]
        case 2:
            return token[:at] + chance.choice(LETTERS + "=+/ %\n\u00e9") + token[at:]
        case 3:
            return token[:at]
        case 4:
            return token.rstrip("=")
        case 5:
            return token + chance.choice(("=", "==", "A", "AAAA", " "))
        case 6:
            raw = bytearray(base64.urlsafe_b64decode(token))
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            return base64.urlsafe_b64encode(raw).decode()
        case 7:
            # The last letter before the padding has bits that mean nothing.
            body = token.rstrip("=")
            return body[:-1] + chance.choice(LETTERS) + token[len(body) :]
        case _:
            return token.replace("-", "+").replace("_", "/")


def tokens(count: int, seed: int) -> Counter[str]:
    """Fernet tokens through ours, ``cryptography``, and the ``fernet`` crate as ``rfernet``."""
    chance, seen = random.Random(seed), Counter[str]()
    key = base64.urlsafe_b64encode(chance.randbytes(32))
    ours, theirs, crate = Fernet(key), Cryptographys(key), rfernet.Fernet(key.decode())
    makers: tuple[Callable[[bytes], Any], ...] = (ours.encrypt, theirs.encrypt, crate.encrypt)

    def attempt(decrypt: Callable[[Any], Any], token: Any, error: type[Exception]) -> bytes | None:
        try:
            return bytes(decrypt(token))
        except error:
            return None

    pool: list[tuple[str, bytes]] = []
    for number in range(count):
        if number % 20 == 0:
            text = _bytes_of(chance)
            made = makers[number // 20 % 3](text)
            pool = [*pool[-30:], (made if isinstance(made, str) else made.decode(), text)]
        which = chance.random()
        original, plaintext = chance.choice(pool)
        if which < 0.1:
            token, kind = original, "valid"
        elif which < 0.85:
            token, kind = original, "changed"
            while token == original:
                token = _changed(original, chance)
        else:
            raw = b"\x80" + bytes(4) + chance.randbytes(chance.randrange(120))
            token, kind = base64.urlsafe_b64encode(raw).decode(), "random"
        found = attempt(ours.decrypt, token.encode(), InvalidToken)
        expected = attempt(theirs.decrypt, token.encode(), CryptographysInvalid)
        third = attempt(crate.decrypt, token, rfernet.DecryptionError)
        if kind == "changed" and _raw(token) == _raw(original):
            kind = "changed, but not in its bytes"
        # What opens is what was encrypted, and has the bytes of a token that was made.
        may_open = kind in ("valid", "changed, but not in its bytes")
        if found not in ((plaintext,) if may_open else (None,)):
            raise Disagreement(f"{kind}, seed {seed}, token {number}: {token!r}")
        seen[f"{kind}: {'opened' if found is not None else 'refused'} by ours"] += 1
        if found != expected:
            raise Disagreement(f"cryptography, seed {seed}, token {number}: {token!r}")
        if found != third:
            if _is_exact(token) or (found is not None and third is not None):
                raise Disagreement(f"the fernet crate, seed {seed}, token {number}: {token!r}")
            # The specification does not say. `cryptography` reads what Python's base64 reads.
            spelling = _spelling(token)
            by = ["fernet crate"] if found is None else ["flask-fernet", "cryptography"]
            if _DIFFERENCES.get(spelling) != by:
                raise Disagreement(f"{spelling}, seed {seed}, token {number}: {token!r}")
            seen[f"{spelling}: opened by {' and '.join(by)} alone"] += 1
    return seen


def _spelling(token: str) -> str:
    """How a token's base64 differs from the canonical one: the ``desc`` of its vector, or
    "unknown".
    """
    text = token.rstrip("=")
    if re.search(r"[^\w/+=-]", token, re.ASCII):
        return "a byte is none of the alphabet"
    if "=" in text:
        return "a letter follows the padding"
    if re.search(r"[+/]", token):
        return "the alphabet is that of RFC 4648, section 4"
    if len(token) - len(text) < -len(text) % 4:
        return "its padding is missing"
    raw = _raw(token)
    canonical = "" if raw is None else _canonical(raw).rstrip("=")
    if canonical != text and canonical[:-1] == text[:-1]:
        return "the last letter has bits that belong to no byte"
    return "unknown"


def _raw(token: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(token.encode())
    except ValueError:
        return None


def _canonical(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def _is_exact(token: str) -> bool:
    """Whether a token is canonical base64."""
    raw = _raw(token)
    return raw is not None and _canonical(raw) == token


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(14 if depth < 4 else 10)
    match kind:
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.randrange(-(2 ** chance.choice((7, 31, 63, 80))), 2**31)
        case 3:
            return math.ldexp(chance.random() - 0.5, chance.randrange(-300, 300))
        case 4 | 5:
            return _text(chance)
        case 6:
            return chance.randbytes(chance.randrange(20))
        case 7:
            return Markup(_text(chance))
        case 8:
            return uuid.UUID(int=chance.getrandbits(128))
        case 9:
            zone = chance.choice((None, timezone.utc, timezone(timedelta(hours=-5, minutes=-30))))
            return datetime(2, 1, 1, tzinfo=zone) + timedelta(seconds=chance.randrange(3 * 10**11))
        case 10:
            return [_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case 11:
            return tuple(_value(chance, depth + 1) for _ in range(chance.randrange(4)))
        case _:
            return _dict(chance, depth + 1)


def _dict(chance: random.Random, depth: int) -> dict[str, Any]:
    return {_key(chance): _value(chance, depth) for _ in range(chance.choice((0, 1, 1, 2, 5)))}


_TAGS = (" t", " b", " d", " di", " m", " u", " t__", " di__", " ", "", "__")


def _key(chance: random.Random) -> str:
    return chance.choice(_TAGS) if chance.random() < 0.2 else _text(chance)


def _text(chance: random.Random) -> str:
    letters = chance.choice(("abcxyz_", 'abc"\\/\n\t\x00\x7f', "a\u00e9\u20ac\U0001f600\u2028"))
    return "".join(chance.choices(letters, k=chance.randrange(12)))


def sessions(count: int, seed: int) -> Counter[str]:
    """Sessions written and read by our codec and by Flask's serializer."""
    chance, seen = random.Random(seed), Counter[str]()
    ours, flasks = Codec(), TaggedJSONSerializer()
    with Flask("differential").app_context():
        for number in range(count):
            data = _dict(chance, 0)
            expected = flasks.dumps(data).encode()
            written = ours.encode(data)
            if written is None:
                seen["left to Flask's serializer: written"] += 1
            elif written != expected:
                raise Disagreement(f"writing, seed {seed}, session {number}: {data!r}")
            read = ours.decode(expected)
            if read is NotImplemented:
                seen["left to Flask's serializer: read"] += 1
            elif not _same(read, flasks.loads(expected.decode())):
                raise Disagreement(f"reading, seed {seed}, session {number}: {expected!r}")
            seen["sessions"] += 1
    return seen


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


_PIECES = ("session", "sess", "=", "=", ";", "; ", " ", "\t", "a=b", '"', "\\", "!", "\u00e9",
           '"a;b"', '\\"', "\\075", "gAAAAA", "\x0b", "\x7f", ",", "session=x")  # fmt: skip


def cookies(count: int, seed: int) -> Counter[str]:
    """``Cookie`` headers through our search and Werkzeug's parser."""
    chance, seen = random.Random(seed), Counter[str]()
    for number in range(count):
        header = "".join(chance.choices(_PIECES, k=chance.randrange(14)))
        found, expected = find_cookie(header, "session"), parse_cookie(header).get("session")
        if found is NotImplemented:
            seen["left to Werkzeug"] += 1
        elif found != expected:
            raise Disagreement(f"seed {seed}, header {number}: {header!r}")
        else:
            seen["found" if found is not None else "not there"] += 1
    return seen


#: What is compared, and how much of it for the page of evidence.
SUBJECTS: dict[str, tuple[Callable[[int, int], Counter[str]], int]] = {
    "tokens": (tokens, 10_000_000),
    "sessions": (sessions, 1_000_000),
    "cookies": (cookies, 1_000_000),
}


def run(share: float, seed: int) -> dict[str, dict[str, Any]]:
    """Compares everything.

    :param share: of what :data:`SUBJECTS` says.
    :raises Disagreement: with the seed that repeats it.
    """
    found = {}
    for name, (compare, whole) in SUBJECTS.items():
        count = max(1, int(whole * share))
        begin = time.perf_counter()
        seen = compare(count, seed)
        seconds = round(time.perf_counter() - begin)
        found[name] = {"count": count, "seed": seed, "seconds": seconds, "seen": dict(seen)}
        print(f"{name}: {count:,} compared in {seconds} s: {dict(seen)}", flush=True)
    return found
