"""Key rings that are stored encrypted, so that the stored document alone is useless."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import settings
from .._core import unwrap, wrap
from ..errors import ConfigurationError, KeyRingError
from .command import parse_command, run_key_command
from .ring_store import RingStore, newest_serial, where

#: Seconds for which a key command may run.
COMMAND_TIMEOUT = 10.0
#: Seconds for which it may run again because its earlier secrets did not open a ring. This is
#: shorter because it happens in a worker that already has a ring, while a request waits.
RETRY_COMMAND_TIMEOUT = 2.0


@dataclass(frozen=True)
class Wrapping:
    """The form in which a ring is stored, and the secrets for it."""

    #: The forms that are read, each one of :data:`settings.WRAPPINGS`. The first is written.
    forms: tuple[str, ...] = ("plain",)
    #: For the form ``"secret-key"``: the first secret wraps, each of them unwraps.
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    #: For the form ``"command"``: a program and its arguments.
    command: tuple[str, ...] = ()

    @classmethod
    def from_secrets(cls, secrets: Iterable[str | bytes]) -> Wrapping:
        """The form ``"secret-key"`` with these secrets, the newest first.

        :raises ConfigurationError: if there are no secrets, or one of them cannot be used.
        """
        if isinstance(secrets, (str, bytes, bytearray)):
            raise ConfigurationError(
                f"secrets must be a list of secrets, not {type(secrets).__name__}. Put a single "
                "one into a list too."
            )
        encoded = tuple(settings.secret("A secret of the key ring", secret) for secret in secrets)
        if not encoded:
            raise ConfigurationError("secrets must not be empty.")
        if any(len(secret) < settings.SHORT_SECRET for secret in encoded):
            raise ConfigurationError(
                f"A secret of the key ring must have at least {settings.SHORT_SECRET} bytes, or "
                "someone who holds the file can guess it."
            )
        return cls(("secret-key",), encoded)

    @classmethod
    def from_command(cls, command: str | Sequence[str]) -> Wrapping:
        """The form ``"command"`` with the secrets that ``command`` prints.

        :raises ConfigurationError: if ``command`` is not a program with its arguments.
        """
        return cls(("command",), command=parse_command(command, "command"))


class WrappedStore:
    """A :class:`~flask_fernet.RingStore` that wraps each document and stores it in
    another store.

    :param inner: the other store.
    :param wrapping: the forms that are read and written.
    """

    def __init__(self, inner: RingStore, wrapping: Wrapping) -> None:
        self.inner = inner
        self.wrapping = wrapping
        #: Position of the secret that opened the ring last; the newest has position 0.
        self.opened_by: int = 0
        self._where = where(inner)
        #: The secrets that the key command printed last.
        self._command_secrets: tuple[bytes, ...] = ()
        #: Seconds for which the key command may run when it runs for the first time.
        self.patience = COMMAND_TIMEOUT

    def load(self) -> bytes:
        """See :class:`~flask_fernet.RingStore`."""
        return self._unwrap(self.inner.load())

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """See :class:`~flask_fernet.RingStore`."""
        if expected is None:
            return self.inner.compare_and_set(None, self._wrap(document))
        stored = self.inner.load()
        if self._unwrap(stored) != expected:
            return False
        return self.inner.compare_and_set(stored, self._wrap(document))

    def fingerprint(self) -> object:
        """See :class:`~flask_fernet.RingStore`."""
        return self.inner.fingerprint()

    def newest_serial(self) -> int:
        """The highest serial that the other store remembers."""
        return newest_serial(self.inner)

    def note_serial(self, serial: int) -> None:
        """Remembers that a ring with this serial was written, if the other store can."""
        note = getattr(self.inner, "note_serial", None)
        if note is not None:
            note(serial)

    def rewrap(self) -> bool:
        """Stores the same ring again, in the form that is written and under the newest secret.

        :returns: ``False`` if another writer changed the ring meanwhile, in which case nothing was
            changed.
        :raises KeyRingError: if the ring cannot be read or written.
        """
        stored = self.inner.load()
        return self.inner.compare_and_set(stored, self._wrap(self._unwrap(stored)))

    def _wrap(self, document: bytes) -> bytes:
        form = self.wrapping.forms[0]
        if form == "plain":
            return document
        # Run the key command again before each write: it may print a newer secret by now.
        secret = self._secrets_for(form, COMMAND_TIMEOUT, again=True)[0]
        envelope = {"version": 1, "wrapped": form, "ring": wrap(secret, document)}
        return json.dumps(envelope, indent=1).encode() + b"\n"

    def _unwrap(self, stored: bytes) -> bytes:
        envelope = _parse_envelope(stored)
        form = "plain" if envelope is None else envelope["wrapped"]
        if form not in self.wrapping.forms:
            # This may be a plain ring, and crash reporters record local variables.
            del stored
            expected = " or ".join(map(repr, self.wrapping.forms))
            raise KeyRingError(
                f"The key ring{self._where} must be stored as {expected}, not {form!r}. "
                "SESSION_ENCRYPTION_KEYRING_WRAPPING, or the arguments of KeyRing, say what is "
                "expected; 'flask fernet ring rewrap' changes how the ring is stored."
            )
        if envelope is None:
            return stored
        known = self._command_secrets
        document = self._try_secrets(envelope, self.patience)
        if document is None and form == "command" and known:
            # The ring may be wrapped under a secret that is newer than those printed last.
            document = self._try_secrets(envelope, RETRY_COMMAND_TIMEOUT, again=True)
        if document is None:
            raise KeyRingError(
                f"The key ring{self._where} does not open: it is damaged, or was wrapped under "
                f"another {form}."
            )
        return document

    def _try_secrets(
        self, envelope: dict[str, str], timeout: float, again: bool = False
    ) -> bytes | None:
        """The document of ``envelope``, or ``None`` if no secret opens it."""
        for position, secret in enumerate(self._secrets_for(envelope["wrapped"], timeout, again)):
            document = unwrap(secret, envelope["ring"])
            if document is not None:
                self.opened_by = position
                return document
        return None

    def _secrets_for(self, form: str, timeout: float, again: bool = False) -> tuple[bytes, ...]:
        """The secrets of ``form``, the newest first.

        :param timeout: seconds for which the key command may run, if it is run.
        :param again: run the key command even if it has printed secrets before.
        :raises KeyRingError: if the key command fails. The secrets that it printed before stay, or
            the next attempt would be taken for the first and could block a request for longer.
        """
        if form == "secret-key":
            return self.wrapping.secrets
        secrets = self._command_secrets
        if again or not secrets:
            problem, secrets = run_key_command(self.wrapping.command, timeout)
            if problem:
                raise KeyRingError(problem)
            self._command_secrets = secrets
        return secrets


def wrapping_form(stored: bytes) -> str:
    """The form of a stored document, one of :data:`settings.WRAPPINGS`.

    :raises KeyRingError: if the document is wrapped in an unknown way.
    """
    envelope = _parse_envelope(stored)
    return "plain" if envelope is None else str(envelope["wrapped"])


def _parse_envelope(stored: bytes) -> dict[str, str] | None:
    """The JSON object round a wrapped ring; ``None`` if the document is not wrapped.

    :raises KeyRingError: if the document is wrapped in an unknown way.
    """
    try:
        envelope: Any = json.loads(stored)
    except (ValueError, RecursionError):
        # Whoever decodes the ring reports this.
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
