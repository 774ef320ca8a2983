"""Indicators against TA-Lib, MyTT and published tables; warm-up, short series, leading NaNs."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from strategies import indicators
from strategies.indicators import REGISTRY
from tests.rule_sets import bars_of, random_bars


def close_to(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-9) -> None:
    """Equal where both are defined, and defined at the same places; relative to values over 1."""
    actual, expected = np.asarray(actual), np.asarray(expected, dtype=np.float64)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    known = ~np.isnan(expected)
    assert known.any(), "the reference has no value to compare with"
    np.testing.assert_allclose(actual[known], expected[known], rtol=tolerance, atol=tolerance)


# -- against TA-Lib itself ----------------------------------------------------------------


@pytest.mark.parametrize("period", [2, 3, 14, 20, 60, 255, 256, 257, 1000])
def test_windows_equal_talib_for_any_period(period: int) -> None:
    close = random_bars(5000, seed=period).close
    close_to(indicators.sma(close, period), talib.SMA(close, period))
    close_to(indicators.ema(close, period), talib.EMA(close, period))
    close_to(indicators.rsi(close, period), talib.RSI(close, period))
    for ours, theirs in zip(indicators.boll(close, period, 2.0), talib.BBANDS(close, period, 2, 2), strict=True):
        close_to(ours, theirs)


@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (2, 3, 1), (5, 35, 5), (19, 20, 50)])
def test_macd_equals_talib(fast: int, slow: int, signal: int) -> None:
    close = random_bars(3000, seed=slow).close
    for ours, theirs in zip(indicators.macd(close, fast, slow, signal), talib.MACD(close, fast, slow, signal)):  # noqa: B905
        close_to(ours, theirs)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 64_000.0])
def test_bands_keep_their_digits_at_any_price(scale: float) -> None:
    close = random_bars(6000, start=scale).close
    for ours, theirs in zip(indicators.boll(close, 20, 2.0), talib.BBANDS(close, 20, 2, 2), strict=True):
        np.testing.assert_allclose(ours[19:], theirs[19:], rtol=1e-11)


def test_bands_of_a_flat_price_are_the_price() -> None:
    close = np.concatenate([random_bars(300).close, np.full(300, 64_123.45)])
    upper, middle, lower = indicators.boll(close, 20, 2.0)
    assert (upper[320:] == middle[320:]).all()
    assert (lower[320:] == middle[320:]).all()


def test_rsi_without_any_move_is_zero_as_in_talib() -> None:
    flat = np.full(40, 5.0)
    close_to(indicators.rsi(flat, 14), talib.RSI(flat, 14))


def test_period_one_is_the_price_itself() -> None:
    close = random_bars(50).close
    np.testing.assert_array_equal(indicators.sma(close, 1), close)
    np.testing.assert_array_equal(indicators.ema(close, 1), close)


# -- against the tables -------------------------------------------------------------------


@pytest.fixture(scope="module", params=["BTCUSDT_1h_1000", "ETHUSDT_1d_800"])
def computed(request: pytest.FixtureRequest, shared_data: Path) -> dict[str, np.ndarray]:
    """Values of TA-Lib, MyTT and stockstats on real candles, by column."""
    import pyarrow.parquet as pq

    table = pq.read_table(shared_data / "reference" / "computed" / f"{request.param}.parquet")
    return {name: np.array(table[name].to_pylist(), dtype=np.float64) for name in table.column_names}


def test_averages_of_real_candles(computed: dict[str, np.ndarray]) -> None:
    for period in (5, 10, 20, 60):
        close_to(indicators.sma(computed["close"], period), computed[f"ta_sma{period}"])
    for period in (12, 26):
        close_to(indicators.ema(computed["close"], period), computed[f"ta_ema{period}"])


def test_oscillators_of_real_candles(computed: dict[str, np.ndarray]) -> None:
    close = computed["close"]
    line, signal, histogram = indicators.macd(close, 12, 26, 9)
    close_to(line, computed["ta_macd"])
    close_to(signal, computed["ta_macdsignal"])
    close_to(histogram, computed["ta_macdhist"])
    for period in (6, 12, 14, 24):
        close_to(indicators.rsi(close, period), computed[f"ta_rsi{period}"])


def test_mytt_seeds_macd_and_rsi_otherwise_and_agrees_later(computed: dict[str, np.ndarray]) -> None:
    """MyTT starts its averages at the first close; TA-Lib, which we follow, at the first window's mean.

    MyTT also rounds to three decimals, hence the tolerance.
    """
    close = computed["close"]
    line = indicators.macd(close, 12, 26, 9)[0]
    assert abs(line[40] - computed["mytt_dif"][40]) > 0.01
    np.testing.assert_allclose(line[600:], computed["mytt_dif"][600:], rtol=0, atol=5.01e-4)
    np.testing.assert_allclose(indicators.rsi(close, 6)[300:], computed["mytt_rsi6"][300:], rtol=0, atol=5.01e-4)


def test_bands_of_real_candles(computed: dict[str, np.ndarray]) -> None:
    for ours, name in zip(indicators.boll(computed["close"], 20, 2.0), "uml", strict=True):
        close_to(ours, computed[f"ta_boll_{name}"])


def test_kdj_and_bbi_follow_mytt(computed: dict[str, np.ndarray]) -> None:
    lines = indicators.kdj(computed["high"], computed["low"], computed["close"], 9, 3, 3)
    for ours, name in zip(lines, "kdj", strict=True):
        close_to(ours, computed[f"mytt_{name}"])
    close_to(indicators.bbi(computed["close"], (3, 6, 12, 24)), computed["mytt_bbi_3_6_12_24"])


def test_ranges_of_real_candles(computed: dict[str, np.ndarray]) -> None:
    high, low, close = computed["high"], computed["low"], computed["close"]
    close_to(indicators.cci(high, low, close, 14), computed["ta_cci14"])
    close_to(indicators.atr(high, low, close, 14), computed["ta_atr14"])


def test_every_pattern_of_the_catalogue_on_real_candles(computed: dict[str, np.ndarray]) -> None:
    from strategies.catalogue import PATTERNS

    columns = [computed[name] for name in ("open", "high", "low", "close")]
    for name in PATTERNS:
        np.testing.assert_array_equal(indicators.pattern(*columns, name), computed[name.lower()], err_msg=name)


def tulip(folder: Path, file: str, test: str) -> list[np.ndarray]:
    """The arrays of one test of tulip's text files: inputs, then outputs (which start after the warm-up)."""
    lines = (folder / "reference" / "tulip" / file).read_text(encoding="utf-8").splitlines()
    start = lines.index(test)
    arrays = []
    for line in lines[start + 1 :]:
        if line.startswith("{"):
            arrays.append(np.array([float(number) for number in line.strip("{}").split(",")]))
        elif arrays:
            break
    return arrays


