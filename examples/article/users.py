"""The demo's users, and who of them is logged in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone

from flask import session

from flask_fernet import InvalidToken

from . import article

#: Seconds for which a log-in of the demo lasts.
LIFETIME = 12 * 3600
#: The demo's only user database. It has no passwords: the demo shows what happens after log-in.
USERS = {
    "ada": {"uid": 1, "email": "ada@example.org", "role": "admin"},
    "grace": {"uid": 2, "email": "grace@example.org", "role": "editor"},
    "margaret": {"uid": 3, "email": "margaret@example.org", "role": "reader"},
}


@dataclass(frozen=True)
class User:
    """The user who is logged in, from the article's token."""

    uid: int
    username: str
    expires: int

    @property
    def expires_at(self) -> datetime:
        """The end of the log-in as an aware time."""
        return datetime.fromtimestamp(self.expires, tz=timezone.utc)


def log_in(username: str, theme: str, browser: str) -> None:
    """Puts a user into the session."""
    user = USERS[username]
    session.permanent = True
    session["email"], session["role"] = user["email"], user["role"]
    session["theme"], session["uid"], session["browser"] = theme, user["uid"], browser
    article.update_session(user["uid"], username, int(time.time()) + LIFETIME)


def current_user() -> User | None:
    """The user whom the article's token in the session names, if it has not expired."""
    token = session.get(article.SESSION_ID_KEY)
    if token is None:
        return None
    try:
        uid, rest = article.decrypt_data(token).split("_", 1)
        username, expires = rest.rsplit("_", 1)
    except (InvalidToken, ValueError):
        return None
    user = User(int(uid), username, int(expires))
    return user if user.expires > time.time() else None
