"""`flask funding`: import and list stored funding rates."""

from __future__ import annotations

import json
from pathlib import Path

import click
from flask.cli import AppGroup, with_appcontext

from cli.tables import ImportProgress, date_text, render_report, render_table
from domain.errors import CurlewError
from runtime.services import services
from store.importer import import_funding
from store.series_names import NameParts

funding_cli = AppGroup("funding", help="Import and list stored funding rates.")


@funding_cli.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--venue", help="Venue of the files, where their folder does not tell.")
@click.option("--symbol", help="The venue's symbol, where the file's name does not tell.")
@click.option("--replace", is_flag=True, help="Overwrite stored rates that differ; without it they stay.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@with_appcontext
def import_rates(paths: tuple[Path, ...], venue: str | None, symbol: str | None, replace: bool, as_json: bool) -> None:
    """Imports Parquet files VENUE/SYMBOL.parquet with timestamp and funding_rate; folders are searched."""
    try:
        with ImportProgress() as progress:
            overrides = NameParts(venue=venue, symbol=symbol)
            report = import_funding(paths, services().funding, overrides, replace=replace, progress=progress)
    except CurlewError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(report.to_dict(), ensure_ascii=False) if as_json else render_report(report))
    if report.errors:
        raise SystemExit(1)


@funding_cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list; times are ms UTC.")
@with_appcontext
def list_rates(as_json: bool) -> None:
    """Lists all stored series of funding rates."""
    found = services().funding.list()
    if as_json:
        click.echo(json.dumps([info.to_dict() for info in found], ensure_ascii=False))
        return
    rows = [(i.venue, i.symbol, i.rows, date_text(i.first_ms), date_text(i.last_ms)) for i in found]
    click.echo(render_table(("venue", "symbol", "rows", "first", "last"), rows))
