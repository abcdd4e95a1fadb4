"""``flask fernet metrics``: the keys and the stored sessions of an app, for monitoring."""

from __future__ import annotations

import json

import click

from .. import metrics as metrics_module
from .app import interface_of, load_app
from .output import json_option


@click.command(short_help="Print what a monitoring system wants to know.")
@json_option
@click.pass_context
def metrics(ctx: click.Context, json_: bool) -> None:
    """Print the number and the age of the keys, and how much the store holds, as OpenMetrics text.

    Mount flask_fernet.metrics.metrics_view for the counters of the workers.
    """
    app = load_app(ctx)
    interface_of(app)
    found = metrics_module.state(app)
    if json_:
        click.echo(json.dumps(found))
    else:
        click.echo(metrics_module.openmetrics(app, found), nl=False)
