"""One scheduler for one database: an operating-system lock that dies with its process."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import URL


class RuntimeLock:
    """`acquire()` takes the lock for this process, or says that another one has it.

    The file stays behind; the lock on it does not: the kernel lets go of it when the process ends,
    however it ends. Its text (a process id) is for people.

    It lies beside SQLite's file, whatever DATA_DIR a process has and however it spells the file's name. For a
    database server it lies in this machine's folder for temporary files: it keeps apart the processes of one
    machine and one user.
    """

    def __init__(self, url: URL) -> None:
        """`url`: the engine's own, whose path of a SQLite file is absolute."""
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            file = Path(str(url.database)).resolve()
            self.path = file.with_name(f"{file.name}.scheduler.lock")
        else:
            place = url.set(password=None, query={}).render_as_string()
            digest = hashlib.sha256(place.encode()).hexdigest()[:16]
            self.path = Path(tempfile.gettempdir()) / f"curlew-{os.getuid()}-{digest}.lock"
        self._descriptor: int | None = None
        self._holders = 0
        self._mutex = threading.Lock()

    def acquire(self) -> bool:
        """Whether this process has it now. Each acquire that succeeds is paired with a release."""
        with self._mutex:
            if self._descriptor is None and not self._take():
                return False
            self._holders += 1
            return True

    def release(self, before: Callable[[], None] | None = None) -> None:
        """The last holder lets go, after calling `before`."""
        with self._mutex:
            self._holders -= 1
            if self._holders > 0 or self._descriptor is None:
                return
            try:
                if before is not None:
                    before()
            finally:
                os.close(self._descriptor)
                self._descriptor = None

    def _take(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True
