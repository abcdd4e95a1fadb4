"""Makes the demo's keys, once, before any worker starts: ``python -m examples.article.keys``.

Flask's sessions have a key ring, and the article's own tokens a key of their own, because whoever
can have a text of their choice encrypted under the session key could make a session. Workers only
read them.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

from flask_fernet import Fernet, KeyRing, new_ring

INSTANCE = Path(os.environ.get("ARTICLE_INSTANCE", Path(__file__).parent / "instance"))
RING = "session-keys.json"
ARTICLE = "article.key"


def read_key(name: str) -> bytes:
    """A key that :func:`make_keys` has made."""
    path = INSTANCE / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SystemExit(
            f"{path} is missing. Make the keys first: python -m examples.article.keys"
        ) from None


def make_keys() -> None:
    """Creates the files that do not exist yet, readable by their owner alone."""
    INSTANCE.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (INSTANCE / RING).exists():
        KeyRing(INSTANCE / RING).create(new_ring("sessions", time.time()))
    if (INSTANCE / ARTICLE).exists():
        return
    # A temporary file has mode 0600 from the first moment; a link never replaces a key.
    with tempfile.NamedTemporaryFile(dir=INSTANCE) as file:
        file.write(Fernet.generate_key())
        file.flush()
        with contextlib.suppress(FileExistsError):
            os.link(file.name, INSTANCE / ARTICLE)


if __name__ == "__main__":
    make_keys()