@pytest.mark.parametrize(
    ("file", "test", "name", "params", "digits"),
    [
        ("atoz.txt", "sma 5", "sma", (5,), 5e-4),
        ("untest.txt", "sma 5", "sma", (5,), 5e-4),
        ("atoz.txt", "rsi 5", "rsi", (5,), 5e-5),
        ("untest.txt", "rsi 5", "rsi", (5,), 5e-4),
        ("atoz.txt", "bbands 5 2", "boll", (5, 2.0), 5e-4),
        ("untest.txt", "bbands 5 2", "boll", (5, 2.0), 5e-4),
    ],
)
def test_tulip_tables(
    shared_data: Path, file: str, test: str, name: str, params: tuple[Any, ...], digits: float
) -> None:
    """Tulip prints three to five digits; its EMA and MACD start at the first price and so are not ours."""
    arrays = tulip(shared_data, file, test)
    lines = REGISTRY[name].lines(bars_of(arrays[0]), params)
    if name == "boll":  # tulip's order is lower, middle, upper
        lines = lines[::-1]
    for ours, theirs in zip(lines, arrays[1:], strict=True):
        np.testing.assert_allclose(ours[len(ours) - len(theirs) :], theirs, rtol=0, atol=1.01 * digits)


def skender_prices(folder: Path) -> np.ndarray:
    with (folder / "reference" / "skender" / "default.csv").open(encoding="utf-8") as file:
        return np.array([float(row["close"]) for row in csv.DictReader(file)])


