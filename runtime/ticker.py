"""What happens between cycles: accounts settle on each price (stops, targets, waiting orders), pages see prices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import structlog

from data_aggregator import MarketData
from domain.errors import NotFound, Retryable
from domain.events import KLINE_UPDATE, PRICE_UPDATE, Event
from domain.market import Candle
from domain.ports import Clock, EventBus

log = structlog.get_logger(__name__)

TICK_S = 0.5
STOP_WAIT_S = 1.5


class Watch:
    """Which coins somebody looks at, by who looks. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prices: dict[str, frozenset[str]] = {}
        self._candles: dict[str, frozenset[str]] = {}

    def look(self, client: str, prices: Iterable[str], candles: Iterable[str] = ()) -> None:
        """Coins whose prices, and whose candle in progress, `client` wants pushed."""
        with self._lock:
            self._prices[client] = frozenset(prices)
            self._candles[client] = frozenset(candles)

    def drop(self, client: str) -> None:
        with self._lock:
            self._prices.pop(client, None)
            self._candles.pop(client, None)

    def coins(self) -> set[str]:
        with self._lock:
            return set().union(*self._prices.values(), *self._candles.values())

    def candles(self) -> set[str]:
        with self._lock:
            return set().union(*self._candles.values())


class Prices:
    """Pushes quotes and the minute in progress of the coins that somebody looks at."""

    def __init__(self, market: MarketData, clock: Clock, bus: EventBus, watch: Watch) -> None:
        self._market = market
        self._clock = clock
        self._bus = bus
        self._watch = watch
        self._sent: dict[str, tuple[float, int]] = {}

    def push(self, held: Iterable[str]) -> None:
        """Retryable where no source answers."""
        coins = sorted(self._watch.coins().union(held))
        if not coins:
            return
        for coin, quote in self._market.quotes(coins).items():
            seen = (quote.price, quote.venue_time_ms)
            if self._sent.get(coin) == seen:
                continue
            self._sent[coin] = seen
            data = {
                "symbol": coin,
                "price": quote.price,
                "bid": quote.bid,
                "ask": quote.ask,
                "change_percent_24h": quote.change_percent_24h,
                "source": quote.source,
                "timestamp": quote.venue_time_ms,
            }
            self._bus.publish(Event(PRICE_UPDATE, quote.received_ms, data))
        for coin in self._watch.candles():
            self._push_candle(coin)

    def _push_candle(self, coin: str) -> None:
        try:
            bars, sourced, forming = self._market.klines(coin, "1m", limit=1, forming=True)
        except NotFound:
            return
        latest = [(bars.candle(len(bars) - 1), True)] if len(bars) else []
        for candle, closed in [*latest, *([(forming, False)] if forming is not None else [])]:
            data = {"symbol": coin, "interval": "1m", "venue": sourced.source, "bar": _bar(candle, closed)}
            self._bus.publish(Event(KLINE_UPDATE, self._clock.now_ms(), data))


def _bar(candle: Candle, closed: bool) -> dict[str, float | bool]:
    names = ("open", "high", "low", "close", "volume")
    return {"timestamp": candle.time, **{name: getattr(candle, name) for name in names}, "closed": closed}


class Ticker:
    """A thread that calls `tick` every TICK_S until it is stopped; an error is logged and the next tick comes."""

    def __init__(self, tick: Callable[[], None], period_s: float = TICK_S) -> None:
        self._tick = tick
        self._period_s = period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(STOP_WAIT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._tick()
            except Retryable as error:
                log.warning("no prices", error=str(error))
            except Exception:
                log.exception("a tick failed")
            self._stopped.wait(max(0.01, self._period_s - (time.monotonic() - began)))
