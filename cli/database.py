"""flask migrate-safely: what `make run` does before it serves."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext


@click.command("migrate-safely")
@with_appcontext
def migrate_safely_command() -> None:
    """Apply pending migrations, after copying the database aside."""
    from domain.errors import Misconfigured
    from runtime.migrate import migrate_safely

    try:
        is_changed = migrate_safely(current_app)
    except Misconfigured as error:
        raise click.ClickException(str(error)) from error
    click.echo("The database was migrated." if is_changed else "The database is up to date.")
