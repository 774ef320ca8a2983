"""Uploaded candle files: their names made harmless, imported from a folder that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from domain.errors import InvalidValue
from store.series_file import locked, make_folder

MAX_FILES = 1000
_MAX_NAME_BYTES = 200
_MAX_DEPTH = 8
_PREFIX = "upload-"


def safe_path(name: str) -> PurePosixPath:
    """The relative path in an uploaded file's name (folders may tell the series); InvalidValue where it is none."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or len(parts) > _MAX_DEPTH:
        raise InvalidValue("an uploaded file has no usable name", field="files")
    for part in parts:
        if part == ".." or not part.isprintable() or len(part.encode("utf-8", "replace")) > _MAX_NAME_BYTES:
            raise InvalidValue(f"the name of an uploaded file is not usable: {part[:40]!r}", field="files")
    return PurePosixPath(*parts)


def sweep_uploads(folder: Path) -> int:
    """Removes what uploads of processes that are gone left in `folder`; returns how many there were."""
    swept = 0
    for left in folder.glob(f"{_PREFIX}*"):
        with locked(left, wait=False) as is_abandoned:
            if is_abandoned:
                shutil.rmtree(left, ignore_errors=True)
                swept += 1
    return swept


@contextmanager
def unpacked_uploads(folder: Path, files: Iterable[tuple[str, IO[bytes]]]) -> Iterator[tuple[Path, list[Path]]]:
    """Writes (name, stream) pairs below a temporary folder inside `folder`; yields it and the paths in it."""
    named = [(safe_path(name), stream) for name, stream in files]
    if not named:
        raise InvalidValue("choose at least one file", field="files")
    if len(named) > MAX_FILES:
        raise InvalidValue(f"{MAX_FILES} files at most at once", field="files")
    if len({path for path, _ in named}) < len(named):
        raise InvalidValue("two uploaded files have the same name", field="files")
    make_folder(folder)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as name, locked(Path(name)):
        base = Path(name)
        paths = []
        for relative, stream in named:
            path = base / relative
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    shutil.copyfileobj(stream, file)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise InvalidValue(f"{relative} is a file and a folder at once", field="files") from None
            paths.append(path)
        yield base, paths
