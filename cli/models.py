"""`flask models`: the accounts, and whether their books are right."""

from __future__ import annotations

import json

import click
from flask.cli import AppGroup, with_appcontext

from cli.tables import render_table
from domain.errors import CurlewError
from runtime.services import services

models_cli = AppGroup("models", help="List models and check their books.")


@models_cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@with_appcontext
def list_models(as_json: bool) -> None:
    """Lists all models."""
    found = services().models.list()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = [(m["id"], m["name"], m["kind"], m["status"], m["interval"], " ".join(m["coins"])) for m in found]
    click.echo(render_table(("id", "name", "kind", "status", "interval", "coins"), rows))


@models_cli.command("check")
@click.argument("model_ids", nargs=-1, type=int)
@with_appcontext
def check_models(model_ids: tuple[int, ...]) -> None:
    """Derives positions and cash again from fills and ledger and names every difference (all models by default)."""
    held = services().models
    is_right = True
    try:
        for model_id in model_ids or [model["id"] for model in held.list()]:
            differences = held.check(model_id)
            is_right = is_right and not differences
            click.echo(f"model {model_id}: {'right' if not differences else f'{len(differences)} differences'}")
            for line in differences:
                click.echo(f"  {line}")
    except CurlewError as error:
        raise click.ClickException(str(error)) from error
    if not is_right:
        raise SystemExit(1)
