"""`flask backtest run FILE.json`: the body of POST /api/backtest/run, run in this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup, with_appcontext

from domain.errors import CurlewError
from runtime.services import services
from store.backtests import trade_row

backtest_cli = AppGroup("backtest", help="Backtest strategies on stored candles.")

# What the printed report shows of a summary, with its unit.
SHOWN = (
    ("initial_capital", "Initial capital", "{:,.2f}"),
    ("final_value", "Final value", "{:,.2f}"),
    ("total_return", "Return", "{:+,.2f}"),
    ("return_percentage", "Return, %", "{:+,.2f}"),
    ("max_drawdown", "Maximum drawdown, %", "{:,.2f}"),
    ("sharpe_ratio", "Sharpe ratio", "{:,.2f}"),
    ("total_trades", "Closed trades", "{:,}"),
    ("win_rate", "Win rate, %", "{:,.2f}"),
    ("total_fees", "Fees", "{:,.2f}"),
)


@backtest_cli.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@with_appcontext
def run(file: Path, as_json: bool) -> None:
    """Runs the backtest that FILE describes and prints its report."""
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(body, dict):
        raise click.ClickException(f"{file} must hold one JSON object, the body of POST /api/backtest/run")
    backtester = services().backtests.backtester
    try:
        plan = backtester.prepare(body)
        with click.progressbar(length=1000, label=plan.title, file=sys.stderr) as bar:
            outcome = backtester.run(plan, lambda done: bar.update(int(done * 1000) - bar.pos), lambda: False)
            bar.update(1000 - bar.pos)
    except CurlewError as error:
        named = f"{error.field}: " if error.field and not str(error).startswith(error.field) else ""
        raise click.ClickException(f"{named}{error}") from error
    report = {**outcome.report, "trades": [trade_row(trade) for trade in outcome.trades]}
    click.echo(json.dumps(report, ensure_ascii=False) if as_json else render_report(report))


def render_report(report: dict[str, Any]) -> str:
    """The report for a terminal: summary, where the data came from, what to know."""
    summary = report["summary"]
    lines = []
    for name, title, form in SHOWN:
        value = summary.get(name)
        lines.append(f"{title:<22}{'-' if value is None else form.format(value):>16}")
    lines.append("")
    for coin in report["data"]:
        series = f"{coin['venue']}/{coin['market']}/{coin['symbol']}/{coin['interval']}"
        lines.append(f"{coin['coin']:<8}{series}: {coin['rows']:,} candles, {coin['gaps']} gaps")
    lines += [f"Note: {note}" for note in report["engine"].get("notes", [])]
    lines.append(f"Engine {report['engine']['version']}, {report['engine']['seconds'] * 1000:.1f} ms")
    return "\n".join(lines)
