"""The key command: a program that prints the secrets a key ring is wrapped with."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess

from ..errors import ConfigurationError
from ..settings import SHORT_SECRET


def parse_command(command: object, name: str) -> tuple[str, ...]:
    """A program and its arguments, given as a list or as one text."""
    if command is None:
        return ()
    try:
        parts = shlex.split(command) if isinstance(command, str) else command
    except ValueError:
        parts = None
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ConfigurationError(
            f"{name} is a list of a program and its arguments, or one text with both, quoted as "
            "for a shell, though none is used."
        )
    if not parts:
        raise ConfigurationError(f"{name} is set but empty.")
    return tuple(parts)


def run_key_command(
    command: tuple[str, ...], timeout: float
) -> tuple[str | None, tuple[bytes, ...]]:
    """What is wrong with a key command, or the secrets that it prints, a line each, the newest
    first.

    It raises nothing, so that nothing that was printed is in an exception or its traceback.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # To be ended with all that it starts.
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"The key command cannot be run: {getattr(error, 'strerror', error)}.", ()
    with process:
        try:
            printed, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return f"The key command took longer than {timeout:g} seconds.", ()
    if process.returncode:
        return f"The key command failed with exit status {process.returncode}.", ()
    secrets = tuple(line.strip() for line in printed.splitlines() if line.strip())
    if not secrets:
        return "The key command printed nothing.", ()
    if any(len(secret) < SHORT_SECRET for secret in secrets):
        return (
            f"The key command printed a line of fewer than {SHORT_SECRET} bytes, which is "
            "too short for a secret.",
            (),
        )
    if any(secret.startswith((b"#", b"-----")) for secret in secrets):
        # A comment, or the first line of a PEM file (RFC 7468): the same for everybody.
        return "The key command printed a line that begins with '#' or '-----': no secret.", ()
    return None, secrets
