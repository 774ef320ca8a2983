"""What an import did: values for the terminal, the page and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from store.bar_checks import Refusal, Refusals
from store.candles import SeriesInfo
from store.series_edit import Difference, MergeResult


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file, or of one member of a zip.

    rows = stored + unchanged + different + replaced + refused. `refusals` and `differences` name the
    first of each. `gaps`: places where bars are missing inside this file. `error`: why nothing was read.
    """

    path: str
    kind: str = "candles"
    series: str = ""
    rows: int = 0
    stored: int = 0
    unchanged: int = 0
    different: int = 0
    replaced: int = 0
    refused: int = 0
    gaps: int = 0
    refusals: tuple[Refusal, ...] = ()
    differences: tuple[Difference, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """All files in the order in which they were read, and the candle series they went to as they are now."""

    files: tuple[FileReport, ...]
    series: tuple[SeriesInfo, ...] = field(default=())

    @property
    def errors(self) -> tuple[FileReport, ...]:
        return tuple(file for file in self.files if file.error)

    def total(self, count: str) -> int:
        """Sum of one of the counts over all files."""
        return sum(int(getattr(file, count)) for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `totals`, `files` and `series`."""
        counts = ("rows", "stored", "unchanged", "different", "replaced", "refused")
        totals = {"files": len(self.files), "errors": len(self.errors)} | {c: self.total(c) for c in counts}
        files = [{**asdict(file), "differences": [_plain(d) for d in file.differences]} for file in self.files]
        return {"totals": totals, "files": files, "series": [info.to_dict() for info in self.series]}


def _plain(difference: Difference) -> dict[str, Any]:
    stored, given = asdict(difference.stored), asdict(difference.given)
    return {"timestamp": stored.pop("time"), "stored": stored, "given": {k: given[k] for k in stored}}


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` and `total` are bytes of the files as they lie on disk; `path` is the one just begun."""

    path: str
    done: int
    total: int


def account_for(name: str, series: str, rows: int, merged: MergeResult, refusals: Refusals) -> FileReport:
    return FileReport(
        path=name,
        series=series,
        rows=rows,
        stored=merged.stored,
        unchanged=merged.unchanged,
        different=merged.different,
        replaced=merged.replaced,
        refused=refusals.count,
        refusals=refusals.first(),
        differences=merged.differences,
    )
