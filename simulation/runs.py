"""What a run is given, and the run that the kernel makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brokers.accounting import default_maintenance_rate
from domain.market import Bars, Instrument
from simulation.history import CoinData

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.market import FloatArray, IntArray
    from domain.trading import ClosedTrade
    from simulation.result import Direction, FillPrice, SimResult


@dataclass(frozen=True, slots=True)
class CoinTerms:
    """How one coin is traded: margin of an opening in percent of equity, leverage, maintenance."""

    size_percent: float
    leverage: float
    instrument: Instrument | None = None
    maintenance_rate: float | None = None

    @property
    def mmr(self) -> float:
        """Where there are no tiers: what was asked for, else 1 / (2 x maximum leverage), else 1 %."""
        if self.maintenance_rate is not None:
            return self.maintenance_rate
        known = self.instrument.max_leverage if self.instrument else None
        return default_maintenance_rate(known or 0.0)

    @property
    def tiers(self) -> tuple[Any, ...]:
        return self.instrument.tiers if self.instrument and self.maintenance_rate is None else ()


@dataclass(frozen=True, slots=True)
class RunTerms:
    """How a run trades, beyond its data and signals. Rates are fractions, percentages of the entry price."""

    coins: Mapping[str, CoinTerms]
    step_ms: int
    initial_capital: float
    fee_rate: float
    maker_fee_rate: float
    slippage_bps: float
    direction: Direction
    fill_price: FillPrice
    stop_loss_percent: float
    take_profit_percent: float
    trailing_stop_percent: float


def run_kernel(terms: RunTerms, data: Sequence[CoinData], signals: Callable[[Bars], Any]) -> SimResult:
    """Signals over each coin's bars (warm-up included), then the kernel over the traded span."""
    from simulation.kernel import simulate
    from simulation.result import CoinInput, SimInput

    coins = []
    for coin in data:
        how = terms.coins[coin.plan.coin]
        coins.append(
            CoinInput(
                coin=coin.plan.coin,
                bars=coin.span,
                signals=signals(coin.bars)[coin.first :],
                size_percent=how.size_percent,
                leverage=how.leverage,
                mmr=how.mmr,
                tiers=how.tiers,
                marks=coin.marks,
                funding_times=coin.funding.times,
                funding_rates=coin.funding.long_rates,
                short_funding_rates=coin.funding.short_rates,
                detail=coin.detail,
            )
        )
    return simulate(
        SimInput(
            coins=tuple(coins),
            step_ms=terms.step_ms,
            initial_capital=terms.initial_capital,
            fee_rate=terms.fee_rate,
            slippage_rate=terms.slippage_bps / 10_000.0,
            direction=terms.direction,
            fill_price=terms.fill_price,
            stop_loss_percent=terms.stop_loss_percent,
            take_profit_percent=terms.take_profit_percent,
            trailing_stop_percent=terms.trailing_stop_percent,
        )
    )


def result_of_steps(
    terms: RunTerms,
    times: IntArray,
    equity: FloatArray,
    cash: FloatArray,
    held_rows: int,
    total_funding: float,
    total_fees: float,
    trades: Sequence[ClosedTrade],
) -> SimResult:
    """The same result as a kernel's, of a run that was stepped: one value of `equity` and `cash` for each row."""
    import numpy as np

    from simulation.metrics import max_drawdown, trade_table
    from simulation.result import SimResult, day_marks

    day_times, day_rows = day_marks(times, terms.step_ms)
    changes = np.flatnonzero(np.diff(cash, prepend=np.nan) != 0)
    return SimResult(
        coins=tuple(dict.fromkeys(trade.coin for trade in trades)),
        times=times,
        step_ms=terms.step_ms,
        initial_capital=terms.initial_capital,
        final_value=float(equity[-1]),
        final_cash=float(cash[-1]),
        total_fees=total_fees,
        total_funding=total_funding,
        max_drawdown=max_drawdown(equity),
        held_rows=held_rows,
        trades=trade_table(list(trades)),
        day_times=day_times,
        day_equity=equity[day_rows],
        equity=equity,
        cash_rows=changes.astype(np.int64),
        cash_values=cash[changes],
    )
