"""The demo: an app around the article's functions."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import (
    Flask,
    Response,
    flash,
    get_flashed_messages,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.http import dump_cookie
from werkzeug.wrappers import Response as BaseResponse

from flask_fernet import (
    EncryptedSessionInterface,
    Fernet,
    KeyRing,
    Reason,
    SessionTooLarge,
    StoreUnavailable,
    session,
)
from flask_fernet.sessions.inspection import inspect

from . import article, controls, keys
from .cookies import (
    encrypted_cookie,
    signed_cookie,
    tampered_encrypted,
    tampered_signed,
    when,
)
from .users import USERS, current_user, log_in

#: Seconds after which a session ends that is not used.
IDLE = 3600


def create_server() -> controls.Controlled:
    """The app as the demo's server runs it."""
    return controls.Controlled(create_app())


def create_app() -> Flask:
    """The app, with the keys from the files that `keys.make_keys` has made."""
    app = Flask(__name__)
    app.config.update(
        PERMANENT_SESSION_LIFETIME=IDLE,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_ENCRYPTION_KEYRING=str(keys.INSTANCE.resolve() / keys.RING),
        # A session is sent again when a quarter of its hour is over, so that its age can be seen.
        SESSION_REFRESH_AFTER=0.25,
        # Without it sessions are in their cookies.
        SESSION_STORE=os.environ.get("ARTICLE_STORE") or None,
        SESSION_USER_KEY="uid",
    )
    controls.apply(app, controls.Controls())
    sessions = EncryptedSessionInterface(app)
    # The article makes a key when it is imported. The demo's key outlives the process.
    article.key = keys.read_key(keys.ARTICLE)
    article.fernet = Fernet(article.key)
    # Only shows what Flask's default cookie would look like. It is never sent.
    default = Flask("default")
    default.secret_key = os.urandom(32)

    def logged_in(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs) if current_user() else redirect(url_for("login"))

        return checked

    def with_store(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            if app.config["SESSION_STORE"] is None:
                return redirect(url_for("list_sessions"))
            return view(*args, **kwargs)

        return logged_in(checked)

    @app.before_request
    def say_why_a_session_is_new() -> None:
        reason = getattr(session, "rejected", None)
        if reason is not None and request.method == "GET" and request.endpoint != "icon":
            flash(_WHY.get(reason, f"The session cookie was refused: {reason}."))

    @app.context_processor
    def for_every_page() -> dict[str, Any]:
        user, messages = None, list[Any]()
        # Without a store that answers there is neither, and the page that says so needs none.
        with contextlib.suppress(StoreUnavailable):
            user = current_user()
            if user or request.endpoint == "login":
                messages = get_flashed_messages()
        return {
            "user": user,
            "messages": messages,
            "is_stored": app.config["SESSION_STORE"] is not None,
            "now": when(int(time.time())),
        }

    @app.get("/")
    def index() -> BaseResponse:
        return redirect(url_for("cookie" if current_user() else "login"))

    @app.route("/login", methods=["GET", "POST"])
    def login() -> str | BaseResponse:
        if request.method == "POST":
            username = request.form.get("username", "")
            if username in USERS:
                browser = request.user_agent.string or "unknown"
                log_in(username, request.form.get("theme", "light"), browser)
                return redirect(url_for("cookie"))
            flash("There is no such user.")
        return render_template("login.html", users=USERS)

    @app.post("/logout")
    def logout() -> BaseResponse:
        session.clear()
        return redirect(url_for("login"))

    @app.get("/cookie")
    @logged_in
    def cookie() -> str:
        signed, ours = signed_cookie(default), encrypted_cookie(app, request)
        position = request.args.get("letter", type=int)
        tampered = None
        if position is not None and ours is not None:
            tampered = (
                tampered_signed(default, signed, position * len(signed) // 100),
                tampered_encrypted(app, ours, position * len(ours) // 100),
            )
        return render_template(
            "cookie.html", signed=signed, ours=ours, tampered=tampered, position=position or 50
        )

    @app.get("/session")
    @logged_in
    def show_session() -> str:
        value = request.cookies.get(app.config["SESSION_COOKIE_NAME"], "")
        found = inspect(sessions, app, value)
        with_attributes = dump_cookie("session", value, max_size=0, expires="", samesite="Lax")
        ring = KeyRing(keys.INSTANCE / keys.RING).load()
        now = time.time()
        return render_template(
            "session.html",
            found=found,
            length=len(with_attributes),
            limit=app.config["MAX_COOKIE_SIZE"],
            ring=[(key, ring.state(key, now).value) for key in reversed(ring.keys)],
            controls=controls.load(),
            formats=controls.FORMATS,
            compressions=controls.COMPRESSIONS,
            when=when,
        )

    @app.post("/session/notes")
    @logged_in
    def notes() -> BaseResponse:
        size = max(0, min(request.form.get("size", 0, type=int), 100_000))
        # Text without repetitions, which hardly gets shorter by compression.
        text = base64.b64encode(hashlib.shake_128(b"notes").digest(size)).decode()
        session["notes"] = text[:size]
        return redirect(url_for("show_session"))

    @app.post("/session/rotate")
    @logged_in
    def rotate() -> BaseResponse:
        controls.rotate()
        # The workers look at the ring once a second.
        time.sleep(1.1)
        return redirect(url_for("show_session"))

    @app.post("/session/settings")
    @logged_in
    def settings() -> BaseResponse:
        chosen = {
            "format": (request.form.get("format"), controls.FORMATS),
            "compression": (request.form.get("compression"), controls.COMPRESSIONS),
        }
        controls.change(
            **{name: value for name, (value, known) in chosen.items() if value in known}
        )
        controls.apply(app, controls.load())
        # So that the cookie is written again, as the new settings say.
        session.regenerate()
        return redirect(url_for("show_session"))

    @app.post("/session/time")
    @logged_in
    def pass_time() -> BaseResponse:
        minutes = request.form.get("minutes", 0, type=int)
        ahead = 0 if minutes <= 0 else controls.load().ahead + minutes * 60
        controls.change(ahead=min(ahead, controls.LONGEST))
        return redirect(url_for("show_session"))

    @app.get("/sessions")
    @logged_in
    def list_sessions() -> str | BaseResponse:
        user = current_user()
        is_stored = app.config["SESSION_STORE"] is not None
        found = sessions.list(user.uid) if is_stored and user is not None else None
        return render_template("sessions.html", found=found)

    @app.post("/sessions/second")
    @with_store
    def second_browser() -> BaseResponse:
        user = current_user()
        if user is not None:
            # A browser of its own, which this one shares nothing with.
            other = app.test_client()
            form = {"username": user.username}
            other.post("/login", data=form, headers={"User-Agent": "A second browser"})
        return redirect(url_for("list_sessions"))

    @app.post("/sessions/end")
    @with_store
    def end_session() -> BaseResponse:
        user, handle = current_user(), request.form.get("handle", "")
        # A user may end no sessions but their own.
        if user is not None and handle in {one.handle for one in sessions.list(user.uid)}:
            sessions.revoke(handle)
            flash("The session was ended.")
        return redirect(url_for("list_sessions"))

    @app.post("/sessions/end-others")
    @with_store
    def end_others() -> BaseResponse:
        user = current_user()
        if user is not None:
            count = sessions.revoke_user(user.uid, keep_current=True)
            flash(f"{count} other session{'' if count == 1 else 's'} ended.")
        return redirect(url_for("list_sessions"))

    @app.post("/sessions/end-all")
    @with_store
    def end_all() -> BaseResponse:
        user = current_user()
        if user is not None:
            sessions.revoke_user(user.uid)
        return redirect(url_for("login"))

    @app.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204

    @app.errorhandler(Exception)
    def explain(error: Exception) -> tuple[str, int]:
        original = getattr(error, "original_exception", error)
        if isinstance(original, SessionTooLarge):
            page = render_template("error.html", name="Too large", description=str(original))
            return page, 413
        if not isinstance(error, HTTPException):
            app.logger.error("A request failed.", exc_info=error)
            error = InternalServerError()
        page = render_template("error.html", name=error.name, description=error.description)
        return page, error.code or 500

    @app.after_request
    def name_the_worker(response: Response) -> Response:
        # A test checks that one worker reads the session that the other made.
        response.headers["X-Worker"] = str(os.getpid())
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


#: What a page says of a session that has begun anew.
_WHY = {
    Reason.FROM_FUTURE: "This session began while the demo's clock was ahead. Please log in again.",
    Reason.EXPIRED: "Your session has expired. Please log in again.",
    Reason.GONE: "This session was ended. Please log in again.",
    Reason.REVOKED: "This session was ended. Please log in again.",
    Reason.SUPERSEDED: "This browser has an old cookie. Please log in again.",
}