def skender_json(folder: Path, name: str, *fields: str) -> list[np.ndarray]:
    raw = gzip.decompress((folder / "reference" / "skender" / f"{name}.standard.json.gz").read_bytes())
    rows = json.loads(raw)
    return [np.array([np.nan if row[key] is None else row[key] for row in rows], dtype=np.float64) for key in fields]


def test_skender_tables(shared_data: Path) -> None:
    close = skender_prices(shared_data)
    close_to(indicators.sma(close, 20), skender_json(shared_data, "sma", "sma")[0])
    close_to(indicators.rsi(close, 14), skender_json(shared_data, "rsi", "rsi")[0])
    bands = skender_json(shared_data, "bb", "upperBand", "sma", "lowerBand")
    for ours, theirs in zip(indicators.boll(close, 20, 2.0), bands, strict=True):
        close_to(ours, theirs)


def test_skender_macd_once_its_seed_is_forgotten(shared_data: Path) -> None:
    """Skender seeds the fast average at bar 12 and shows the line from bar 26 on; TA-Lib at 26 and 34."""
    close = skender_prices(shared_data)
    line, signal = skender_json(shared_data, "macd", "macd", "signal")
    ours = indicators.macd(close, 12, 26, 9)
    np.testing.assert_allclose(ours[0][250:], line[250:], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours[1][250:], signal[250:], rtol=0, atol=1e-9)


def test_skender_spreadsheets(shared_data: Path) -> None:
    raw = gzip.decompress((shared_data / "reference" / "skender" / "Rsi.Calc.sheet1.csv.gz").read_bytes())
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8"))))
    close = np.array([float(row["close"]) for row in rows])
    theirs = np.array([float(row["RSI(14)"]) if row["RSI(14)"] else np.nan for row in rows])
    close_to(indicators.rsi(close, 14), theirs)


def test_stockstats_kdj_agrees_with_mytt_once_its_seed_is_forgotten(computed: dict[str, np.ndarray]) -> None:
    lines = indicators.kdj(computed["high"], computed["low"], computed["close"], 9, 3, 3)
    np.testing.assert_allclose(lines[0][200:], computed["stockstats_k"][200:], rtol=0, atol=1e-9)


# -- warm-up and hard inputs --------------------------------------------------------------

EXAMPLES: dict[str, tuple[Any, ...]] = {
    "sma": (20,),
    "ema": (20,),
    "macd": (12, 26, 9),
    "rsi": (14,),
    "boll": (20, 2.0),
    "bbi": ((3, 6, 12, 24),),
    "kdj": (9, 3, 3),
    "cci": (14,),
    "atr": (14,),
    "atr_bands": (14, 1.0),
    "volume": (),
    "volume_threshold": (20, 2.0),
    "pattern": ("CDLENGULFING",),
    "rsi_divergence": (14,),
    "macd_divergence": (12, 26, 9),
    "cci_divergence": (14,),
}


def test_every_indicator_has_an_example() -> None:
    assert set(EXAMPLES) == set(REGISTRY)


@pytest.mark.parametrize("name", [n for n in EXAMPLES if not n.endswith("divergence") and n != "pattern"])
def test_the_first_value_stands_where_the_warmup_says(name: str) -> None:
    indicator, params = REGISTRY[name], EXAMPLES[name]
    warmup = indicator.warmup(*params)
    for line in indicator.lines(random_bars(200), params):
        assert np.isnan(line[: warmup - 1]).all()
        assert not np.isnan(line[warmup - 1 :]).any()


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 13])
def test_series_shorter_than_the_warmup_are_answered(name: str, count: int) -> None:
    for line in REGISTRY[name].lines(random_bars(200)[:count], EXAMPLES[name]):
        assert len(line) == count


