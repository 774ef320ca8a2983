"""Columns on disk: one uncompressed Arrow IPC file per series, replaced as a whole.

Any Arrow reader opens them; ours maps them, so that reading costs page faults only. A file is
written beside its place, synced and renamed: a crash leaves the old file or the new one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from domain.errors import BadData, InvalidValue

SUFFIX = ".arrow"
MAX_NAME_CHARS = 60
# File systems allow 255 bytes; the temporary's dot and endings need some of them.
MAX_NAME_BYTES = 230

Column = NDArray[Any]
# Identity of one state of a file: replaced files get a new inode.
Stamp = tuple[int, int, int]


def encode_name(text: str, *, field: str) -> str:
    """Folder or file name of any symbol: reversible, one path component, ASCII; InvalidValue if there is none."""
    if not text or not text.isprintable() or text != text.strip():
        raise InvalidValue(f"{field} {text!r} is empty or holds characters that cannot be shown", field=field)
    encoded = quote(text, safe="-_.")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(text) > MAX_NAME_CHARS or len(encoded) > MAX_NAME_BYTES:
        raise InvalidValue(f"{field} '{text[:20]}...' is longer than {MAX_NAME_CHARS} characters", field=field)
    return encoded


def decode_name(name: str) -> str:
    return unquote(name)


def stamp_of(path: Path) -> Stamp | None:
    """None where there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Exclusive among writers below `folder`, threads and processes alike; freed when a process dies.

    Yields False where `wait` is false and somebody else holds it.
    """
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Creates what is missing and syncs each parent, so that the folder survives a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    _sync_folder(folder.parent)


def save_columns(path: Path, columns: Mapping[str, Column], metadata: Mapping[str, str]) -> None:
    """Replaces `path` as a whole. The caller holds the folder's lock; the temporary's name is fixed for that reason."""
    import pyarrow as pa

    arrays = [_to_arrow(column) for column in columns.values()]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns)).replace_schema_metadata(dict(metadata))
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_file(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_folder(path.parent)


def map_columns(path: Path, names: Sequence[str]) -> list[Column]:
    """The named columns as read-only views of the mapped file, int64 for `timestamp`, else float64.

    FileNotFoundError where there is no file, BadData where it is not one of ours.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            if reader.num_record_batches == 1:
                batch = reader.get_batch(0)
                columns = [batch.column(name) for name in names]
            else:  # written by another tool
                table = reader.read_all().combine_chunks()
                columns = [_one_chunk(table.column(name)) for name in names]
    except FileNotFoundError:
        raise
    except (pa.ArrowException, KeyError, OSError) as error:
        raise BadData(f"{path} is not a readable Arrow file: {error}") from error
    return [_as_array(path, name, column) for name, column in zip(names, columns, strict=True)]


def _one_chunk(column: Any) -> Any:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _as_array(path: Path, name: str, column: Any) -> Column:
    kind = "int64" if name == "timestamp" else "double"
    if column.null_count or str(column.type) != kind:
        raise BadData(f"{path}: column {name} is {column.type} with {column.null_count} nulls, {kind} expected")
    return values_of(column)


# pyarrow's own conversions from and to numpy import pandas: a second of every first read.


def values_of(column: Any) -> Column:
    """int64 or float64 values of an Arrow array or chunked array without nulls; read-only, no copy of one chunk."""
    chunks = getattr(column, "chunks", [column])
    kind = np.dtype(np.int64 if str(column.type) == "int64" else np.float64)
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype=kind, count=len(chunk), offset=chunk.offset * kind.itemsize)
        if len(chunk)
        else np.empty(0, dtype=kind)
        for chunk in chunks
    ]
    array = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, dtype=kind)
    array.flags.writeable = False
    return array


def _to_arrow(column: Column) -> Any:
    import pyarrow as pa

    kind = pa.int64() if column.dtype == np.int64 else pa.float64()
    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(np.ascontiguousarray(column))])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
