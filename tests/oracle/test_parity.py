"""SMA 20/60 on real candles against engines that are not ours, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brokers.accounting import EXIT_SIGNAL, EXIT_STOP, EXIT_TARGET
from domain.market import Bars
from domain.times import HOUR_MS
from simulation.result import CoinInput, SimInput, SimResult

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BENCH_PYTHON = ROOT / ".bench-venv" / "bin" / "python"
CAPITAL = 1_000_000.0
PAIRS = ("ETHUSDT", "BTCUSDT")


def load_bars(path: Path) -> Bars:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    columns = [table.column(name).to_numpy() for name in ("open", "high", "low", "close", "volume")]
    return Bars(table.column("timestamp").to_numpy().astype(np.int64), *(c.astype(np.float64) for c in columns))


def sma_signals(close: np.ndarray, fast: int = 20, slow: int = 60) -> np.ndarray:
    """+1 where the fast average crosses above the slow one, -1 where below; both defined on both bars."""

    def sma(n: int) -> np.ndarray:
        return np.concatenate((np.full(n - 1, np.nan), np.lib.stride_tricks.sliding_window_view(close, n).mean(axis=1)))

    above = sma(fast) - sma(slow)
    signals = np.zeros(len(close), dtype=np.int8)
    signals[1:][(above[1:] > 0) & (above[:-1] <= 0)] = 1
    signals[1:][(above[1:] < 0) & (above[:-1] >= 0)] = -1
    return signals


@pytest.fixture(scope="module", params=PAIRS)
def market(request: pytest.FixtureRequest, shared_data: Path) -> tuple[Bars, np.ndarray]:
    path = shared_data / "candles" / "binance" / "spot" / request.param / "1h.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    bars = load_bars(path)
    return bars, sma_signals(bars.close)


def ours(market: tuple[Bars, np.ndarray], **options: Any) -> SimResult:
    from simulation.kernel import simulate

    bars, signals = market
    coin = CoinInput("X", bars, signals)
    return simulate(SimInput((coin,), HOUR_MS, **{"initial_capital": CAPITAL, "fee_rate": 0.001, **options}))


def theirs(peer: str, python: Path, market: tuple[Bars, np.ndarray], folder: Path, **options: float) -> dict[str, Any]:
    """The peer's answer. `-I` and a foreign folder keep this repository out of its imports."""
    bars, signals = market
    source, target = folder / "input.npz", folder / "output.json"
    given = {"cash": CAPITAL, "fee_rate": 0.001, "slippage_rate": 0.0, "stop": 0.0, "target": 0.0, **options}
    columns = {"time": bars.time, "open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close}
    np.savez(source, signals=signals, **columns, **given)
    command = [str(python), "-I", str(HERE / f"peer_{peer}.py"), str(source), str(target)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(target.read_text(encoding="utf-8")))


def vectorbt_python() -> Path:
    if not BENCH_PYTHON.exists():
        pytest.skip("no .bench-venv: `make bench` builds the environment that holds vectorbt")
    found = subprocess.run([str(BENCH_PYTHON), "-I", "-c", "import vectorbt"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("no vectorbt in .bench-venv")
    return BENCH_PYTHON


def compare(mine: SimResult, other: dict[str, Any], tolerance: float) -> None:
    assert mine.equity is not None
    closed = mine.trades.is_closed
    assert int(closed.sum()) == len(other["entry_time"]) > 100
    assert mine.trades.entry_time[closed].tolist() == other["entry_time"]
    assert mine.trades.exit_time[closed].tolist() == other["exit_time"]
    assert mine.final_value == pytest.approx(other["equity"][-1], rel=tolerance)
    assert mine.max_drawdown == pytest.approx(other["drawdown"], rel=tolerance)
    np.testing.assert_allclose(mine.equity, other["equity"], rtol=tolerance)


def test_backtesting_py(market: tuple[Bars, np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("bokeh", reason="the PyPI package `backtesting` is not installed")
    other = theirs("backtesting", Path(sys.executable), market, tmp_path)
    compare(ours(market), other, 1e-6)


def test_vectorbt(market: tuple[Bars, np.ndarray], tmp_path: Path) -> None:
    mine, other = ours(market), theirs("vectorbt", vectorbt_python(), market, tmp_path)
    compare(mine, other, 1e-10)
    closed = mine.trades.is_closed
    np.testing.assert_allclose(mine.trades.entry_price[closed], other["entry_price"], rtol=1e-12)
    np.testing.assert_allclose(mine.trades.pnl[closed], other["pnl"], rtol=1e-8, atol=1e-6)


def test_vectorbt_with_stops(market: tuple[Bars, np.ndarray], tmp_path: Path) -> None:
    """Every trade starts and ends in the same bars and, but for one known choice, at the same prices.

    Where a bar both opens with an order to close and falls to the stop, vectorbt takes the stop; here
    the order fills at the open, which comes first.
    """
    other = theirs("vectorbt", vectorbt_python(), market, tmp_path, stop=5.0, target=10.0)
    mine = ours(market, stop_loss_percent=5, take_profit_percent=10)
    closed = mine.trades.is_closed
    exits = mine.trades.exit_time[closed]
    assert mine.trades.entry_time[closed].tolist() == other["entry_time"]
    assert exits.tolist() == other["exit_time"]
    bars = market[0]
    row = np.searchsorted(bars.time, exits)
    price, entry = mine.trades.exit_price[closed], mine.trades.entry_price[closed]
    both = (mine.trades.reason[closed] == EXIT_SIGNAL) & (bars.low[row] <= entry * 0.95)
    assert 0 < int(both.sum()) < 0.05 * len(both)
    np.testing.assert_allclose(price[~both], np.array(other["exit_price"])[~both], rtol=1e-12)
    np.testing.assert_array_equal(price[both], bars.open[row][both])
    assert {EXIT_SIGNAL, EXIT_STOP, EXIT_TARGET} <= set(mine.trades.reason[closed].tolist())


@pytest.mark.long
def test_vectorbt_with_slippage(market: tuple[Bars, np.ndarray], tmp_path: Path) -> None:
    other = theirs("vectorbt", vectorbt_python(), market, tmp_path, slippage_rate=0.0005)
    compare(ours(market, slippage_rate=0.0005), other, 1e-10)
