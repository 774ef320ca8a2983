"""One application for all acceptance tests, spoken to through its routes and commands alone."""

from __future__ import annotations

import pytest

from tests.acceptance.lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    from app import create_app
    from config import Settings

    folder = tmp_path_factory.mktemp("acceptance")
    app = create_app(Settings(data_dir=folder / "data", market="simulated", host="127.0.0.1", _env_file=None))
    app.testing = True
    return Lab(app, folder / "files")
