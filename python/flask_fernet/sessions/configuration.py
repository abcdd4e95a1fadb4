"""What is wrong with an app's configuration, although each setting can be used by itself.

``init_app`` refuses what would make requests fail or lose every session; the doctor reports the
rest too, which only browsers refuse.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Flask
from werkzeug.http import dump_cookie, parse_cookie

from .. import settings

if TYPE_CHECKING:
    from flask.sessions import SecureCookieSessionInterface

    from .._core import Policy

#: How alike two names of settings are that differ by one letter.
_ONE_LETTER = 0.93
#: Flask's settings of the session cookie and its limit.
_COOKIE_SETTINGS = (
    "SESSION_COOKIE_NAME",
    *(name for name in settings.SAVING_SETTINGS if name not in settings.SETTINGS),
)
#: Settings that are on or off.
_FLAGS = (
    "SESSION_COOKIE_SECURE",
    "SESSION_COOKIE_PARTITIONED",
    "SESSION_COOKIE_HTTPONLY",
    "SESSION_REFRESH_EACH_REQUEST",
)
#: A host name as a cookie's Domain (RFC 6265, section 4.1.2.3; RFC 1123, section 2.1).
_DOMAIN = re.compile(r"\.?[a-z0-9-]+(\.[a-z0-9-]+)*", re.IGNORECASE)

NO_KEY = (
    "There is no key: set SECRET_KEY, SESSION_ENCRYPTION_KEYS or SESSION_ENCRYPTION_KEYRING, or "
    "pass 'keys' to EncryptedSessionInterface."
)


class Problem(NamedTuple):
    """Something that makes sessions fail."""

    #: The setting.
    name: str
    #: The end of a sentence about the setting.
    message: str
    #: Whether the server fails, or loses every session, whatever the browser does.
    on_the_server: bool = False


def missing_settings(app: Flask) -> list[str]:
    """Flask's settings of the session cookie that were removed from the configuration."""
    return [name for name in _COOKIE_SETTINGS if name not in app.config]


def cookie_attributes(interface: SecureCookieSessionInterface, app: Flask) -> dict[str, Any] | None:
    """The name and the attributes of the session cookie, as the interface's hooks give them;
    ``None`` if a hook raises, for example because it needs a request.
    """
    try:
        return {
            "name": interface.get_cookie_name(app),
            "domain": interface.get_cookie_domain(app),
            "path": interface.get_cookie_path(app),
            "secure": bool(interface.get_cookie_secure(app)),
            "partitioned": bool(interface.get_cookie_partitioned(app)),
            "samesite": interface.get_cookie_samesite(app),
            "httponly": bool(interface.get_cookie_httponly(app)),
        }
    except Exception:  # noqa: BLE001 - a hook may raise anything
        return None


def problems(app: Flask, policy: Policy, attributes: dict[str, Any] | None) -> Iterator[Problem]:
    """What is wrong with the lifetimes, the session cookie and its limit.

    :param attributes: the result of :func:`cookie_attributes`.
    """
    yield from _lifetime(policy)
    if attributes is None or missing_settings(app):
        return
    yield from _refused_by_browsers(attributes)
    for flag in _FLAGS:
        if isinstance(app.config[flag], str):
            yield Problem(flag, "is text, which counts as on, whatever it says: set True or False")
    name = attributes["name"]
    if not isinstance(name, str):
        message = f"must be text, not {type(name).__name__}"
        yield Problem("SESSION_COOKIE_NAME", message, on_the_server=True)
        return
    header = _header(policy, attributes)
    if isinstance(header, Problem):
        yield header
        return
    try:
        is_read_back = name in parse_cookie(header.partition(";")[0])
    except UnicodeError:
        is_read_back = False
    if not name.isascii():
        # RFC 6265, section 4.1.1: a name is a token.
        message = "must be ASCII: not all servers and browsers pass other names on"
        yield Problem("SESSION_COOKIE_NAME", message)
    if not is_read_back or re.search(r"[\x00-\x1f\x7f]", header):
        message = "must be a name that can be read back from a Cookie header, such as 'session'"
        yield Problem("SESSION_COOKIE_NAME", message, on_the_server=True)
    yield from _limit(app.config["MAX_COOKIE_SIZE"], header if policy.keys else "")


