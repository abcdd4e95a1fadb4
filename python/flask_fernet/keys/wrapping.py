"""Key rings encrypted where they are kept: a leaked file alone is useless."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import settings
from .._core import unwrap, wrap
from ..errors import ConfigurationError, KeyRingError

if TYPE_CHECKING:
    from flask import Flask

    from .ring_store import RingStore

#: Seconds that a key command may take.
_PATIENCE = 10.0
#: The same in a worker that has a ring already: a request is waiting.
_PATIENCE_IN_A_REQUEST = 2.0


@dataclass(frozen=True)
class Wrapping:
    """How a ring is kept."""

    #: What is read, out of :data:`settings.WRAPPINGS`; the first is written.
    forms: tuple[str, ...] = ("plain",)
    #: For ``"secret-key"``: the first wraps, all of them unwrap.
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    #: For ``"command"``: a program and its arguments.
    command: tuple[str, ...] = ()

    @classmethod
    def under(cls, secrets: Iterable[str | bytes]) -> Wrapping:
        """Under these secrets, the newest first.

        :raises ConfigurationError: if there is none, or one cannot be used.
        """
        if isinstance(secrets, (str, bytes, bytearray)):
            raise ConfigurationError("secrets is a list; a single one goes into a list too.")
        made = tuple(settings.secret("a secret of the ring", secret) for secret in secrets)
        if not made:
            raise ConfigurationError("There is no secret to wrap the key ring with.")
        if any(len(secret) < settings.SHORT_SECRET for secret in made):
            raise ConfigurationError(
                f"A secret of the key ring has fewer than {settings.SHORT_SECRET} bytes: whoever "
                "holds the file can guess it."
            )
        return cls(("secret-key",), made)

    @classmethod
    def by(cls, command: str | Sequence[str]) -> Wrapping:
        """Under what a command prints.

        :raises ConfigurationError: if it cannot be one.
        """
        return cls(("command",), command=_arguments(command, "command"))

    @classmethod
    def of(cls, app: Flask, forms: Iterable[str] = ()) -> Wrapping:
        """What the configuration of ``app`` says.

        :param forms: in place of those that it says.
        :raises ConfigurationError: if a setting cannot be used.
        """
        config = app.config
        name = "SESSION_ENCRYPTION_KEYRING_WRAPPING"
        configured = settings.choices(config, name, settings.WRAPPINGS)
        if config.get(name) is not None and not configured:
            raise ConfigurationError(
                f"{name} is set but empty. It is {settings.one_of(settings.WRAPPINGS)}, or a list "
                "of them, what is written first."
            )
        command_name = "SESSION_ENCRYPTION_KEYRING_COMMAND"
        command = _arguments(config.get(command_name), command_name)
        if command and "command" not in configured:
            raise ConfigurationError(f"{command_name} is set, but {name} does not list 'command'.")
        forms = tuple(dict.fromkeys(forms)) or tuple(configured) or ("plain",)
        if "command" in forms and not command:
            raise ConfigurationError(
                f"A key ring wrapped with a 'command' needs {command_name}: the program that "
                "prints its secret."
            )
        secrets = tuple(settings.secrets(app).values()) if "secret-key" in forms else ()
        if "secret-key" in forms and not secrets:
            raise ConfigurationError(
                "A key ring wrapped with the 'secret-key' needs SECRET_KEY, which is not set."
            )
        return cls(forms, secrets, command)


class WrappedStore:
    """Keeps the document of a ring in another store, wrapped.

    A :class:`~flask_fernet.keys.ring_store.RingStore`.

    :param store: where.
    :param wrapping: how.
    """

    def __init__(self, store: RingStore, wrapping: Wrapping) -> None:
        self.store = store
        self.wrapping = wrapping
        #: Which of the secrets opened the ring last, the newest being 0.
        self.opened_by = 0
        #: What the key command printed last.
        self._printed: tuple[bytes, ...] = ()

    def load(self) -> bytes:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        return self._unwrapped(self.store.load())

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        if expected is None:
            return self.store.compare_and_set(None, self._wrapped(document))
        kept = self.store.load()
        if self._unwrapped(kept) != expected:
            return False
        return self.store.compare_and_set(kept, self._wrapped(document))

    def fingerprint(self) -> object:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        return self.store.fingerprint()

    def rewrap(self) -> bool:
        """Keeps the same ring in the form that is written, under the newest secret.

        :returns: whether nobody else changed it meanwhile; if somebody did, nothing was changed.
        """
        kept = self.store.load()
        return self.store.compare_and_set(kept, self._wrapped(self._unwrapped(kept)))

    def _wrapped(self, document: bytes) -> bytes:
        form = self.wrapping.forms[0]
        if form == "plain":
            return document
        # What the command prints may be newer than what it printed last.
        self._printed = ()
        secret = self._secrets(form, _PATIENCE)[0]
        envelope = {"version": 1, "wrapped": form, "ring": wrap(secret, document)}
        return json.dumps(envelope, indent=1).encode() + b"\n"

    def _unwrapped(self, kept: bytes) -> bytes:
        envelope = _envelope(kept)
        form = "plain" if envelope is None else envelope["wrapped"]
        if form not in self.wrapping.forms:
            accepted = " or ".join(map(repr, self.wrapping.forms))
            raise KeyRingError(
                f"The key ring is kept as {form!r}, where {accepted} is expected: that is what "
                "SESSION_ENCRYPTION_KEYRING_WRAPPING says, or KeyRing was told. 'flask fernet ring "
                "rewrap' changes how it is kept."
            )
        if envelope is None:
            return kept
        document = self._opened(envelope, _PATIENCE)
        if document is None and form == "command":
            # Asked again, if what it printed before does not do.
            self._printed = ()
            document = self._opened(envelope, _PATIENCE_IN_A_REQUEST)
        if document is None:
            raise KeyRingError(
                f"The key ring does not open: it is damaged, or was wrapped under another {form}."
            )
        return document

    def _opened(self, envelope: dict[str, str], patience: float) -> bytes | None:
        for position, secret in enumerate(self._secrets(envelope["wrapped"], patience)):
            document = unwrap(secret, envelope["ring"])
            if document is not None:
                self.opened_by = position
                return document
        return None

    def _secrets(self, form: str, patience: float) -> tuple[bytes, ...]:
        if form == "secret-key":
            return self.wrapping.secrets
        if not self._printed:
            problem, self._printed = _ask(self.wrapping.command, patience)
            if problem:
                raise KeyRingError(problem)
        return self._printed


def form_of(kept: bytes) -> str:
    """How a document is kept, out of :data:`settings.WRAPPINGS`."""
    envelope = _envelope(kept)
    return "plain" if envelope is None else str(envelope["wrapped"])


def _envelope(kept: bytes) -> dict[str, str] | None:
    """What a wrapped ring is kept in; ``None`` for anything else."""
    try:
        envelope: Any = json.loads(kept)
    except (ValueError, RecursionError):
        # For the reader of rings to say.
        return None
    if not isinstance(envelope, dict) or "wrapped" not in envelope:
        return None
    if (
        envelope.get("version") != 1
        or envelope["wrapped"] not in settings.WRAPPINGS[1:]
        or not isinstance(envelope.get("ring"), str)
        or not envelope["ring"].isascii()
    ):
        raise KeyRingError("The key ring is wrapped in a way that this release does not know.")
    return envelope


def _arguments(command: object, name: str) -> tuple[str, ...]:
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


def _ask(command: tuple[str, ...], patience: float) -> tuple[str | None, tuple[bytes, ...]]:
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
            printed, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return f"The key command took longer than {patience:g} seconds.", ()
    if process.returncode:
        return f"The key command failed with exit status {process.returncode}.", ()
    secrets = tuple(line.strip() for line in printed.splitlines() if line.strip())
    if not secrets:
        return "The key command printed nothing.", ()
    if any(len(secret) < settings.SHORT_SECRET for secret in secrets):
        return (
            f"The key command printed a line of fewer than {settings.SHORT_SECRET} bytes, which is "
            "too short for a secret.",
            (),
        )
    if any(secret.startswith((b"#", b"-----")) for secret in secrets):
        # A comment, or the first line of a PEM file (RFC 7468): the same for everybody.
        return "The key command printed a line that begins with '#' or '-----': no secret.", ()
    return None, secrets
