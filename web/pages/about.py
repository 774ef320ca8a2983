"""/about: the version, what this is made of, and the notices that its makers ask for."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flask import Blueprint, current_app, render_template

from config import ROOT
from simulation.outcome import ENGINE_VERSION

bp = Blueprint("about", __name__)

# name in the pages, licence, holder, file of static/vendor/licenses
_PAGES = (
    ("Lightweight Charts", "Apache-2.0", "TradingView, Inc.", "lightweight-charts"),
    ("Chart.js", "MIT", "Chart.js Contributors", "chart.js"),
    ("@kurkle/color", "MIT", "Jukka Kurkela", "kurkle-color"),
    ("Bootstrap", "MIT", "The Bootstrap Authors", "bootstrap"),
    ("Popper", "MIT", "Federico Zivolo", "popperjs-core"),
    ("Socket.IO client", "MIT", "Guillermo Rauch and Socket.IO contributors", "socket.io-client"),
)

_PYTHON = (
    ("flask", "BSD-3-Clause"), ("flask-sqlalchemy", "BSD-3-Clause"), ("flask-babel", "BSD-3-Clause"),
    ("flask-wtf", "BSD-3-Clause"), ("flask-migrate", "MIT"), ("flask-socketio", "MIT"), ("flask-login", "MIT"),
    ("flask-limiter", "MIT"), ("simple-websocket", "MIT"), ("sqlalchemy", "MIT"), ("alembic", "MIT"),
    ("python-binance", "MIT"), ("python-okx", "MIT"), ("requests", "Apache-2.0"), ("pandas", "BSD-3-Clause"),
    ("numpy", "BSD-3-Clause"), ("numba", "BSD-2-Clause"), ("ta-lib", "BSD"), ("pyarrow", "Apache-2.0"),
    ("apscheduler", "MIT"), ("pydantic", "MIT"), ("pydantic-settings", "MIT"), ("spectree", "Apache-2.0"),
    ("cryptography", "Apache-2.0 / BSD-3-Clause"), ("structlog", "MIT / Apache-2.0"),
    ("prometheus-client", "Apache-2.0"), ("websockets", "BSD-3-Clause"), ("gunicorn", "MIT"),
)  # fmt: skip


@cache
def curlew_version() -> str:
    """As pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


@cache
def python_packages() -> list[dict[str, str]]:
    """Name, installed version and licence of what the server is made of; those that are installed."""
    found = []
    for name, licence in _PYTHON:
        try:
            found.append({"name": name, "version": version(name), "licence": licence})
        except PackageNotFoundError:
            continue
    return found


def page_packages() -> list[dict[str, str | None]]:
    """What the pages are made of; `file` is the licence's address below static/, where it was fetched."""
    folder = Path(current_app.static_folder or "static") / "vendor" / "licenses"
    return [
        {
            "name": name,
            "licence": licence,
            "holder": holder,
            "file": f"vendor/licenses/{file}.txt" if (folder / f"{file}.txt").is_file() else None,
        }
        for name, licence, holder, file in _PAGES
    ]


@bp.get("/about")
def about() -> str:
    return render_template(
        "about.html",
        version=curlew_version(),
        engine_version=ENGINE_VERSION,
        packages=page_packages(),
        python=python_packages(),
    )
