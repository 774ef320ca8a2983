"""A web application of this folder's own: real database, catalogue and routes; no market behind it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pytest

from store.hot_cache import CacheCounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient

    from config import Settings


@dataclass(frozen=True)
class _Health:
    state: str
    last_ok: int | None = None
    error: str | None = None


class QuietMarket:
    """A market that is up and says nothing; `state` may be set."""

    workspace_market = "simulated"

    def __init__(self) -> None:
        self.state = _Health("ok", 1_704_067_200_000)

    def health(self) -> dict[str, _Health]:
        return {"simulated": self.state}

    def cache_counts(self) -> CacheCounts:
        return CacheCounts(hits=3, misses=1)

    def fail(self, error: str) -> None:
        self.state = _Health("down", None, error)


def build_small_app(settings: Settings, **parts: Any) -> Flask:
    """The web with a database and catalogue of its own; `parts` are further services."""
    from flask import Flask
    from sqlalchemy import create_engine

    import config
    from database import Base, Database, engine_options
    from runtime.bus import Bus
    from runtime.services import Services
    from store.catalogue import Catalogue
    from store.secrets import Secrets
    from tests.fakes.clock import FakeClock
    from web import register_web

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    url = settings.sqlalchemy_url
    database = Database(create_engine(url, **engine_options(url)))
    Base.metadata.create_all(database.engine)
    catalogue = Catalogue(database)
    catalogue.load()
    given = {
        "settings": settings, "database": database, "bus": Bus(), "clock": FakeClock(), "catalogue": catalogue,
        "secrets": Secrets(settings.data_dir), "market": QuietMarket(), **parts,
    }  # fmt: skip
    app = Flask("curlew", root_path=str(config.ROOT))
    register_web(app, Services(**{field.name: given.get(field.name) for field in fields(Services)}))
    app.testing = True
    return app


@pytest.fixture
def make_small_app(tmp_path: Path) -> Callable[..., Flask]:
    """`make_small_app(admin_password="...")`: settings by name, one data folder for the whole test."""

    def make(**values: Any) -> Flask:
        from config import Settings

        return build_small_app(Settings(**{"data_dir": tmp_path / "data", "market": "simulated", **values}))

    return make


@pytest.fixture(scope="module")
def open_web(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A program's client of one app for a whole module: for tests that leave nothing behind."""
    from config import Settings

    folder = tmp_path_factory.mktemp("open_web")
    app = build_small_app(Settings(data_dir=folder, market="simulated", host="127.0.0.1", _env_file=None))
    return app.test_client(use_cookies=False)


@pytest.fixture
def small_app(make_small_app: Callable[..., Flask]) -> Flask:
    return make_small_app()


@pytest.fixture
def web(small_app: Flask) -> FlaskClient:
    """A program: no Origin, no cookies."""
    return small_app.test_client(use_cookies=False)
