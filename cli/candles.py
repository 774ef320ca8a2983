"""`flask candles`: import, list and sync stored candles."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup, with_appcontext

from cli.tables import ImportProgress, date_text, render_report, render_table
from domain.errors import CurlewError
from domain.times import interval_ms, to_ms
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
    heads = ("venue", "market", "symbol", "interval", "rows", "first", "last", "gaps")
    rows = [
        (info.key.venue, info.key.market, info.key.symbol, info.key.interval, info.rows,
         date_text(info.first_ms), date_text(info.last_ms), info.gaps)
        for info in found
    ]  # fmt: skip
    click.echo(render_table(heads, rows))


@candles_cli.command("sync")
@click.argument("coins", nargs=-1, required=True, metavar="COIN...")
@click.option("--interval", required=True, help="1m, 5m, 15m, 1h, 4h, 1d, 1w, ...")
@click.option("--since", required=True, type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="UTC.")
@click.option("--venue", help="A source of this workspace; silent: the first that lists the coin.")
@click.option("--market", help="perp (the default where it is listed) or spot.")
@with_appcontext
def sync_candles(coins: tuple[str, ...], interval: str, since: datetime, venue: str | None, market: str | None) -> None:
    """Fetches and stores closed candles. Cut off, it has kept what it fetched: run it again to go on."""
    from cli.candle_sync import find_instrument, sync_series

    parts = services()
    try:
        interval_ms(interval)
        names = [parts.catalogue.parse_coin(coin).symbol for coin in coins]
        found = [find_instrument(parts.market, name, venue, market) for name in names]
        for instrument in found:
            with click.progressbar(length=1, label=str(instrument.series(interval)), file=sys.stderr) as bar:
                done = sync_series(
                    parts.market, parts.candles, instrument, interval, to_ms(since.replace(tzinfo=UTC)),
                    parts.clock.now_ms(), partial(_move, bar),
                )  # fmt: skip
            click.echo(
                f"{done.key}: {done.missing} bars missing, {done.stored} stored, {done.refused} refused, "
                f"{done.missing - done.stored - done.refused} not there"
            )
    except CurlewError as error:
        raise click.ClickException(str(error)) from error


def _move(bar: Any, done: int, total: int) -> None:
    bar.length = max(total, 1)
    bar.update((done if total else 1) - bar.pos)
