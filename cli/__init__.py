"""`flask` commands. They work beside a running server and start no scheduler."""

from __future__ import annotations

from flask import Flask


def register_commands(app: Flask) -> None:
    from cli.backtest import backtest_cli
    from cli.candles import candles_cli
    from cli.database import migrate_safely_command
    from cli.funding import funding_cli
    from cli.models import models_cli

    for group in (candles_cli, funding_cli, models_cli, backtest_cli):
        app.cli.add_command(group)
    app.cli.add_command(migrate_safely_command)
