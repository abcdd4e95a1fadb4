"""Key rings encrypted where they are kept: a leaked file alone is useless."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import settings
from ._core import unwrap, wrap
from .errors import ConfigurationError, KeyRingError

if TYPE_CHECKING:
    from flask import Flask

    from .keyring import RingStore

#: Seconds that a key command may take.
_PATIENCE = 10


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

        :raises ConfigurationError: if there is none, or one is not ``str`` or ``bytes``.
        """
        if isinstance(secrets, (str, bytes, bytearray)):
            raise ConfigurationError("secrets is a list; a single one goes into a list too.")
        made = tuple(settings.secret("a secret of the ring", secret) for secret in secrets)
        if not made:
            raise ConfigurationError("There is no secret to wrap the key ring with.")
        return cls(("secret-key",), made)

    @classmethod
    def of(cls, app: Flask, forms: Iterable[str] = ()) -> Wrapping:
        """What the configuration of ``app`` says.

        :param forms: come before those that it says.
        :raises ConfigurationError: if a setting cannot be used.
        """
        config = app.config
        name = "SESSION_ENCRYPTION_KEYRING_WRAPPING"
        configured = settings.choices(config, name, settings.WRAPPINGS)
        if config.get(name) is not None and not configured:
            raise ConfigurationError(
                f"{name} is set but empty. It is {settings.either(settings.WRAPPINGS)}, or a list "
                "of them, what is written first."
            )
        forms = tuple(dict.fromkeys([*forms, *configured])) or ("plain",)
        command = _arguments(config.get("SESSION_ENCRYPTION_KEYRING_COMMAND"))
        if "command" in forms and not command:
            raise ConfigurationError(
                "A key ring wrapped with a 'command' needs SESSION_ENCRYPTION_KEYRING_COMMAND: the "
                "program that prints its secret."
            )
        secrets = tuple(settings.secrets(app).values()) if "secret-key" in forms else ()
        if "secret-key" in forms and not secrets:
            raise ConfigurationError(
                "A key ring wrapped with the 'secret-key' needs SECRET_KEY, which is not set."
            )
        return cls(forms, secrets, command)


class WrappedStore:
    """Keeps the document of a ring in another store, wrapped.

    A :class:`~flask_fernet.keyring.RingStore`.

    :param store: where.
    :param wrapping: how.
    """

    def __init__(self, store: RingStore, wrapping: Wrapping) -> None:
        self.store = store
        self._wrapping = wrapping
        #: What the key command printed last.
        self._printed: tuple[bytes, ...] = ()

    def load(self) -> bytes:
        """See :class:`~flask_fernet.keyring.RingStore`."""
        return self._unwrapped(self.store.load())

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """See :class:`~flask_fernet.keyring.RingStore`."""
        if expected is None:
            return self.store.compare_and_set(None, self._wrapped(document))
        kept = self.store.load()
        if self._unwrapped(kept) != expected:
            return False
        return self.store.compare_and_set(kept, self._wrapped(document))

    def fingerprint(self) -> object:
        """See :class:`~flask_fernet.keyring.RingStore`."""
        return self.store.fingerprint()

    def rewrap(self) -> bool:
        """Keeps the same ring in the form that is written, under the newest secret.

        :returns: whether nobody else changed it meanwhile; if somebody did, nothing was changed.
        """
        kept = self.store.load()
        return self.store.compare_and_set(kept, self._wrapped(self._unwrapped(kept)))

    def _wrapped(self, document: bytes) -> bytes:
        form = self._wrapping.forms[0]
        if form == "plain":
            return document
        # What the command prints may be newer than what it printed last.
        secret = self._secrets(form, again=True)[0]
        envelope = {"version": 1, "wrapped": form, "ring": wrap(secret, document)}
        return json.dumps(envelope, indent=1).encode() + b"\n"

    def _unwrapped(self, kept: bytes) -> bytes:
        envelope = _envelope(kept)
        form = "plain" if envelope is None else envelope["wrapped"]
        if form not in self._wrapping.forms:
            accepted = " or ".join(self._wrapping.forms)
            raise KeyRingError(
                f"The key ring is kept as {form!r}, and SESSION_ENCRYPTION_KEYRING_WRAPPING "
                f"accepts only {accepted}. 'flask fernet ring rewrap' changes how it is kept."
            )
        if envelope is None:
            return kept
        # The command is asked again where what it printed before does not do.
        for again in (False, True) if form == "command" else (False,):
            for secret in self._secrets(form, again):
                document = unwrap(secret, envelope["ring"])
                if document is not None:
                    return document
        raise KeyRingError(
            f"The key ring does not open: it is damaged, or was wrapped under another {form}."
        )

    def _secrets(self, form: str, again: bool) -> tuple[bytes, ...]:
        if form == "secret-key":
            return self._wrapping.secrets
        if again or not self._printed:
            self._printed = _ask(self._wrapping.command)
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
    ):
        raise KeyRingError("The key ring is wrapped in a way that this release does not know.")
    return envelope


def _arguments(command: object) -> tuple[str, ...]:
    """A program and its arguments, given as a list or as one text."""
    if command is None:
        return ()
    try:
        parts = shlex.split(command) if isinstance(command, str) else command
    except ValueError:
        parts = None
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ConfigurationError(
            "SESSION_ENCRYPTION_KEYRING_COMMAND is a list of a program and its arguments, or one "
            "text with both, quoted as for a shell, though none is used."
        )
    if not parts:
        raise ConfigurationError("SESSION_ENCRYPTION_KEYRING_COMMAND is set but empty.")
    return tuple(parts)


def _ask(command: tuple[str, ...]) -> tuple[bytes, ...]:
    """The secrets that a key command prints, a line each, the newest first.

    :raises KeyRingError: if it fails. Shows nothing of what it printed.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own program
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        # Not from it: it carries what was printed so far.
        raise KeyRingError(f"The key command took longer than {_PATIENCE} seconds.") from None
    except OSError as error:
        raise KeyRingError(f"The key command cannot be run: {error.strerror}.") from error
    if done.returncode:
        raise KeyRingError(f"The key command failed with exit status {done.returncode}.")
    secrets = tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
    if not secrets:
        raise KeyRingError("The key command printed nothing.")
    if any(len(secret) < settings.SHORT_SECRET for secret in secrets):
        raise KeyRingError(
            f"The key command printed a secret of fewer than {settings.SHORT_SECRET} bytes."
        )
    return secrets
