"""Files of candles (and funding rates) into the store, with an account of every row.

Every row of a file ends up in exactly one of the counts: stored, unchanged, different, replaced or refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path, PurePath

import structlog

from domain.errors import BadData, CurlewError, Misconfigured
from domain.market import Bars, SeriesKey
from store.bar_checks import Refusals, check_bars
from store.candles import CandleStore, count_gaps
from store.dump_parser import ParsedRows, is_funding_file, parse_csv, read_parquet_bars
from store.funding import FundingStore, read_funding
from store.import_report import FileReport, ImportReport, Progress, account_for
from store.series_edit import MergeResult, SeriesEdit
from store.series_names import NameParts, check_overrides, parts_of_path

SUFFIXES = (".csv", ".zip", ".parquet")
# One member or CSV is held in memory whole: a month of minutes in a dump is 6 MB, ten years are 700 MB.
MAX_TEXT_BYTES = 1 << 30
# All members of one zip together, so that a small file cannot keep a server busy for hours.
MAX_ZIP_BYTES = 1 << 32
MAX_MEMBERS = 10_000
# A series is written when this many rows wait for it, and when another series comes.
FLUSH_ROWS = 2_000_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Options:
    replace: bool = False
    now_ms: int | None = None
    base: Path | None = None


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
    base: Path | None = None,
) -> ImportReport:
    """Imports files and folders (recursively); a file that cannot be read is reported and the rest goes on.

    `overrides` count before what the path tells. `replace`: bars stored with other values are
    overwritten. `funding`: files of funding rates go there, without it they are errors. With `now_ms`
    bars that have not closed by then are refused. `base`: a folder that tells nothing and is not shown,
    all paths lie in it. InvalidValue for overrides that make no sense.
    """
    given = check_overrides(overrides or NameParts())
    with _Import(store, funding, given, _Options(replace, now_ms, base)) as run:
        for file in _each(paths, progress):
            run.read(file)
    infos = (store.info(key) for key in sorted(run.keys))
    return ImportReport(tuple(run.reports), tuple(info for info in infos if info is not None))


def import_funding(
    paths: Sequence[Path],
    funding: FundingStore,
    overrides: NameParts | None = None,
    replace: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> ImportReport:
    """Imports Parquet files of funding rates, and those below folders; errors as in `import_paths`."""
    given = check_overrides(overrides or NameParts())
    reports = []
    for file in _each(paths, progress, (".parquet",)):
        try:
            reports.append(_take_funding(file, file, funding, given, replace))
        except (CurlewError, OSError) as error:
            reports.append(_failed(str(file), error))
    return ImportReport(tuple(reports))


def _each(
    paths: Sequence[Path], progress: Callable[[Progress], None] | None, suffixes: Sequence[str] = SUFFIXES
) -> Iterator[Path]:
    files = list(find_files(paths, suffixes))
    total = sum(_size(file) for file in files)
    done = 0
    for file in files:
        if progress:
            progress(Progress(str(file), done, total))
        yield file
        done += _size(file)
    if progress:
        progress(Progress("", total, total))


def find_files(paths: Iterable[Path], suffixes: Sequence[str] = SUFFIXES) -> Iterator[Path]:
    """Named files as they are, and below named folders all with these endings, in order of names."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        below = (file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
        yield from sorted(file for file in below if not file.name.startswith("."))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class _Import:
    """One run. Keeps the series being written open while files of the same one follow."""

    def __init__(self, store: CandleStore, funding: FundingStore | None, given: NameParts, options: _Options) -> None:
        self.reports: list[FileReport] = []
        self.keys: set[SeriesKey] = set()
        self._store = store
        self._funding = funding
        self._given = given
        self._options = options
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
        base = self._options.base
        shown = path.relative_to(base) if base else path
        try:
            if self._funding is not None and is_funding_file(path):
                self.reports.append(_take_funding(path, shown, self._funding, self._given, self._options.replace))
                return
            for part in _read_parts(path, shown):
                self._take(part)
        except Misconfigured:
            raise
        except (CurlewError, OSError) as error:
            self.reports.append(_failed(str(shown), error))

    def _take(self, part: _Part) -> None:
        try:
            key = self._given.or_else(part.parts).key()
            refusals = Refusals(part.rows.refusals)
            refusals.count = part.rows.rows - len(part.rows.bars)
            checked = check_bars(part.rows.bars, part.rows.lines, key.step_ms, refusals, self._options.now_ms)
            merged = self._merge(key, checked.bars)
        except Misconfigured:
            raise
        except (CurlewError, OSError) as error:
            self.reports.append(_failed(part.name, error))
            return
        gaps = count_gaps(checked.bars.time, key.step_ms)
        report = account_for(part.name, str(key), part.rows.rows, merged, refusals)
        self.reports.append(replaced(report, unchanged=merged.unchanged + checked.repeated, gaps=gaps))

    def _merge(self, key: SeriesKey, bars: Bars) -> MergeResult:
        if key != self._open_key or self._edit is None or self._waiting >= FLUSH_ROWS:
            self._close()
            self._edit = self._stack.enter_context(self._store.edit(key, replace=self._options.replace))
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


def _take_funding(path: Path, shown: Path, funding: FundingStore, given: NameParts, replace: bool) -> FileReport:
    found = read_funding(path, given, _telling(path, shown))
    merged = funding.merge(found.venue, found.symbol, found.times, found.rates, replace=replace)
    report = account_for(str(shown), f"{found.venue}/{found.symbol}", found.rows, merged, found.refusals)
    return replaced(report, kind="funding", unchanged=merged.unchanged + found.repeated)


def _failed(name: str, error: Exception) -> FileReport:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    _log.warning("import_failed", file=name, reason=reason)
    return FileReport(name, error=reason)


# -- reading ------------------------------------------------------------------------------


def _read_parts(path: Path, shown: Path) -> Iterator[_Part]:
    """`shown` is what the path is called in the report; a relative one is all that it tells of the series."""
    suffix = path.suffix.lower()
    where = _telling(path, shown)
    if suffix == ".parquet":
        parts = parts_of_path(where)
        yield _Part(str(shown), read_parquet_bars(path), parts)
    elif suffix == ".csv":
        parts = parts_of_path(where)
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise BadData(f"larger than {MAX_TEXT_BYTES:,} bytes; split it")
        yield _with_form(str(shown), parse_csv(path.read_bytes()), parts)
    elif suffix == ".zip":
        yield from _read_zip(path, shown, where)
    elif not path.exists():
        raise BadData("there is no such file or folder")
    else:
        raise BadData(f"only {', '.join(SUFFIXES)} files are read")


def _telling(path: Path, shown: Path) -> PurePath:
    return PurePath(path.absolute() if shown == path else shown)


def _read_zip(path: Path, shown: Path, where: PurePath) -> Iterator[_Part]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.lower().endswith(".csv") and not m.is_dir()]
            if not members or len(members) > MAX_MEMBERS:
                raise BadData(f"{len(members)} CSV files in the zip; 1 to {MAX_MEMBERS} are read")
            unpacked = 0
            for member in sorted(members, key=lambda m: m.filename):
                data = _unpack(archive, member)
                unpacked += len(data)
                if unpacked > MAX_ZIP_BYTES:
                    raise BadData(f"it unpacks to more than {MAX_ZIP_BYTES:,} bytes; split it")
                parts = parts_of_path(where, member.filename)
                yield _with_form(f"{shown}:{member.filename}", parse_csv(data), parts)
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
