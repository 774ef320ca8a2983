"""Alembic's entry: one transaction for all pending versions, on the connection that it is given.

`runtime.migrate` hands over a connection of its own; under `flask db ...` the app's engine is asked.
"""

from __future__ import annotations

from typing import Any

from alembic import context

import database


def render_item(kind: str, item: Any, _context: Any) -> str | bool:
    """Money is our own type; every other one renders as it is."""
    if kind == "type" and isinstance(item, database.Money):
        return "database.Money()"
    return False


def configure(connection: Any) -> None:
    context.configure(
        connection=connection,
        target_metadata=database.Base.metadata,
        render_as_batch=True,  # SQLite alters a table by copying it
        render_item=render_item,
        transaction_per_migration=False,
    )


def run() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        configure(given)
        context.run_migrations()  # the caller's transaction
        return
    from flask import current_app

    with current_app.extensions["curlew"].database.engine.connect() as connection:
        configure(connection)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("Curlew migrates a database that it is connected to: leave --sql out")
run()
