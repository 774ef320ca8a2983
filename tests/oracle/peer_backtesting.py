"""Runs PyPI's `backtesting` on bars and signals from a file; a process of its own, outside this repository.

Our `backtesting.py` would hide that package from anything that runs in this folder.
Usage: python -I peer_backtesting.py INPUT.npz OUTPUT.json
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")

from backtesting import Strategy  # noqa: E402
from backtesting.lib import FractionalBacktest  # noqa: E402


def main(source: str, target: str) -> None:
    data = np.load(source)
    index = pd.to_datetime(data["time"], unit="ms")
    frame = pd.DataFrame(
        {
            "Open": data["open"],
            "High": data["high"],
            "Low": data["low"],
            "Close": data["close"],
            "Volume": data["close"],
        },
        index=index,
    )
    signals = data["signals"]

    class Given(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            # An indicator delays the first decision by its leading NaN: none here, every bar decides.
            self.signal = self.I(lambda: signals.astype(float), plot=False)

        def next(self) -> None:
            if self.signal[-1] > 0 and not self.position:
                self.buy()
            elif self.signal[-1] < 0 and self.position:
                self.position.close()

    run = FractionalBacktest(
        frame,
        Given,
        cash=float(data["cash"]),
        commission=float(data["fee_rate"]),
        exclusive_orders=False,
        finalize_trades=False,
        fractional_unit=1e-8,
    )
    stats = run.run()
    trades = stats["_trades"]
    result = {
        "equity": stats["_equity_curve"]["Equity"].tolist(),
        "entry_time": [int(t.value // 10**6) for t in pd.to_datetime(trades["EntryTime"]).dt.as_unit("ns")],
        "exit_time": [int(t.value // 10**6) for t in pd.to_datetime(trades["ExitTime"]).dt.as_unit("ns")],
        "drawdown": float(-stats["Max. Drawdown [%]"]),
    }
    with open(target, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
