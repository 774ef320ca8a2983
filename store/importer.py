"""Files of candles (and funding rates) into the store, with an account of every row.

Every row of a file ends up in exactly one of the counts: stored, unchanged, different, replaced or refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import structlog

from domain.errors import BadData, CurlewError, InvalidValue, Misconfigured
from domain.market import Bars, SeriesKey
from store.bar_checks import Refusal, Refusals, check_bars
from store.candles import CandleStore, SeriesInfo, count_gaps
from store.dump_parser import ParsedRows, is_funding_file, parse_csv, read_parquet_bars
from store.funding import FundingStore, read_funding
from store.series_edit import Difference, MergeResult, SeriesEdit
from store.series_names import NameParts, check_overrides, parts_of_path

SUFFIXES = (".csv", ".zip", ".parquet")
# One member or CSV is held in memory whole: five million rows of a dump are some 700 MB.
MAX_TEXT_BYTES = 1 << 30
MAX_MEMBERS = 10_000
# A series is written when this many rows wait for it, and when another series comes.
FLUSH_ROWS = 2_000_000

_log = structlog.get_logger(__name__)


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


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` and `total` are bytes of the files as they lie on disk; `path` is the one just begun."""

    path: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Part:
    """One file, or one member of one, with its rows read."""

    name: str
    rows: ParsedRows
    parts: NameParts


def import_paths(
    paths: Sequence[Path],
    store: CandleStore,
    funding: FundingStore | None = None,
    overrides: NameParts | None = None,
    replace: bool = False,
    progress: Callable[[Progress], None] | None = None,
    now_ms: int | None = None,
) -> ImportReport:
    """Imports files and folders (recursively); a file that cannot be read is reported and the rest goes on.

    `overrides` count before what the path tells. `replace`: bars stored with other values are
    overwritten. `funding`: files of funding rates go there, without it they are errors. With `now_ms`
    bars that have not closed by then are refused. InvalidValue for overrides that make no sense.
    """
    given = check_overrides(overrides or NameParts())
    files = list(find_files(paths))
    total = sum(_size(file) for file in files)
    done = 0
    with _Import(store, funding, given, replace, now_ms) as run:
        for file in files:
            if progress:
                progress(Progress(str(file), done, total))
            run.read(file)
            done += _size(file)
    if progress:
        progress(Progress("", total, total))
    infos = (store.info(key) for key in sorted(run.keys))
    return ImportReport(tuple(run.reports), tuple(info for info in infos if info is not None))


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Named files as they are, and below named folders everything that may hold candles, in order of names."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        below = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        yield from sorted(file for file in below if not file.name.startswith("."))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class _Import:
    """One run. Keeps the series being written open while files of the same one follow."""

    def __init__(
        self, store: CandleStore, funding: FundingStore | None, given: NameParts, replace: bool, now_ms: int | None
    ) -> None:
        self.reports: list[FileReport] = []
        self.keys: set[SeriesKey] = set()
        self._store = store
        self._funding = funding
        self._given = given
        self._replace = replace
        self._now_ms = now_ms
        self._open_key: SeriesKey | None = None
        self._edit: SeriesEdit | None = None
        self._waiting = 0
        self._stack = ExitStack()

    def __enter__(self) -> _Import:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # Of an import that is broken off, the series that were finished stay and the open one is as before.
        if kind is None:
            self._close()
        else:
            self._stack.__exit__(kind, error, None)

    def read(self, path: Path) -> None:
        try:
            if self._funding is not None and is_funding_file(path):
                self.reports.append(self._read_funding(path, self._funding))
                return
            for part in _read_parts(path):
                self._take(part)
        except Misconfigured:
            raise
        except (CurlewError, OSError) as error:
            self._fail(str(path), error)

    def _take(self, part: _Part) -> None:
        try:
            key = self._given.or_else(part.parts).key()
            refusals = Refusals(part.rows.refusals)
            refusals.count = part.rows.rows - len(part.rows.bars)
            checked = check_bars(part.rows.bars, part.rows.lines, key.step_ms, refusals, self._now_ms)
            merged = self._merge(key, checked.bars)
        except Misconfigured:
            raise
        except (CurlewError, OSError) as error:
            self._fail(part.name, error, part.rows.rows)
            return
        gaps = count_gaps(checked.bars.time, key.step_ms)
        report = _report(part.name, str(key), part.rows.rows, merged, refusals)
        self.reports.append(replace(report, unchanged=merged.unchanged + checked.repeated, gaps=gaps))

    def _merge(self, key: SeriesKey, bars: Bars) -> MergeResult:
        if key != self._open_key or self._edit is None or self._waiting >= FLUSH_ROWS:
            self._close()
            self._edit = self._stack.enter_context(self._store.edit(key, replace=self._replace))
            self._open_key = key
        self.keys.add(key)
        self._waiting += len(bars)
        return self._edit.add(bars)

    def _close(self) -> None:
        """Writes the open series."""
        key = self._open_key
        self._edit, self._open_key, self._waiting = None, None, 0
        try:
            self._stack.close()
        except OSError as error:
            # The files of this series are accounted for already: the account would be wrong.
            raise Misconfigured(f"{key} could not be written: {error.strerror or error}") from error

    def _read_funding(self, path: Path, funding: FundingStore) -> FileReport:
        found = read_funding(path, self._given.venue, self._given.symbol)
        merged = funding.merge(found.venue, found.symbol, found.times, found.rates, replace=self._replace)
        report = _report(str(path), f"{found.venue}/{found.symbol}", found.rows, merged, found.refusals)
        return replace(report, kind="funding", unchanged=merged.unchanged + found.repeated)

    def _fail(self, name: str, error: Exception, rows: int = 0) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        _log.warning("import_failed", file=name, reason=reason)
        self.reports.append(FileReport(name, rows=rows, error=reason))


