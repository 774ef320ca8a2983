"""SQLite under a crowd: one writer at a time, nobody is told "database is locked"."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask

from tests.web.conftest import build_small_app


def test_500_writes_at_50_requests_at_once(settings: Any) -> None:
    app: Flask = build_small_app(settings)
    together = threading.Barrier(50)

    def work(worker: int) -> list[int]:
        client = app.test_client(use_cookies=False)
        together.wait(timeout=60)
        statuses = []
        for turn in range(10):
            made = client.post("/api/coins", json={"symbol": f"C{worker}X{turn}", "name": "x"})
            statuses.append(made.status_code)
            statuses.append(client.get(f"/api/coins/{made.json.get('id', 0)}").status_code)
        return statuses

    with ThreadPoolExecutor(50) as crowd:
        statuses = [status for found in crowd.map(work, range(50)) for status in found]
    assert sorted(statuses) == [200] * 500 + [201] * 500
    found = app.test_client().get("/api/coins?q=x").json
    assert len([coin for coin in found if coin["name"] == "x"]) == 500


def test_a_crowd_that_wants_the_same_gets_it_once(settings: Any) -> None:
    app: Flask = build_small_app(settings)
    together = threading.Barrier(20)

    def work(_worker: int) -> int:
        together.wait(timeout=60)
        return app.test_client(use_cookies=False).post("/api/coins", json={"symbol": "SAME", "name": "x"}).status_code

    with ThreadPoolExecutor(20) as crowd:
        statuses = sorted(crowd.map(work, range(20)))
    assert statuses == [201] + [409] * 19
