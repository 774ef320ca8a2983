"""`flask candles`: import, list and sync stored candles."""

from __future__ import annotations

import json
from pathlib import Path

import click
from flask.cli import AppGroup, with_appcontext

from cli.tables import ImportProgress, date_text, render_report, render_table
from domain.errors import CurlewError
from runtime.clock import SystemClock
from runtime.services import services
from store.importer import import_paths
from store.series_names import NameParts

candles_cli = AppGroup("candles", help="Import, list and fetch stored candles.")

PATHS = click.Path(exists=True, path_type=Path)


@candles_cli.command("import")
@click.argument("paths", nargs=-1, required=True, type=PATHS)
@click.option("--venue", help="Venue of the files, where their paths do not tell.")
@click.option("--market", help="spot, perp or perp-mark (also um, swap, um-mark, swap-mark).")
@click.option("--symbol", help="The venue's symbol, e.g. BTCUSDT.")
@click.option("--interval", help="1m, 5m, 15m, 1h, 4h, 1d, 1w, ...")
@click.option("--replace", is_flag=True, help="Overwrite stored bars that differ; without it they stay.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@with_appcontext
def import_candles(
    paths: tuple[Path, ...],
    venue: str | None,
    market: str | None,
    symbol: str | None,
    interval: str | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Imports Binance dump CSV or zip files and Parquet files; folders are searched.

    Options count before what a path tells.
    """
    parts = services()
    # Real candles close by the real clock, simulated ones by the market's, which may run ahead.
    now_ms = max(SystemClock().now_ms(), parts.clock.now_ms())
    try:
        with ImportProgress() as progress:
            overrides = NameParts(venue, market, symbol, interval)
            report = import_paths(
                paths, parts.candles, overrides=overrides, replace=replace, progress=progress, now_ms=now_ms
            )
    except CurlewError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(report.to_dict(), ensure_ascii=False) if as_json else render_report(report))
    if report.errors:
        raise SystemExit(1)


@candles_cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list; times are ms UTC.")
@with_appcontext
def list_candles(as_json: bool) -> None:
    """Lists all stored series; gaps are places where bars are missing."""
    found = services().candles.list()
    if as_json:
        click.echo(json.dumps([info.to_dict() for info in found], ensure_ascii=False))
        return
    heads = ("venue", "market", "symbol", "interval", "rows", "first (UTC)", "last (UTC)", "gaps")
    rows = [
        (info.key.venue, info.key.market, info.key.symbol, info.key.interval, info.rows,
         date_text(info.first_ms), date_text(info.last_ms), info.gaps)
        for info in found
    ]  # fmt: skip
    click.echo(render_table(heads, rows))
