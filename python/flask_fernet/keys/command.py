"""The key command: the operator's program that prints the secrets of a wrapped key ring."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading

from ..errors import ConfigurationError
from ..settings import SHORT_SECRET

#: How each message about a failed command begins.
COMMAND_FAILED = "The key command"
#: Maximum number of bytes that a key command may print.
MAX_OUTPUT = 64 * 1024


def parse_command(command: object, name: str) -> tuple[str, ...]:
    """A program and its arguments, from a list or from one text.

    :param command: a list, or a text quoted as for a shell; ``None`` if there is no command.
    :param name: the setting or argument, for messages.
    :returns: an empty tuple if ``command`` is ``None``.
    :raises ConfigurationError: if ``command`` is neither of these, or is empty.
    """
    if command is None:
        return ()
    try:
        parts = shlex.split(command) if isinstance(command, str) else command
    except ValueError:
        parts = None
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ConfigurationError(
            f"{name} must be a list of a program and its arguments, or one text with both, quoted "
            "as for a shell, although no shell runs it."
        )
    if not parts:
        raise ConfigurationError(f"{name} must not be empty.")
    return tuple(parts)


def run_key_command(
    command: tuple[str, ...], timeout: float
) -> tuple[str | None, tuple[bytes, ...]]:
    """Runs a key command and reads the secrets that it prints, one per line, the newest first.

    It raises no exception, so that no exception and no traceback holds anything that was printed.

    :param timeout: seconds after which the command and everything that it started is killed. If
        that is not permitted, it is left alone.
    :returns: ``None`` and the secrets; or what went wrong, and no secrets.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A process group of its own, so that it can be killed with everything that it starts.
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"{_name(command)} cannot be run: {getattr(error, 'strerror', error)}.", ()
    output: list[bytes] = []
    reader = threading.Thread(target=_read, args=(process, output), daemon=True)
    reader.start()
    reader.join(timeout)
    if reader.is_alive():
        with contextlib.suppress(OSError):
            # It may have gone, or belong to another user.
            _kill(process)
        return f"{_name(command)} took longer than {timeout:g} seconds.", ()
    problem, secrets = _secrets(output[0], process.returncode)
    return None if problem is None else f"{_name(command)} {problem}", secrets


def _read(process: subprocess.Popen[bytes], output: list[bytes]) -> None:
    """Appends at most one byte more than the limit of what a process prints, and waits for it."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    # Closing it ends a process that prints more.
    with process.stdout as stdout:
        output.append(stdout.read(MAX_OUTPUT + 1))
    process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        # Its children go on: a job object would be needed to end them.
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


def _name(command: tuple[str, ...]) -> str:
    """The command for a message, without its arguments, which may be secret."""
    return f"{COMMAND_FAILED} {command[0]!r}"


def _secrets(printed: bytes, status: int) -> tuple[str | None, tuple[bytes, ...]]:
    """What is wrong with the output of a key command, as the end of a sentence, or its secrets."""
    if len(printed) > MAX_OUTPUT:
        return f"printed more than {MAX_OUTPUT:,} bytes.", ()
    if status:
        return f"failed with exit status {status}.", ()
    secrets = tuple(line.strip() for line in printed.splitlines() if line.strip())
    if not secrets:
        return "printed nothing.", ()
    if any(len(secret) < SHORT_SECRET for secret in secrets):
        return (
            "printed a line that is too short: each secret must have at least "
            f"{SHORT_SECRET} bytes.",
            (),
        )
    if any(secret.startswith((b"#", b"-----")) for secret in secrets):
        # A comment, or the first line of a PEM file (RFC 7468): it is the same for everybody.
        return (
            "printed a line that begins with '#' or '-----', which cannot be a secret.",
            (),
        )
    return None, secrets
