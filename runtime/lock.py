"""One scheduler for one database: a lock that dies with its process, and with its machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from database import RUNTIME_LOCK, connect_args

# A machine that is cut off keeps its lock on a database server until the server gives its connection up.
_SERVER_GIVES_UP = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
_CLIENT_GIVES_UP = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class RuntimeLock:
    """`acquire()` takes the lock for this process, or says that another one has it.

    It is a file's: the file stays behind, the lock on it does not, because the kernel lets go of it when the
    process ends, however it ends. Its text (a process id) is for people. It lies beside SQLite's file, whatever
    DATA_DIR a process has and however it spells the file's name. For a database server it lies in this machine's
    folder for temporary files and keeps apart the processes of one machine and one user; those of other machines
    are kept apart by an advisory lock, where that is PostgreSQL. Such a lock can be lost while the process
    lives, with its connection: whoever acts for long asks `is_held()`.
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
        self._server = _ServerLock(url) if url.get_backend_name() == "postgresql" else None
        self._descriptor: int | None = None
        self._holders = 0
        self._mutex = threading.Lock()

    def acquire(self) -> bool:
        """Whether this process has it now. Each acquire that succeeds is paired with a release."""
        with self._mutex:
            if not (self._take() if self._descriptor is None else self._is_held()):
                return False
            self._holders += 1
            return True

    def is_held(self) -> bool:
        """Whether what was acquired has not been lost since. Once lost it stays so until `regain()`."""
        with self._mutex:
            return self._is_held()

    def regain(self) -> bool:
        """Takes a lost lock again, for all who had acquired it; what they knew of the accounts is old."""
        with self._mutex:
            return self._descriptor is not None and (self._server is None or self._server.take())

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
                if self._server is not None:
                    self._server.drop()
                os.close(self._descriptor)
                self._descriptor = None

    def _is_held(self) -> bool:
        return self._descriptor is not None and (self._server is None or self._server.is_held())

    def _take(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        if self._server is not None and not self._server.take():
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True


class _ServerLock:
    """An advisory lock of a PostgreSQL database, held by a connection of its own as long as that lives."""

    def __init__(self, url: URL) -> None:
        ours = connect_args(url)
        ours |= {name: value for name, value in _CLIENT_GIVES_UP.items() if name not in url.query}
        # Connecting is late: a process that only serves a command takes no lock.
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=ours)
        self._connection: Connection | None = None

    def take(self) -> bool:
        """False where another connection has it, and where the server cannot be asked."""
        if self.is_held():
            return True
        connection = None
        try:
            connection = self._engine.connect()
            if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({RUNTIME_LOCK})").scalar_one():
                connection.exec_driver_sql(_SERVER_GIVES_UP)
                self._connection, connection = connection, None
        except SQLAlchemyError:
            return False
        finally:
            if connection is not None:
                connection.close()
        return self._connection is not None

    def is_held(self) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.exec_driver_sql("SELECT 1")
        except SQLAlchemyError:
            self.drop()
            return False
        return True

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # closes it for good: an idle one would keep the lock
            self._connection.close()
            self._connection = None
