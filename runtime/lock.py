"""One scheduler for one database: an operating-system lock that dies with its process."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import make_url


class RuntimeLock:
    """`acquire()` takes the lock for this process, or says that another one has it.

    The file stays behind; the lock on it does not: the kernel lets go of it when the process ends,
    however it ends. Its text (a process id) is for people.
    """

    def __init__(self, data_dir: Path, database_url: str) -> None:
        # Two spellings of one SQLite file are one database.
        url = make_url(database_url)
        name = url.render_as_string(hide_password=False)
        if url.get_backend_name() == "sqlite" and url.database:
            name = f"sqlite:///{Path(url.database).resolve()}"
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        self.path = data_dir / f"scheduler-{digest}.lock"
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
