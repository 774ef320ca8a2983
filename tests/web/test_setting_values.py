"""What the settings page says of a setting: its value as one writes it, never one that could log somebody in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config import Settings
from web.pages.settings import setting_sections

if TYPE_CHECKING:
    from flask import Flask


@pytest.fixture
def rows(app: Flask) -> dict[str, dict[str, object]]:
    settings = Settings(
        redis_url="redis://user:hunter2@cache.example:6379/0",
        database_url="postgresql://curlew:hunter2@db.example/curlew",
        openai_api_key="sk-hunter2",
        cache_price_ttl=2.5,
    )
    with app.test_request_context():
        return {row["name"]: row for section in setting_sections(settings) for row in section["rows"]}


def test_every_setting_has_a_row_and_a_meaning(rows: dict[str, dict[str, object]]) -> None:
    assert list(rows) == [name.upper() for name in Settings.model_fields]
    assert all(row["meaning"] for row in rows.values())


def test_no_secret_leaves_the_server(rows: dict[str, dict[str, object]]) -> None:
    assert "hunter2" not in repr(rows)
    assert rows["OPENAI_API_KEY"]["value"] == "set"
    assert rows["QWEN_API_KEY"]["value"] == "not set"
    assert rows["REDIS_URL"]["value"] == "redis://***@cache.example:6379/0"
    assert rows["DATABASE_URL"]["value"] == "postgresql://***@db.example/curlew"


def test_values_read_as_in_the_env_file(rows: dict[str, dict[str, object]]) -> None:
    assert (rows["CACHE_PRICE_TTL"]["value"], rows["CACHE_PRICE_TTL"]["default"]) == ("2.5", "10")
    assert rows["CACHE_PRICE_TTL"]["is_set"]
    assert not rows["CACHE_KLINE_TTL"]["is_set"]
    assert rows["CACHE_ENABLED"]["value"] == "true"
    assert rows["MARKET"]["choices"] == "auto, exchanges, simulated"
