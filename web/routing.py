"""Address parts: ids that fit into the database, coins whose names hold a slash."""

from __future__ import annotations

from flask import Flask
from werkzeug.routing import IntegerConverter
from werkzeug.routing.map import Map

from web.schemas import INT64_MAX


class IdConverter(IntegerConverter):
    """`<int:...>`: whole numbers that a database takes; anything larger is an unknown address, not an error."""

    regex = r"\d{1,19}"

    def __init__(self, map: Map, *args: int, **kwargs: int) -> None:
        super().__init__(map, *args, **{"max": INT64_MAX, **kwargs})  # type: ignore[arg-type]


def register_converters(app: Flask) -> None:
    app.url_map.converters["int"] = IdConverter
    app.url_map.strict_slashes = False
