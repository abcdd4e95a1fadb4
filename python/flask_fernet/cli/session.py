"""``flask fernet inspect`` and ``flask fernet doctor``: look into an app's sessions."""

from __future__ import annotations

import json
import sys

import click

from .. import doctor as doctor_module
from ..errors import ConfigurationError
from ..sessions import inspection
from ..sessions.opening import MAX_COOKIES
from .app import interface_of, load_app, missing_ring_allowed
from .output import json_option, print_table


@click.command()
@click.argument("token")
@click.option("--show", is_flag=True, help="Print the contents of the session too.")
@json_option
@click.pass_context
def inspect(ctx: click.Context, token: str, show: bool, json_: bool) -> None:
    """Print the format, the key and the age of a session cookie.

    TOKEN is the cookie's value, or what a browser's tools copy: a "Cookie:" or "Set-Cookie:" line,
    or a cookie with its name and attributes. With - as TOKEN it is read from standard input, so
    that it stays out of the shell's history.
    """
    if token == "-":  # noqa: S105 - not a token
        token = sys.stdin.buffer.read().decode("utf-8", "replace")
    app = load_app(ctx)
    interface = interface_of(app)
    name = interface.get_cookie_name(app)
    tokens = inspection.pasted(token, name)
    if not tokens:
        raise click.ClickException(f"There is no cookie named {name!r} in what was given.")
    # As the app does: of several, the first that opens counts.
    all_found = [inspection.inspect(interface, app, one, show) for one in tokens[:MAX_COOKIES]]
    found = next((one for one in all_found if "refused" not in one), all_found[0])
    if json_:
        if "contents" in found:
            found["contents"] = inspection.tagged(interface, app, found["contents"])
        click.echo(json.dumps(found))
    else:
        units = {"age": " seconds", "size": " bytes", "record size": " bytes"}
        found.pop("key_id", None)
        width = max(10, *(len(name) + 1 for name in found))
        for name, value in found.items():
            click.echo(f"{name + ':':<{width}} {value}{units.get(name, '')}")
    if "refused" in found:
        ctx.exit(1)


@click.command(short_help="Check what an app needs in production.")
@json_option
@click.option("--strict", is_flag=True, help="Count warnings as failures.")
@click.pass_context
def doctor(ctx: click.Context, json_: bool, strict: bool) -> None:
    """Say what is in force, and check what an app needs in production.

    The exit status is 1 if a check fails.
    """
    try:
        with missing_ring_allowed():
            app = load_app(ctx)
    except ConfigurationError as error:
        failed = doctor_module.Check("fail", "configuration", str(error))
        examined = doctor_module.Examination({}, [failed])
    else:
        examined = doctor_module.examine(app)
    in_force, checks = examined
    if json_:
        findings = [check._asdict() for check in checks]
        click.echo(json.dumps({"in_force": in_force, "checks": findings}))
    else:
        if in_force:
            print_table(("IN FORCE", ""), list(doctor_module.shown_in_force(in_force)))
            click.echo()
        print_table(
            ("", "CHECK", ""), [(check.verdict, check.name, check.message) for check in checks]
        )
    failing = {"fail", "warn"} if strict else {"fail"}
    if any(check.verdict in failing for check in checks):
        ctx.exit(1)
