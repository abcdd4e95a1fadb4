"""The inputs that fuzzing has kept, and headers as sites set them, through ours and what it must
agree with in Python.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

from flask import Flask
from flask.json.tag import TaggedJSONSerializer
from werkzeug.sansio.http import parse_cookie

from flask_fernet._core import Codec, find_cookie, inflate

SEEDS = Path(__file__).parents[2] / "fuzz" / "seeds"


def recorded(target: str) -> list[bytes]:
    with zipfile.ZipFile(SEEDS / f"{target}.zip") as archive:
        found = [archive.read(name) for name in archive.namelist()]
    assert len(found) > 50
    return found


def texts(target: str) -> list[str]:
    found = []
    for one in recorded(target):
        try:
            found.append(one.decode())
        except UnicodeDecodeError:
            continue
    assert len(found) > 50
    return found


def test_cookies_are_found_as_by_werkzeug() -> None:
    compared = 0
    for header in texts("cookies") + (SEEDS / "cookies.txt").read_text().splitlines():
        found = find_cookie(header, "session")
        if found is not NotImplemented:
            assert found == parse_cookie(header).get("session"), repr(header)
            compared += 1
    assert compared > 50


def test_json_is_read_as_by_flask() -> None:
    compared = 0
    flasks = TaggedJSONSerializer()
    with Flask(__name__).app_context():
        for text in texts("json_read"):
            found: Any = Codec().decode(text.encode())
            if found is not NotImplemented:
                # With their types: 1 is not True, and NaN is NaN.
                assert repr(found) == repr(flasks.loads(text)), repr(text)
                compared += 1
    assert compared > 50


def test_streams_are_inflated_as_by_zlib() -> None:
    outcomes = set()
    for stream in recorded("inflate"):
        try:
            decompress = zlib.decompressobj()
            data = decompress.decompress(stream, 2**20)
            is_whole = decompress.eof and not decompress.unused_data
        except zlib.error:
            is_whole = False
        assert inflate(b"." + stream) == (data if is_whole else None), stream
        outcomes.add(is_whole)
    assert outcomes == {True, False}
