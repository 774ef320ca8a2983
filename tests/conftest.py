"""Fixtures of every test: settings, the app, a real server, the browser, the network guard.

Nothing heavy is imported here at the top: a test of one pure function must not pay for Flask,
numba or a browser.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from playwright.sync_api import Page

    from config import Settings

ROOT = Path(__file__).resolve().parent.parent
SERVER_START_S = 60.0
SERVER_STOP_S = 20.0

# Fixed examples would find the same nothing every night; a found failure is kept in .hypothesis/.
hypothesis_settings.register_profile("dev", max_examples=40, deadline=None, derandomize=False, print_blob=True)
hypothesis_settings.register_profile(
    "long", max_examples=1000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


# -- which tests run ----------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long forms of the drills too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the long forms out (each has a short form that runs) unless they are asked for."""
    if config.getoption("--long") or "long" in (config.option.markexpr or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


# -- the network guard --------------------------------------------------------------------


class NetworkForbiddenError(ConnectionError):
    """A test tried to leave this machine."""


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):  # AF_UNIX: a path
        return True
    host = str(address[0])
    return host in {"", "localhost", "::1", "0.0.0.0", "::"} or host.startswith(("127.", "::ffff:127."))  # noqa: S104


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    """Closes every socket but loopback's, names included: a test that needs a venue brings its own."""
    patch = pytest.MonkeyPatch()
    real_connect, real_connect_ex, real_sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    real_getaddrinfo = socket.getaddrinfo

    def refuse(address: Any) -> None:
        if not _is_local(address):
            raise NetworkForbiddenError(f"tests may not leave this machine, but one asked for {address!r}")

    def connect(self: socket.socket, address: Any) -> None:
        refuse(address)
        real_connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        refuse(address)
        return real_connect_ex(self, address)

    def sendto(self: socket.socket, data: Any, *args: Any) -> int:
        refuse(args[-1])
        return real_sendto(self, data, *args)

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        refuse((name or "",))
        return real_getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", connect)
    patch.setattr(socket.socket, "connect_ex", connect_ex)
    patch.setattr(socket.socket, "sendto", sendto)
    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    patch.undo()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- data ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real candles and funding rates beside the repository (read-only)."""
    asked = os.environ.get("CURLEW_SHARED_DATA")
    folder = Path(asked) if asked else ROOT.parent / "shared" / "data"
    if not (folder / "MANIFEST.csv").is_file():
        pytest.skip(f"no real candles: {folder} has no MANIFEST.csv (CURLEW_SHARED_DATA may name another folder)")
    return folder


# -- settings and the app -----------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell or `.env` sets must not decide a test."""
    from config import Settings

    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Defaults in a folder of this test's own, on the simulated market."""
    from config import Settings

    return Settings(data_dir=tmp_path / "data", market="simulated")


@pytest.fixture
def app(settings: Settings) -> Flask:
    """The whole application, without a scheduler."""
    from app import create_app

    application = create_app(settings)
    application.testing = True
    return application


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


# -- a real server ------------------------------------------------------------------------


@dataclass(slots=True)
class Server:
    """A gunicorn of this test's own on a free port, with a data folder of its own."""

    url: str
    port: int
    data_dir: Path
    log_path: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str, timeout_s: float = 10.0) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=timeout_s) as answer:  # noqa: S310 - our own loopback URL
            body: bytes = answer.read()
            return body

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_until_healthy(self, timeout_s: float = SERVER_START_S) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self.process.returncode}:\n{self.log()}")
            try:
                self.get("/api/health", timeout_s=2.0)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
            else:
                return
        raise TimeoutError(f"no answer from {self.url}/api/health within {timeout_s} s:\n{self.log()}")

    def stop(self) -> int:
        """Ends it as an operator would (SIGTERM); killed where it does not obey."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(SERVER_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return int(self.process.returncode)

    def kill(self) -> None:
        """SIGKILL to master and worker: nothing gets a chance to tidy up."""
        for pid in [*_children(self.process.pid), self.process.pid]:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self.process.wait(SERVER_STOP_S)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:
            continue
    return found


def server_environment(data_dir: Path, port: int, **extra: str) -> dict[str, str]:
    """The environment of a server under test: nothing of the developer's settings in it."""
    from config import Settings

    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    return kept | {
        "DATA_DIR": str(data_dir),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "MARKET": "simulated",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


StartServer = Callable[..., Server]


def _launch(data_dir: Path, log_path: Path, wait: bool, extra: dict[str, str]) -> Server:
    port = free_port()
    environment = server_environment(data_dir, port, **extra)
    port = int(environment["PORT"])
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
            cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", port, data_dir, log_path, process)
    if wait:
        try:
            server.wait_until_healthy()
        except BaseException:
            server.kill()
            raise
    return server


def _starter(folder: Path, started: list[Server]) -> StartServer:
    def start(data_dir: Path | None = None, *, wait: bool = True, **extra: str) -> Server:
        """`extra` are environment variables; `data_dir` may be one that an earlier server left."""
        name = secrets.token_hex(4)
        server = _launch(data_dir or folder / f"data-{name}", folder / f"server-{name}.log", wait, extra)
        started.append(server)
        return server

    return start


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers for this test: `start_server(data_dir=None, wait=True, SIMULATED_SPEED="60")`."""
    started: list[Server] = []
    yield _starter(tmp_path, started)
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a module's tests: fresh data, simulated market, scheduler running."""
    started: list[Server] = []
    yield _starter(tmp_path_factory.mktemp("server"), started)()
    for server in started:
        server.stop()


# -- the browser --------------------------------------------------------------------------


def chromium_path() -> str | None:
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


@pytest.fixture(scope="session")
def base_url() -> None:
    """Tests name their server's whole URL. (The plugin's own fixture is a method, which pytest warns of.)"""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's Chromium, silent on the network; its sandbox does not work for root."""
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-default-apps", "--no-first-run", "--disable-dev-shm-usage"]  # fmt: skip
    if os.geteuid() == 0:
        quiet.append("--no-sandbox")
    return {**browser_type_launch_args, "executable_path": path, "args": quiet}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1280, "height": 800}, "locale": "en-US", "timezone_id": "UTC"}


@pytest.fixture
def console_errors() -> list[str]:
    """What the browser's console complained of; a test that expects a complaint removes it from here."""
    return []


@pytest.fixture
def page(page: Page, console_errors: list[str]) -> Iterator[Page]:
    """pytest-playwright's page; the test fails on an error in the console or in a script."""
    page.on("console", lambda message: console_errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: console_errors.append(f"uncaught: {error}"))
    yield page
    assert not console_errors, f"the browser's console shows errors: {console_errors}"