def _report(name: str, series: str, rows: int, merged: MergeResult, refusals: Refusals) -> FileReport:
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


# -- reading ------------------------------------------------------------------------------


def _read_parts(path: Path) -> Iterator[_Part]:
    suffix = path.suffix.lower()
    where = PurePath(path.absolute())
    if suffix == ".parquet":
        parts = parts_of_path(where)
        yield _Part(str(path), read_parquet_bars(path), parts)
    elif suffix == ".csv":
        parts = parts_of_path(where)
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise BadData(f"larger than {MAX_TEXT_BYTES:,} bytes; split it")
        yield _with_form(str(path), parse_csv(path.read_bytes()), parts)
    elif suffix == ".zip":
        yield from _read_zip(path, where)
    elif not path.exists():
        raise BadData("there is no such file or folder")
    else:
        raise BadData(f"only {', '.join(SUFFIXES)} files are read")


def _read_zip(path: Path, where: PurePath) -> Iterator[_Part]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.lower().endswith(".csv") and not m.is_dir()]
            if not members or len(members) > MAX_MEMBERS:
                raise BadData(f"{len(members)} CSV files in the zip; 1 to {MAX_MEMBERS} are read")
            for member in sorted(members, key=lambda m: m.filename):
                data = _unpack(archive, member)
                parts = parts_of_path(where, member.filename)
                yield _with_form(f"{path}:{member.filename}", parse_csv(data), parts)
    # zipfile says RuntimeError of a member that is encrypted, NotImplementedError of an unknown compression
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise BadData(f"not a readable zip: {error}") from error


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Bounded by what really comes out: the sizes in a zip's directory may lie."""
    with archive.open(member) as file:
        data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise BadData(f"{member.filename} unpacks to more than {MAX_TEXT_BYTES:,} bytes; split it")
    return data


def _with_form(name: str, rows: ParsedRows, parts: NameParts) -> _Part:
    """What the path does not tell, the form of a Binance dump does."""
    venue = "binance" if rows.is_dump else None
    return _Part(name, rows, parts.or_else(NameParts(venue=venue, market=rows.market)))


def check_arguments(paths: Sequence[Path]) -> None:
    """InvalidValue for a path that does not exist."""
    for path in paths:
        if not path.exists():
            raise InvalidValue(f"there is no file or folder {path}", field="paths")
