"""The demo: an app around the article's functions."""

from __future__ import annotations

import base64
import os
import time
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone

from flask import Flask, Response, flash, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from itsdangerous.encoding import base64_decode
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.wrappers import Response as BaseResponse

from flask_fernet import EncryptedSessionInterface, Fernet, InvalidToken

from . import article
from .keys import ARTICLE, SESSIONS, read_key

#: Seconds for which a log-in of the demo lasts.
LIFETIME = 3600
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


def create_app() -> Flask:
    """The app, with the keys from the files that `keys.make_keys` has made."""
    app = Flask(__name__)
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    # Without it sessions are in their cookies.
    app.config["SESSION_STORE"] = os.environ.get("ARTICLE_STORE") or None
    app.config["SESSION_USER_KEY"] = "uid"
    sessions = EncryptedSessionInterface(app, keys=[read_key(SESSIONS)])
    # The article makes a key when it is imported. The demo's key outlives the process.
    article.key = read_key(ARTICLE)
    article.fernet = Fernet(article.key)
    # Only shows what Flask's default cookie would look like. It is never sent.
    default = Flask("default")
    default.secret_key = os.urandom(32)

    @app.get("/")
    def index() -> BaseResponse:
        return redirect(url_for("profile" if current_user() else "login"))

    @app.route("/login", methods=["GET", "POST"])
    def login() -> str | BaseResponse:
        if request.method == "POST":
            username = request.form.get("username", "")
            if username in USERS:
                session.permanent = True
                user = USERS[username]
                session["email"], session["role"] = user["email"], user["role"]
                session["theme"] = request.form.get("theme", "light")
                session["uid"], session["browser"] = user["uid"], request.user_agent.string
                article.update_session(user["uid"], username, int(time.time()) + LIFETIME)
                flash(f"Welcome, {username}.")
                return redirect(url_for("profile"))
            flash("There is no such user.")
        return render_template("login.html", users=USERS)

    @app.get("/profile")
    def profile() -> str | BaseResponse:
        user = current_user()
        if user is None:
            return redirect(url_for("login"))
        return render_template("profile.html", user=user)

    @app.post("/logout")
    def logout() -> BaseResponse:
        session.clear()
        return redirect(url_for("login"))

    @app.get("/sessions")
    def list_sessions() -> str | BaseResponse:
        user = current_user()
        if user is None:
            return redirect(url_for("login"))
        is_stored = app.config["SESSION_STORE"] is not None
        found = sessions.list(user.uid) if is_stored else None
        return render_template("sessions.html", found=found)

    @app.post("/sessions/end")
    def end_session() -> BaseResponse:
        user, handle = current_user(), request.form.get("handle", "")
        # A user may end no sessions but their own.
        if user is not None and handle in {one.handle for one in sessions.list(user.uid)}:
            sessions.revoke(handle)
            flash("The session was ended.")
        return redirect(url_for("list_sessions"))

    @app.post("/sessions/end-others")
    def end_others() -> BaseResponse:
        user = current_user()
        if user is not None:
            count = sessions.revoke_user(user.uid, keep_current=True)
            flash(f"{count} other session{'' if count == 1 else 's'} ended.")
        return redirect(url_for("list_sessions"))

    @app.get("/cookie")
    def cookie() -> str:
        return render_template(
            "cookie.html", signed=signed_cookie(default), encrypted=encrypted_cookie(app)
        )

    @app.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204

    @app.errorhandler(Exception)
    def explain(error: Exception) -> tuple[str, int]:
        if not isinstance(error, HTTPException):
            app.logger.error("A request failed.", exc_info=error)
            error = InternalServerError()
        page = render_template("error.html", name=error.name, description=error.description)
        return page, error.code or 500

    @app.after_request
    def name_the_worker(response: Response) -> Response:
        # A test checks that one worker reads the session that the other made.
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


@dataclass(frozen=True)
class Cookie:
    """A session cookie as it looks to someone who has no key."""

    value: str
    #: The parts of the cookie, each with the text that can be read in it.
    parts: list[tuple[str, str]]


def signed_cookie(app: Flask) -> Cookie:
    """The cookie that Flask's default would send for this session, decoded without a key."""
    if not session:
        return Cookie("", [])
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None  # noqa: S101 - the app has a secret key
    value = serializer.dumps(dict(session))
    assert isinstance(value, str)  # noqa: S101 - for the type checker
    payload, made, signature = value.rsplit(".", 2)
    packed = payload.startswith(".")
    data = base64_decode(payload.lstrip("."))
    if packed:
        data = zlib.decompress(data)
    made_at = int.from_bytes(base64_decode(made), "big")
    parts = [("Contents", data.decode()), ("Made", when(made_at)), ("Signature", signature)]
    return Cookie(value, parts)


def encrypted_cookie(app: Flask) -> Cookie:
    """The cookie that this app sent, decoded as far as it can be without the key."""
    if not session:
        # There is no cookie, or it is not ours.
        return Cookie("", [])
    value = request.cookies.get(app.config["SESSION_COOKIE_NAME"], "")
    # Some clients drop or escape the padding.
    bare = value.replace("%3D", "").rstrip("=")
    data = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    made_at = int.from_bytes(data[1:9], "big")
    return Cookie(
        value,
        [
            ("Contents", data[25:-32].hex(" ", 2)),
            ("Made", when(made_at)),
            ("Initialisation vector", data[9:25].hex()),
            ("MAC", data[-32:].hex()),
        ],
    )


def when(seconds: int) -> str:
    """A time as text."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%d %B %Y, %H:%M:%S UTC")
