"""One scheduler for one database: an operating-system lock that dies with its process."""

from __future__ import annotations

import fcntl
import hashlib
import os
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

    def acquire(self) -> bool:
        if self._descriptor is not None:
            return True
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

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None