def _lifetime(policy: Policy) -> Iterator[Problem]:
    name = "PERMANENT_SESSION_LIFETIME"
    try:
        datetime.now(timezone.utc) + policy.lifetime
    except OverflowError:
        yield Problem(name, "must end before the year 10000", on_the_server=True)
    if policy.lifetime.total_seconds() < 1:
        message = "must be a second at least: every session would be over at once"
        yield Problem(name, message, on_the_server=True)


def _limit(limit: Any, header: str) -> Iterator[Problem]:
    """What is wrong with the limit for a cookie whose shortest form is ``header``."""
    name = "MAX_COOKIE_SIZE"
    if not limit:
        # No limit, as in Flask.
        return
    try:
        is_number = limit > 0
    except TypeError:
        is_number = False
    if not is_number:
        message = "must be a number of bytes from 0 on; 0 means no limit"
        yield Problem(name, message, on_the_server=True)
    elif limit < len(header):
        message = f"must be at least {len(header)} bytes, the length of an empty session's cookie"
        yield Problem(name, message, on_the_server=True)


def _header(policy: Policy, attributes: dict[str, Any]) -> str | Problem:
    """The ``Set-Cookie`` value of an empty session; or which setting Werkzeug refuses."""
    name = attributes["name"]
    token = "x" if policy.keys is None else policy.keys.seal(b"{}", 0, name)
    rest = {key: value for key, value in attributes.items() if key != "name"}
    # Werkzeug has an error of its own for each wrong attribute.
    with contextlib.suppress(Exception):
        return dump_cookie(name, token, max_size=0, expires="", **rest)
    try:
        dump_cookie(name, token, max_size=0, **{**rest, "samesite": None})
    except Exception:  # noqa: BLE001 - the same
        message = "must be text that fits into a cookie, as must its domain and its path"
        return Problem("SESSION_COOKIE_NAME", message, on_the_server=True)
    message = "must be 'Strict', 'Lax', 'None' or not set"
    return Problem("SESSION_COOKIE_SAMESITE", message, on_the_server=True)


def _refused_by_browsers(attributes: dict[str, Any]) -> Iterator[Problem]:
    """Cookies that browsers drop without a word (RFC 6265bis, sections 4.1.3 and 5.7; CHIPS)."""
    name, secure = str(attributes["name"]).lower(), attributes["secure"]
    domain, path = attributes["domain"], attributes["path"]
    demands_secure = "for which browsers demand SESSION_COOKIE_SECURE = True"
    if name.startswith("__host-"):
        wrong = []
        if domain:
            wrong.append("no SESSION_COOKIE_DOMAIN")
        if path != "/":
            wrong.append("SESSION_COOKIE_PATH = '/'")
        if not secure:
            wrong.append("SESSION_COOKIE_SECURE = True")
        if wrong:
            message = f"begins with __Host-, for which browsers demand {' and '.join(wrong)}"
            yield Problem("SESSION_COOKIE_NAME", message)
    if name.startswith("__secure-") and not secure:
        yield Problem("SESSION_COOKIE_NAME", f"begins with __Secure-, {demands_secure}")
    if str(attributes["samesite"]).lower() == "none" and attributes["samesite"] and not secure:
        yield Problem("SESSION_COOKIE_SAMESITE", f"is 'None', {demands_secure}")
    if attributes["partitioned"] and not secure:
        yield Problem("SESSION_COOKIE_PARTITIONED", f"is on, {demands_secure}")
    if isinstance(domain, str) and domain and domain.isascii() and not _DOMAIN.fullmatch(domain):
        message = "must be a host name, without a scheme, a port or a path"
        yield Problem("SESSION_COOKIE_DOMAIN", message)
    if isinstance(path, str) and not path.startswith("/"):
        yield Problem("SESSION_COOKIE_PATH", "must begin with '/'")


def misspelt(app: Flask) -> Iterator[Problem]:
    """Names in the configuration that are one letter away from a setting of ours."""
    for name in settings.names_in(app.config):
        if not isinstance(name, str) or name in Flask.default_config or name in settings.SETTINGS:
            continue
        for close in difflib.get_close_matches(name, settings.SETTINGS, 1, _ONE_LETTER):
            yield Problem(name, f"is not a setting: {close} is")
