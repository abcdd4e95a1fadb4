"""What is wrong with an app's configuration, although each setting can be used by itself.

``init_app`` refuses what would make requests fail or lose every session; the doctor reports the
rest too, which only browsers refuse.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Flask
from werkzeug.http import dump_cookie, parse_cookie

from .. import settings

if TYPE_CHECKING:
    from flask.sessions import SecureCookieSessionInterface

    from .._core import Policy

#: How alike two names of settings are that differ by one letter.
_ONE_LETTER = 0.93
#: The names of Flask's settings, which are no misspelt ones of ours.
_FLASKS_SETTINGS = frozenset(Flask.default_config)

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


def cookie_attributes(interface: SecureCookieSessionInterface, app: Flask) -> dict[str, Any]:
    """The name and the attributes of the session cookie, as the interface's hooks give them."""
    return {
        "name": interface.get_cookie_name(app),
        "domain": interface.get_cookie_domain(app),
        "path": interface.get_cookie_path(app),
        "secure": interface.get_cookie_secure(app),
        "partitioned": interface.get_cookie_partitioned(app),
        "samesite": interface.get_cookie_samesite(app),
        "httponly": interface.get_cookie_httponly(app),
    }


def problems(
    interface: SecureCookieSessionInterface, app: Flask, policy: Policy
) -> Iterator[Problem]:
    """What is wrong with the session cookie and its limit."""
    if policy.cookie is None:
        # A setting is missing: the hooks raise KeyError, as in Flask.
        return
    attributes = cookie_attributes(interface, app)
    yield from _refused_by_browsers(attributes)
    limit = app.config["MAX_COOKIE_SIZE"]
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit < 0:
        message = "must be a number of bytes from 0 on; 0 means no limit"
        yield Problem("MAX_COOKIE_SIZE", message, on_the_server=True)
        limit = 0
    name = attributes.pop("name")
    token = "" if policy.keys is None else policy.keys.seal(b"{}", 0, name)
    try:
        header = dump_cookie(name, token or "x", max_size=0, expires="", **attributes)
    except Exception:  # noqa: BLE001 - Werkzeug has an error of its own for each wrong attribute
        yield _wrong_attribute(name, attributes)
        return
    if parse_cookie(header.partition(";")[0]).get(name) != (token or "x"):
        message = "must be a name that can be read back from a Cookie header, such as 'session'"
        yield Problem("SESSION_COOKIE_NAME", message, on_the_server=True)
    if token and 0 < limit < len(header):
        message = f"must be at least {len(header)} bytes, the length of an empty session's cookie"
        yield Problem("MAX_COOKIE_SIZE", message, on_the_server=True)


def _wrong_attribute(name: str, attributes: dict[str, Any]) -> Problem:
    """Which setting Werkzeug refuses to make a cookie of."""
    try:
        dump_cookie(name, "x", max_size=0, **{**attributes, "samesite": None})
    except Exception:  # noqa: BLE001
        message = (
            "SESSION_COOKIE_NAME, SESSION_COOKIE_DOMAIN and SESSION_COOKIE_PATH must be text that "
            "fits into a cookie"
        )
        return Problem("SESSION_COOKIE_*", message, on_the_server=True)
    message = "must be 'Strict', 'Lax', 'None' or not set"
    return Problem("SESSION_COOKIE_SAMESITE", message, on_the_server=True)


def _refused_by_browsers(attributes: dict[str, Any]) -> Iterator[Problem]:
    """Cookies that browsers drop without a word (RFC 6265bis, sections 4.1.3 and 5.7; CHIPS)."""
    name, secure = str(attributes["name"]).lower(), attributes["secure"]
    if name.startswith("__host-"):
        wrong = []
        if attributes["domain"]:
            wrong.append("no SESSION_COOKIE_DOMAIN")
        if attributes["path"] != "/":
            wrong.append("SESSION_COOKIE_PATH = '/'")
        if not secure:
            wrong.append("SESSION_COOKIE_SECURE = True")
        if wrong:
            message = f"begins with __Host-, for which browsers demand {' and '.join(wrong)}"
            yield Problem("SESSION_COOKIE_NAME", message)
    if name.startswith("__secure-") and not secure:
        message = "begins with __Secure-, for which browsers demand SESSION_COOKIE_SECURE = True"
        yield Problem("SESSION_COOKIE_NAME", message)
    if str(attributes["samesite"]).lower() == "none" and attributes["samesite"] and not secure:
        message = "is 'None', for which browsers demand SESSION_COOKIE_SECURE = True"
        yield Problem("SESSION_COOKIE_SAMESITE", message)
    if attributes["partitioned"] and not secure:
        message = "is on, for which browsers demand SESSION_COOKIE_SECURE = True"
        yield Problem("SESSION_COOKIE_PARTITIONED", message)


def misspelt(app: Flask) -> Iterator[Problem]:
    """Names in the configuration that are one letter away from a setting of ours."""
    for name in list(app.config):
        if not isinstance(name, str) or name in _FLASKS_SETTINGS or name in settings.SETTINGS:
            continue
        for close in difflib.get_close_matches(name, settings.SETTINGS, 1, _ONE_LETTER):
            yield Problem(name, f"is not a setting: {close} is")
