"""The route against the reference simulator over random markets, trade by trade, to 1e-9 of the capital."""

from __future__ import annotations

import pytest

from tests.acceptance.lab import Lab
from tests.acceptance.random_markets import compare, random_case

MODES = ("next_open", "mid", "close")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(4))
def test_random_market(lab: Lab, seed: int, mode: str) -> None:
    assert compare(lab, random_case(lab, seed, bars=250, fill_price=mode)) == []


@pytest.mark.parametrize(
    "fixed",
    [
        {"count": 3, "gaps": True, "leverage": 5.0, "market": "perp", "marked": True, "direction": "both"},
        {"count": 1, "detailed": True, "stop": 1.0, "target": 2.0, "trailing": 1.5, "direction": "both"},
        {"count": 2, "gaps": True, "funded": "part", "funding": "auto", "leverage": 2.0, "market": "perp"},
        {"count": 3, "size_percent": 100.0, "fee": 0.004, "slippage_bps": 25.0, "leverage": 20.0},
        {"count": 2, "direction": "short", "funded": "stored", "funding": "auto", "market": "spot"},
    ],
    ids=["marks", "finer candles", "funding in part", "dear", "shorts"],
)
def test_random_market_of_a_kind(lab: Lab, fixed: dict[str, object]) -> None:
    assert compare(lab, random_case(lab, 4242, bars=300, **fixed)) == []


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_many_random_markets(lab: Lab, mode: str) -> None:
    wrong = {seed: found for seed in range(1000, 1120)
             if (found := compare(lab, random_case(lab, seed, bars=600, fill_price=mode)))}  # fmt: skip
    assert wrong == {}
