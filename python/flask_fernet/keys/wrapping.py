"""Key rings encrypted where they are stored: a leaked file alone is useless."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import settings
from .._core import unwrap, wrap
from ..errors import ConfigurationError, KeyRingError
from .command import parse_command, run_key_command

if TYPE_CHECKING:
    from .ring_store import RingStore

#: Seconds that a key command may take.
COMMAND_TIMEOUT = 10.0
#: The same in a worker that has a ring already: a request is waiting.
RETRY_COMMAND_TIMEOUT = 2.0


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
    def from_secrets(cls, secrets: Iterable[str | bytes]) -> Wrapping:
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
    def from_command(cls, command: str | Sequence[str]) -> Wrapping:
        """Under what a command prints.

        :raises ConfigurationError: if it cannot be one.
        """
        return cls(("command",), command=parse_command(command, "command"))


class WrappedStore:
    """Keeps the document of a ring in another store, wrapped.

    A :class:`~flask_fernet.keys.ring_store.RingStore`.

    :param inner: where.
    :param wrapping: how.
    """

    def __init__(self, inner: RingStore, wrapping: Wrapping) -> None:
        self.inner = inner
        self.wrapping = wrapping
        #: Which of the secrets opened the ring last, the newest being 0.
        self.opened_by = 0
        #: What the key command printed last.
        self._command_secrets: tuple[bytes, ...] = ()

    def load(self) -> bytes:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        return self._unwrap(self.inner.load())

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        if expected is None:
            return self.inner.compare_and_set(None, self._wrap(document))
        stored = self.inner.load()
        if self._unwrap(stored) != expected:
            return False
        return self.inner.compare_and_set(stored, self._wrap(document))

    def fingerprint(self) -> object:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        return self.inner.fingerprint()

    def rewrap(self) -> bool:
        """Keeps the same ring in the form that is written, under the newest secret.

        :returns: whether nobody else changed it meanwhile; if somebody did, nothing was changed.
        """
        stored = self.inner.load()
        return self.inner.compare_and_set(stored, self._wrap(self._unwrap(stored)))

    def _wrap(self, document: bytes) -> bytes:
        form = self.wrapping.forms[0]
        if form == "plain":
            return document
        # What the command prints may be newer than what it printed last.
        self._command_secrets = ()
        secret = self._secrets_for(form, COMMAND_TIMEOUT)[0]
        envelope = {"version": 1, "wrapped": form, "ring": wrap(secret, document)}
        return json.dumps(envelope, indent=1).encode() + b"\n"

    def _unwrap(self, stored: bytes) -> bytes:
        envelope = _parse_envelope(stored)
        form = "plain" if envelope is None else envelope["wrapped"]
        if form not in self.wrapping.forms:
            accepted = " or ".join(map(repr, self.wrapping.forms))
            raise KeyRingError(
                f"The key ring is kept as {form!r}, where {accepted} is expected: that is what "
                "SESSION_ENCRYPTION_KEYRING_WRAPPING says, or KeyRing was told. 'flask fernet ring "
                "rewrap' changes how it is kept."
            )
        if envelope is None:
            return stored
        document = self._try_secrets(envelope, COMMAND_TIMEOUT)
        if document is None and form == "command":
            # Asked again, if what it printed before does not do.
            self._command_secrets = ()
            document = self._try_secrets(envelope, RETRY_COMMAND_TIMEOUT)
        if document is None:
            raise KeyRingError(
                f"The key ring does not open: it is damaged, or was wrapped under another {form}."
            )
        return document

    def _try_secrets(self, envelope: dict[str, str], timeout: float) -> bytes | None:
        for position, secret in enumerate(self._secrets_for(envelope["wrapped"], timeout)):
            document = unwrap(secret, envelope["ring"])
            if document is not None:
                self.opened_by = position
                return document
        return None

    def _secrets_for(self, form: str, timeout: float) -> tuple[bytes, ...]:
        if form == "secret-key":
            return self.wrapping.secrets
        if not self._command_secrets:
            problem, self._command_secrets = run_key_command(self.wrapping.command, timeout)
            if problem:
                raise KeyRingError(problem)
        return self._command_secrets


def wrapping_form(stored: bytes) -> str:
    """How a document is stored, out of :data:`settings.WRAPPINGS`."""
    envelope = _parse_envelope(stored)
    return "plain" if envelope is None else str(envelope["wrapped"])


def _parse_envelope(stored: bytes) -> dict[str, str] | None:
    """What a wrapped ring is kept in; ``None`` for anything else."""
    try:
        envelope: Any = json.loads(stored)
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
