"""What a backtest is asked for: the contract's request, validated once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.errors import InvalidValue, field_path
from domain.market import parse_market
from domain.times import DAY_MS, END_OF_TIME_MS, INTERVALS_MS, interval_ms, to_ms

Percent = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
When = Annotated[int, Field(strict=True, ge=0, le=END_OF_TIME_MS)] | Annotated[str, Field(strict=True)]


class BacktestRequest(BaseModel):
    """Body of POST /api/backtest/run. Exactly one of strategy_id, strategy and model_id."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    strategy_id: int | None = Field(None, strict=True, ge=1, description="A stored strategy")
    strategy: dict[str, Any] | None = Field(None, description="A rule set")
    model_id: int | None = Field(None, strict=True, ge=1, description="A model: its trader, pool and risk limits")
    coins: list[Annotated[str, Field(strict=True, min_length=1, max_length=60)]] | None = Field(
        None, min_length=1, max_length=500, description="Coins, in the order in which they are served with cash"
    )
    start_date: When = Field(description="UTC day (YYYY-MM-DD) or the open of the first bar, ms UTC")
    end_date: When = Field(description="UTC day, inclusive, or the open of the last bar, ms UTC")
    interval: Annotated[str, Field(strict=True)] | None = Field(None, description="Candles traded on (1h)")
    venue: Annotated[str, Field(strict=True, min_length=1, max_length=20)] | None = None
    market: Annotated[str, Field(strict=True, min_length=1, max_length=12)] | None = None
    initial_capital: float | None = Field(None, strict=True, gt=0, le=1e15, allow_inf_nan=False)
    trade_fee_rate: float | None = Field(None, strict=True, ge=0, lt=1, allow_inf_nan=False)
    maker_fee_rate: float | None = Field(None, strict=True, ge=0, lt=1, allow_inf_nan=False)
    slippage_bps: float | None = Field(None, strict=True, ge=0, lt=10_000, allow_inf_nan=False)
    leverage: float | None = Field(None, strict=True, ge=1, le=1000, allow_inf_nan=False)
    position_size_percent: float | None = Field(None, strict=True, gt=0, le=100, allow_inf_nan=False)
    fill_price: Literal["next_open", "close", "mid"] = "next_open"
    stop_loss_percent: Percent | None = None
    take_profit_percent: float | None = Field(None, strict=True, ge=0, le=100_000, allow_inf_nan=False)
    trailing_stop_percent: Percent | None = None
    maintenance_margin_rate: float | None = Field(None, strict=True, ge=0, lt=1, allow_inf_nan=False)
    funding: Literal["auto", "none"] = "auto"
    detail_interval: Annotated[str, Field(strict=True)] | None = Field(
        None, description="Finer candles that tell what was touched first inside a bar"
    )


def parse_request(body: dict[str, Any]) -> BacktestRequest:
    """Validates shape and ranges; InvalidValue names the first field that is wrong."""
    try:
        request = BacktestRequest.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from error
    given = [name for name in ("strategy_id", "strategy", "model_id") if getattr(request, name) is not None]
    if len(given) != 1:
        raise InvalidValue(
            "give exactly one of strategy_id, strategy (a rule set) and model_id"
            + (f"; this names {' and '.join(given)}" if given else ""),
            field=given[1] if given else "strategy_id",
        )
    if request.coins is None and request.model_id is None:
        raise InvalidValue('coins is missing: name the coins to trade, such as ["BTC"]', field="coins")
    for name in ("interval", "detail_interval"):
        value = getattr(request, name)
        if value is not None and value not in INTERVALS_MS:
            raise InvalidValue(f"unknown interval '{value}'; use one of {', '.join(INTERVALS_MS)}", field=name)
    if request.market is not None and parse_market(request.market) == "perp-mark":
        raise InvalidValue("mark prices cannot be traded; use market spot or perp", field="market")
    return request


def invalid(error: ValidationError) -> InvalidValue:
    """The first complaint of pydantic in the contract's words."""
    first = error.errors()[0]
    field = field_path(first["loc"])
    text = {"missing": "is missing", "extra_forbidden": "is not a field of a backtest request"}.get(
        first["type"], first["msg"][:1].lower() + first["msg"][1:]
    )
    return InvalidValue(f"{field}: {text}", field=field)


def span_ms(request: BacktestRequest) -> tuple[int, int]:
    """[start, end) of bar opens in ms: days are whole UTC days, ms times are inclusive bar opens."""
    start = _time(request.start_date, "start_date")
    end = _time(request.end_date, "end_date")
    end += DAY_MS if isinstance(request.end_date, str) else 1
    if end <= start:
        raise InvalidValue("end_date lies before start_date", field="end_date")
    return start, end


def _time(value: int | str, field: str) -> int:
    if isinstance(value, int):
        return value
    try:
        day = datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidValue(
            f"{field} '{value}' is neither a UTC day (YYYY-MM-DD) nor a bar open in ms", field=field
        ) from None
    return to_ms(day)


def check_detail(interval: str, detail: str | None) -> None:
    """`detail` must be finer than `interval` and divide it."""
    if detail is None:
        return
    if interval_ms(detail) >= interval_ms(interval) or interval_ms(interval) % interval_ms(detail):
        raise InvalidValue(f"detail_interval must be finer than {interval} and divide it", field="detail_interval")
