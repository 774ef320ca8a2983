"""Runs vectorbt on bars and signals from a file, in the environment of the benchmarks.

Usage: python -I peer_vectorbt.py INPUT.npz OUTPUT.json
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")

import vectorbt as vbt  # noqa: E402


def main(source: str, target: str) -> None:
    data = np.load(source)
    index = pd.to_datetime(data["time"], unit="ms")
    columns = {name: pd.Series(data[name], index=index) for name in ("open", "high", "low", "close")}
    # vectorbt fills in the bar of the signal: a fill at the next open is a signal one bar later.
    signals = np.concatenate(([0], data["signals"][:-1]))
    options = {}
    if data["stop"] > 0:
        options = {
            "sl_stop": float(data["stop"]) / 100,
            "tp_stop": float(data["target"]) / 100,
            "stop_entry_price": "fillprice",
            "open": columns["open"],
            "high": columns["high"],
            "low": columns["low"],
        }
    portfolio = vbt.Portfolio.from_signals(
        columns["close"],
        pd.Series(signals > 0, index=index),
        pd.Series(signals < 0, index=index),
        price=columns["open"],
        size=np.inf,
        fees=float(data["fee_rate"]),
        slippage=float(data["slippage_rate"]),
        init_cash=float(data["cash"]),
        direction="longonly",
        freq="1h",
        **options,
    )
    records = portfolio.trades.records
    closed = records[records["status"] == 1]
    result = {
        "equity": portfolio.value().tolist(),
        "entry_time": data["time"][closed["entry_idx"].to_numpy()].tolist(),
        "exit_time": data["time"][closed["exit_idx"].to_numpy()].tolist(),
        "entry_price": closed["entry_price"].tolist(),
        "exit_price": closed["exit_price"].tolist(),
        "pnl": closed["pnl"].tolist(),
        "drawdown": float(-portfolio.max_drawdown() * 100),
    }
    with open(target, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
