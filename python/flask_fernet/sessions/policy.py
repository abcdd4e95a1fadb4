"""The policy: everything that an app's configuration decides about its sessions.

This module is the only place that resolves the configuration. Both the native path and the Python
fallback read the result, a frozen :class:`~flask_fernet._core.Policy`. It may only read settings
that ``settings.POLICY_SETTINGS`` lists: a change of any other would not be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .. import settings
from .._core import CookieAttributes, Policy
from ..errors import ConfigurationError
from .key_sources import KeySources, ResolvedKeys, app_secrets
from .lifetimes import absolute_lifetime, idle_lifetime, refresh_from
from .storage import REFRESH_AFTER, Stores

if TYPE_CHECKING:
    from flask import Flask

    from .signed import SignedCookies


def resolve_policy(
    app: Flask,
    sources: KeySources,
    stores: Stores,
    salt: str | bytes,
    signed_cookies: Callable[[Flask], SignedCookies],
) -> tuple[Policy, bool]:
    """Resolves the configuration of ``app`` as it is now.

    :param sources: the interface's key sources.
    :param stores: the interface's stores.
    :param salt: the interface's salt.
    :param signed_cookies: makes the reader and writer of Flask's signed cookies, if they are used.
    :returns: the policy, and whether the keys changed since the last call for this app.
    :raises ConfigurationError: if a setting cannot be used.
    """
    config = app.config
    written = settings.choice(config, "SESSION_ENCRYPTION_FORMAT", settings.FORMATS)
    accepted = settings.accepted(config)
    formats = [name for name in settings.ENCRYPTED_FORMATS if name == written or name in accepted]
    formats.sort(key=lambda name: name != written)
    if formats:
        keys = sources.resolve(app, salt, formats)
    else:
        settings.reject_unknown(config)
        keys = ResolvedKeys(unused_sources=[])
    signed, short_secrets = None, keys.short_secrets
    if settings.SIGNED_FORMAT in (written, *accepted):
        signed = signed_cookies(app)
        short_secrets = settings.short_secrets(app_secrets(app))
    lifetime = idle_lifetime(app)
    storage = stores.resolve(app, keys.session_keys, int(lifetime.total_seconds()))
    only_reads = "store" in accepted
    has_store = config.get("SESSION_STORE") is not None
    if only_reads and not has_store:
        raise ConfigurationError(
            "SESSION_ENCRYPTION_ACCEPT names 'store', but SESSION_STORE is not set."
        )
    writes_to_store = storage is not None and not only_reads
    if has_store and not only_reads and written == settings.SIGNED_FORMAT:
        raise ConfigurationError(
            "SESSION_ENCRYPTION_FORMAT must be an encrypted format with SESSION_STORE, not "
            f"{written!r}: the cookie of a stored session is always encrypted."
        )
    policy = Policy(
        keys=keys.session_keys,
        signed=signed,
        format=written,
        accepted=accepted,
        lifetime=lifetime,
        absolute_lifetime=absolute_lifetime(config),
        refresh_from=refresh_from(config, lifetime),
        stored_refresh_from=refresh_from(config, lifetime, REFRESH_AFTER),
        compression=settings.choice(config, "SESSION_COMPRESSION", settings.COMPRESSIONS),
        overflow=settings.choice(config, "SESSION_OVERFLOW", settings.OVERFLOWS),
        cookie=_cookie_attributes(config),
        cookie_name=config.get("SESSION_COOKIE_NAME"),
        debug=bool(config.get("DEBUG", True)),
        storage=storage,
        stores=writes_to_store,
        opens_data=not writes_to_store or "cookie" in accepted,
        ring=keys.ring,
        ring_state=keys.ring_state,
        valid_for=keys.valid_for,
        short_secrets=short_secrets,
        unused_sources=keys.unused_sources,
    )
    return policy, keys.changed


def _cookie_attributes(config: Mapping[str, Any]) -> CookieAttributes | None:
    """The configured attributes of the session cookie; ``None`` if a setting is missing, because
    Flask's hooks then raise ``KeyError`` at the moment when they read it.
    """
    try:
        return CookieAttributes(
            name=config["SESSION_COOKIE_NAME"],
            domain=config["SESSION_COOKIE_DOMAIN"],
            path=config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"],
            secure=config["SESSION_COOKIE_SECURE"],
            partitioned=config["SESSION_COOKIE_PARTITIONED"],
            samesite=config["SESSION_COOKIE_SAMESITE"],
            httponly=config["SESSION_COOKIE_HTTPONLY"],
            max_size=config["MAX_COOKIE_SIZE"],
            refresh_each_request=config["SESSION_REFRESH_EACH_REQUEST"],
        )
    except KeyError:
        return None


def warnings_about(policy: Policy) -> Iterator[str]:
    """Warnings for the operator about a policy that can be used."""
    if policy.short_secrets:
        yield (
            f"{policy.short_secrets[0]} has fewer than {settings.SHORT_SECRET} bytes. Sessions "
            "depend on it, and someone who holds a cookie can try secrets offline. Use "
            "secrets.token_urlsafe(32)."
        )
    if policy.writes_signed:
        yield (
            f"SESSION_ENCRYPTION_FORMAT is {settings.SIGNED_FORMAT!r}: sessions are written "
            "signed, not encrypted. This format is meant for the first of two deploys."
        )
    for source in policy.unused_sources:
        yield (
            f"The key source {source!r} is configured but unused: another source takes "
            "precedence. Name it in SESSION_ENCRYPTION_ACCEPT, or remove one of them."
        )
