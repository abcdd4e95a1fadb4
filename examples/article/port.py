"""Says in one line if the demo's port is in use: ``python -m examples.article.port 8000``."""

from __future__ import annotations

import socket
import sys


def check(port: int) -> str | None:
    """What is wrong with a port on this host; ``None`` if a server can use it."""
    try:
        # As the server does: a port that was closed just now is free.
        with socket.create_server(("127.0.0.1", port)):
            return None
    except (OSError, OverflowError) as error:
        return (
            f"Port {port} cannot be used: {error}. Stop what uses it, or take another one: "
            "make demo PORT=8001"
        )


if __name__ == "__main__":
    sys.exit(check(int(sys.argv[1])))
