"""Tables and import reports for a terminal."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

import click

from domain.times import from_ms
from store.import_report import FileReport, ImportReport, Progress

# Refused rows and differing bars shown for each file; `--json` has more.
SHOWN_ROWS = 20


def date_text(time_ms: int) -> str:
    """ISO 8601 in UTC, one word, for tables that other programs may split."""
    return f"{from_ms(time_ms):%Y-%m-%dT%H:%MZ}"


def render_table(heads: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Columns two spaces apart, numbers to the right and plain, so that other programs can read them."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(_width(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]
    right = [bool(rows) and isinstance(rows[0][i], int) for i in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        padded = (_pad(cell, *column) for cell, column in zip(row, zip(widths, right, strict=True), strict=True))
        return "  ".join(padded).rstrip()

    return "\n".join(line(row) for row in [list(heads), *cells])


def _width(text: str) -> int:
    # Chinese coin names take two places for each character.
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _pad(text: str, width: int, to_right: bool) -> str:
    gap = " " * (width - _width(text))
    return gap + text if to_right else text + gap


class ImportProgress:
    """A bar on stderr that moves with the bytes read."""

    def __init__(self) -> None:
        self._bar = click.progressbar(length=1, label="Importing", file=sys.stderr)

    def __enter__(self) -> ImportProgress:
        self._bar.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self._bar.__exit__(*failure)  # type: ignore[arg-type]

    def __call__(self, progress: Progress) -> None:
        self._bar.length = max(progress.total, 1)
        self._bar.label = f"Importing {progress.path[-40:]:<40}" if progress.path else "Imported" + " " * 42
        self._bar.update(progress.done - self._bar.pos)


def render_report(report: ImportReport) -> str:
    """Each file with what was refused, then the totals."""
    lines = [line for file in report.files for line in _file_lines(file)]
    counts = ", ".join(f"{report.total(count)} {count}" for count in ("stored", "unchanged", "different", "replaced"))
    lines.append(f"{len(report.files)} files: {report.total('rows')} rows read, {counts}, "
                 f"{report.total('refused')} refused, {report.total('gaps')} gaps")  # fmt: skip
    if report.total("different"):
        lines.append("Differing bars were kept as they are stored; --replace takes the new ones.")
    if report.errors:
        lines.append(f"{len(report.errors)} files could not be read.")
    return "\n".join(lines)


def _file_lines(file: FileReport) -> list[str]:
    if file.error:
        return [f"{file.path}: NOT READ: {file.error}"]
    counts = f"{file.rows} rows read, {file.stored} stored, {file.unchanged} unchanged"
    for name, count in (("different (kept)", file.different), ("replaced", file.replaced)):
        counts += f", {count} {name}" if count else ""
    counts += f", {file.refused} refused"
    lines = [f"{file.path}: {file.series}: {counts}" + (f", {file.gaps} gaps" if file.kind == "candles" else "")]
    lines += [f"  {file.path}:{refusal.line}: {refusal.reason}" for refusal in file.refusals[:SHOWN_ROWS]]
    if file.refused > SHOWN_ROWS:
        lines.append(f"  ... and {file.refused - min(SHOWN_ROWS, len(file.refusals))} more")
    for difference in file.differences[:SHOWN_ROWS]:
        stored, given = (tuple(getattr(candle, name) for name in _prices(file))
                         for candle in (difference.stored, difference.given))  # fmt: skip
        lines.append(f"  {date_text(difference.stored.time)}: stored {_values(stored)}, in the file {_values(given)}")
    return lines


def _prices(file: FileReport) -> tuple[str, ...]:
    return ("close",) if file.kind == "funding" else ("open", "high", "low", "close", "volume")


def _values(values: tuple[float, ...]) -> str:
    return " ".join(f"{value!r}" for value in values)