@pytest.mark.parametrize("name", EXAMPLES)
def test_leading_nans_move_the_start(name: str) -> None:
    whole = random_bars(400)
    columns = [np.concatenate([np.full(7, np.nan), column]) for column in whole.columns()[1:]]
    padded = type(whole)(np.arange(407, dtype=np.int64), *columns)
    for late, plain in zip(
        REGISTRY[name].lines(padded, EXAMPLES[name]), REGISTRY[name].lines(whole, EXAMPLES[name]), strict=True
    ):
        np.testing.assert_allclose(late[7 + 60 :], plain[60:], rtol=1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_series_of_nans_is_answered_with_nothing(name: str) -> None:
    nothing = np.full(50, np.nan)
    bars = type(random_bars(1))(np.arange(50, dtype=np.int64), nothing, nothing, nothing, nothing, nothing)
    for line in REGISTRY[name].lines(bars, EXAMPLES[name]):
        assert not np.nan_to_num(line).any()


@pytest.mark.parametrize("name", EXAMPLES)
def test_read_only_arrays_are_taken_and_left_alone(name: str) -> None:
    bars = random_bars(120)
    before = bars.sha256()
    for column in bars.columns():
        column.flags.writeable = False
    REGISTRY[name].lines(bars, EXAMPLES[name])
    assert bars.sha256() == before


@pytest.mark.parametrize("name", ["ema", "rsi", "macd", "atr", "kdj"])
def test_memory_is_long_enough_to_forget_the_start(name: str) -> None:
    indicator, params = REGISTRY[name], EXAMPLES[name]
    needed = indicator.warmup(*params) + indicator.memory(*params)
    bars = random_bars(4 * needed)
    for whole, tail in zip(indicator.lines(bars, params), indicator.lines(bars[-needed:], params), strict=True):
        assert tail[-1] == pytest.approx(whole[-1], rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 2500), name=st.sampled_from(sorted(EXAMPLES)))
def test_a_value_depends_on_the_bars_up_to_its_own_alone(seed: int, cut: int, name: str) -> None:
    bars = random_bars(2500, seed=seed)
    for whole, part in zip(
        REGISTRY[name].lines(bars, EXAMPLES[name]), REGISTRY[name].lines(bars[:cut], EXAMPLES[name]), strict=True
    ):
        np.testing.assert_array_equal(whole[:cut], part)


# -- divergences --------------------------------------------------------------------------


def test_a_divergence_appears_when_its_pivot_is_confirmed() -> None:
    """Lows at bars 10 and 30, the second lower in price and higher in value: known at bar 35."""
    low = np.full(50, 100.0)
    low[10], low[30] = 90.0, 88.0
    values = np.full(50, 50.0)
    values[10], values[30] = 20.0, 25.0
    found = indicators.divergence(np.full(50, 110.0), low, values)
    assert np.flatnonzero(found == 1).tolist() == [35]
    assert np.flatnonzero(found == -1).tolist() == []
    unconfirmed = indicators.divergence(np.full(35, 110.0), low[:35], values[:35])
    assert not unconfirmed.any()


def test_a_bearish_divergence_mirrors_a_bullish_one() -> None:
    high = np.full(50, 100.0)
    high[10], high[30] = 110.0, 112.0
    values = np.full(50, 50.0)
    values[10], values[30] = 80.0, 75.0
    assert np.flatnonzero(indicators.divergence(high, np.full(50, 90.0), values) == -1).tolist() == [35]


def test_lows_that_agree_or_lie_far_apart_do_not_diverge() -> None:
    low = np.full(120, 100.0)
    low[10], low[30] = 90.0, 88.0
    agreeing = np.full(120, 50.0)
    agreeing[10], agreeing[30] = 25.0, 20.0
    assert not indicators.divergence(np.full(120, 110.0), low, agreeing).any()
    far = np.full(120, 100.0)
    far[10], far[71] = 90.0, 88.0
    rising = np.full(120, 50.0)
    rising[10], rising[71] = 20.0, 25.0
    assert not indicators.divergence(np.full(120, 110.0), far, rising).any()
    rising[70], far[70], far[71] = 25.0, 88.0, 100.0
    assert np.flatnonzero(indicators.divergence(np.full(120, 110.0), far, rising)).tolist() == [75]


@pytest.mark.parametrize("name", ["sma", "ema", "rsi", "boll", "macd"])
def test_a_nan_in_the_middle_is_not_papered_over(name: str) -> None:
    """As in TA-Lib, whose sums it poisons: no value that rests on a missing price."""
    bars = random_bars(300)
    bars.close[100] = np.nan
    lines = REGISTRY[name].lines(bars, EXAMPLES[name])
    assert all(np.isnan(line[100:110]).all() for line in lines)
