"""A web application of this folder's own: real database, catalogue and routes; fakes behind the market."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from config import Settings


def make_app(settings: Settings, *, load: bool = True) -> Flask:
    from flask import Flask
    from sqlalchemy import create_engine

    import config
    from database import Base, Database, engine_options
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
    if load:
        catalogue.load()
    parts = {
        "settings": settings, "database": database, "clock": FakeClock(), "catalogue": catalogue,
        "secrets": Secrets(settings.data_dir),
    }  # fmt: skip
    services = Services(**{field.name: parts.get(field.name) for field in fields(Services)})
    app = Flask("curlew", root_path=str(config.ROOT))
    register_web(app, services)
    app.testing = True
    return app
