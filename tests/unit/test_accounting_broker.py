"""The PaperBroker as a broker: orders, quotes, adds, the ledger, restarts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from brokers.accounting import EXIT_SIGNAL
from brokers.holding import Holding
from brokers.paper import AccountTerms, InstrumentTerms, MemoryJournal, PaperBroker
from domain.errors import Conflict, InvalidValue
from domain.market import MaintenanceTier
from domain.ports import Batch, Broker
from domain.trading import Action, FundingDue, Intent, OrderStatus, Position, PriceBar, Prices, Reason, Side

MINUTE = 60_000


def order(name: str, action: Action = Action.LONG, coin: str = "BTC", size: float = 50.0, **options: Any) -> Intent:
    return Intent(coin, action, name, size, **options)


def bar(time: int, *prices: float, coin: str = "BTC", **options: Any) -> PriceBar:
    """Four prices, or one for all."""
    return PriceBar(coin, time, *(prices if len(prices) == 4 else prices * 4), **options)


def step(time: int, *bars: PriceBar, funding: tuple[FundingDue, ...] = (), length: int = MINUTE) -> Prices:
    return Prices(time, time + length, {one.coin: one for one in bars}, funding)


def quote(time: int, bid: float, ask: float, coin: str = "BTC") -> Prices:
    price = (bid + ask) / 2
    return Prices(time, time, {coin: PriceBar(coin, time, price, price, price, price, bid=bid, ask=ask)})


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(keep_entries=True)


def account_of(journal: MemoryJournal, **options: Any) -> PaperBroker:
    terms = AccountTerms(**{"initial_capital": 1000.0, "coins": ("BTC", "ETH"), "fee_rate": 0.0, **options})
    return PaperBroker(terms, journal)


def test_it_is_a_broker(journal: MemoryJournal) -> None:
    broker: Broker = account_of(journal)
    broker.poll()
    assert broker.account().total_value == 1000
    assert {(e.ref, e.account, e.amount) for e in journal.entries} == {
        ("deposit", "cash", 1000),
        ("deposit", "capital", -1000),
    }


def test_an_order_waits_for_its_coin_s_first_price(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a"))
    assert journal.orders["a"].status is OrderStatus.SUBMITTED
    assert not broker.advance(step(0, bar(0, 10, coin="ETH"))).fills
    assert [one.intent.client_id for one in broker.open_orders()] == ["a"]
    batch = broker.advance(step(MINUTE, bar(MINUTE, 100)))
    assert [(f.client_id, f.sequence, f.opens, f.side, f.quantity, f.price, f.margin) for f in batch.fills] == [
        ("a", 0, True, Side.LONG, 5, 100, 500)
    ]
    assert journal.orders["a"].status is OrderStatus.FILLED
    assert broker.open_orders() == []
    assert broker.fills(MINUTE) == list(batch.fills)
    assert broker.fills(MINUTE + 1) == []


def test_a_known_client_id_is_a_no_op_even_after_a_restart(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a"))
    broker.submit(order("a"))
    broker.advance(step(0, bar(0, 100)))
    broker = PaperBroker(AccountTerms(1000, ("BTC",)), journal, broker.state())
    broker.submit(order("a"))
    assert broker.open_orders() == []


def test_a_cancelled_order_never_fills(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a"))
    broker.cancel("a")
    broker.cancel("nobody")
    assert journal.orders["a"].status is OrderStatus.CANCELLED
    assert not broker.advance(step(0, bar(0, 100))).fills


def test_quotes_fill_a_buy_at_the_ask_and_a_sell_at_the_bid(journal: MemoryJournal) -> None:
    broker = account_of(journal, slippage_bps=100)
    broker.submit(order("in"))
    assert broker.advance(quote(1000, 99, 100)).fills[0].price == 101
    broker.submit(order("out", Action.CLOSE))
    fill = broker.advance(quote(2000, 200, 201)).fills[0]
    assert (fill.price, fill.opens, fill.reason) == (198, False, Reason.SIGNAL)


def test_a_stop_reached_by_a_quote_sells_at_its_bid(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("in", stop_loss_percent=5))
    broker.advance(quote(1000, 100, 100))
    assert not broker.advance(quote(2000, 95, 95.5)).fills
    fill = broker.advance(quote(3000, 94, 95)).fills[0]
    assert (fill.price, fill.reason, fill.side) == (94, Reason.STOP_LOSS, Side.LONG)


def test_a_reversal_is_one_order_with_two_fills(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a", size=100))
    broker.advance(step(0, bar(0, 100)))
    broker.submit(order("b", Action.SHORT, size=100))
    batch = broker.advance(step(MINUTE, bar(MINUTE, 110)))
    assert [(f.client_id, f.sequence, f.opens, f.side, f.margin) for f in batch.fills] == [
        ("b", 0, False, Side.LONG, 1000),
        ("b", 1, True, Side.SHORT, 1100),
    ]
    assert [trade.pnl for trade in batch.trades] == [100]
    assert broker.account().positions["BTC"].opened_by == "b:1"


def test_an_add_averages_and_moves_its_levels(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a", size=20, leverage=2.0, stop_loss_percent=10, take_profit_percent=50))
    broker.advance(step(0, bar(0, 100)))
    broker.submit(order("b", size=10, leverage=8.0, stop_loss_percent=5))
    broker.advance(step(MINUTE, bar(MINUTE, 100)))
    position = broker.account().positions["BTC"]
    # 4 coins for 200, then 8 for 100 (10 % of an equity of 1000)
    assert (position.quantity, position.avg_price, position.margin, position.leverage) == (12, 100, 300, 4)
    assert (position.stop_loss, position.take_profit) == (95, 150)
    broker.submit(order("c", size=30, leverage=1.0))
    broker.advance(step(2 * MINUTE, bar(2 * MINUTE, 150)))
    position = broker.account().positions["BTC"]
    # target 150 is touched by this very open, so the add comes first and moves it: 1600 + 480 over 14.4... coins
    entry = (12 * 100 + 480 / 150 * 150) / (12 + 480 / 150)
    assert position.avg_price == pytest.approx(entry)
    assert position.stop_loss == pytest.approx(entry * 0.95)
    assert position.take_profit == pytest.approx(entry * 1.5)
    assert position.opened_by == "a:0"


def test_a_close_without_a_position_is_refused_in_words(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a", Action.CLOSE))
    batch = broker.advance(step(0, bar(0, 100)))
    assert [(one.status, one.reason) for one in batch.orders] == [
        (OrderStatus.REFUSED, "there was no position to close")
    ]


def test_what_cannot_be_afforded_is_refused_in_words(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a", size=100))
    broker.submit(order("b", coin="ETH", size=100))
    batch = broker.advance(step(0, bar(0, 100), bar(0, 10, coin="ETH")))
    assert [(one.intent.client_id, one.status) for one in batch.orders] == [
        ("a", OrderStatus.FILLED),
        ("b", OrderStatus.REFUSED),
    ]
    assert "notional" in journal.orders["b"].reason
    assert broker.account().cash == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("leverage", 0.0),
        ("leverage", float("inf")),
        ("position_size_percent", -1.0),
        ("stop_loss_percent", float("nan")),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_at_once(journal: MemoryJournal, field: str, value: float) -> None:
    broker = account_of(journal)
    with pytest.raises(InvalidValue) as caught:
        broker.submit(replace(order("a"), **{field: value}))
    assert caught.value.field == field
    assert journal.orders == {}


def test_a_reduction_releases_in_proportion_and_gives_one_trade() -> None:
    holding = Holding("BTC", 1.0, 10.0, 100.0, 200.0, 0, "a:0", entry_fees=8.0, funding=-4.0)
    part = holding.reduce(0.25, 120.0, 0.01, EXIT_SIGNAL, MINUTE)
    # a quarter: 2.5 coins, margin 50, profit 50, fee 3; of the entry fee 2, of the funding -1
    assert (part.quantity, part.margin, part.profit, part.fee, part.cash_back) == (2.5, 50, 50, 3, 97)
    assert (part.trade.fee, part.trade.funding, part.trade.pnl) == (5, -1, 50 - 5 - 1)
    assert part.trade.pnl_percent == pytest.approx(44 / 51 * 100)
    assert (holding.quantity, holding.margin, holding.entry_fees, holding.funding) == (7.5, 150, 6, -3)
    assert holding.entry == 100


def test_exits_have_orders_of_their_own_that_a_replay_cannot_double(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a", stop_loss_percent=5))
    broker.advance(step(0, bar(0, 100)))
    before = broker.state()
    batch = broker.advance(step(MINUTE, bar(MINUTE, 100, 101, 90, 91)))
    (exit_order,) = batch.orders
    assert (exit_order.status, exit_order.reason, len(exit_order.intent.client_id)) == (
        OrderStatus.FILLED,
        "stop_loss",
        32,
    )
    again = MemoryJournal()
    replay = PaperBroker(AccountTerms(1000, ("BTC",), 0.0), again, before)
    assert replay.advance(step(MINUTE, bar(MINUTE, 100, 101, 90, 91))) == batch
    replay = PaperBroker(AccountTerms(1000, ("BTC",), 0.0), journal, before)
    with pytest.raises(Conflict):
        replay.advance(step(MINUTE, bar(MINUTE, 100, 101, 90, 91)))
    # What it could not write down it must not go on from.
    with pytest.raises(Conflict, match="journal refused"):
        replay.submit(order("b"))


def test_a_broker_rebuilt_from_its_state_goes_on_exactly(journal: MemoryJournal) -> None:
    terms = AccountTerms(1000, ("BTC", "ETH"), 0.001, 5, instruments={"BTC": InstrumentTerms(max_leverage=20)})
    one = PaperBroker(terms, journal)
    one.submit(order("a", size=30, leverage=3.0, stop_loss_percent=7, trailing_stop_percent=4))
    one.submit(order("b", Action.SHORT, "ETH", 20))
    one.advance(step(0, bar(0, 100, 103, 99, 102), funding=(FundingDue("BTC", 30_000, 0.0001),)))
    other = PaperBroker(terms, MemoryJournal(), one.state())
    for time, price in ((1, 103.0), (2, 104.7), (3, 101.1), (4, 99.0)):
        prices = step(
            time * MINUTE, bar(time * MINUTE, price, price + 1, price - 1, price), bar(time * MINUTE, 10, coin="ETH")
        )
        assert one.advance(prices) == other.advance(prices)
    assert one.state() == other.state()
    assert one.account() == other.account()


def test_a_batch_holds_every_position_as_it_now_stands(journal: MemoryJournal) -> None:
    """A trailing stop that followed the price for hours must not be lost with the process."""
    broker = account_of(journal)
    broker.submit(order("a", trailing_stop_percent=5))
    broker.advance(step(0, bar(0, 100)))
    broker.advance(step(MINUTE, bar(MINUTE, 100, 140, 100, 139)))
    assert journal.positions["BTC"].best_price == 100
    broker.submit(order("b", coin="ETH", size=10))
    broker.advance(step(2 * MINUTE, bar(2 * MINUTE, 139), bar(2 * MINUTE, 10, coin="ETH")))
    assert journal.positions["BTC"].best_price == 140
    assert journal.positions == dict(broker.account().positions)
    assert journal.settled_ms == 3 * MINUTE


def test_quiet_steps_write_nothing(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a"))
    broker.advance(step(0, bar(0, 100)))
    settled = journal.settled_ms
    batch = broker.advance(step(MINUTE, bar(MINUTE, 101)))
    assert batch == Batch(settled_ms=2 * MINUTE)
    assert journal.settled_ms == settled
    assert broker.settled_ms == 2 * MINUTE
    assert broker.account().positions["BTC"].last_price == 101


def test_funding_is_posted_once_with_its_time(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a"))
    broker.advance(step(0, bar(0, 100)))
    due = FundingDue("BTC", MINUTE + 7, 0.01)
    broker.advance(step(MINUTE, bar(MINUTE, 200), funding=(due,)))
    legs = {(e.account, e.amount) for e in journal.entries if e.ref == f"funding:BTC:{MINUTE}"}
    assert legs == {("margin", -10), ("funding", 10)}
    account = broker.account()
    assert (account.total_funding, account.realized_pnl, account.positions["BTC"].margin) == (-10, -10, 490)
    with pytest.raises(Conflict):
        broker.advance(step(MINUTE, bar(MINUTE, 200), funding=(due,)))


def test_a_coin_without_a_bar_still_owes_its_funding(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a"))
    broker.advance(step(0, bar(0, 100, 120, 100, 120)))
    broker.advance(step(MINUTE, funding=(FundingDue("BTC", MINUTE, 0.01),)))
    # at the open of its last bar
    assert broker.account().total_funding == -5


def test_shorts_may_settle_at_another_rate(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a", Action.SHORT))
    broker.advance(step(0, bar(0, 100)))
    broker.advance(step(MINUTE, bar(MINUTE, 100), funding=(FundingDue("BTC", MINUTE, 0.01, 0.0),)))
    assert broker.account().total_funding == 0


def test_total_value_is_capital_and_what_was_made(journal: MemoryJournal) -> None:
    broker = account_of(journal, fee_rate=0.01)
    broker.submit(order("a", leverage=2.0))
    broker.advance(step(0, bar(0, 100, 106, 99, 105)))
    account = broker.account()
    # margin 500, notional 1000, fee 10: open fees count at once
    assert (account.cash, account.realized_pnl, account.unrealized_pnl) == (490, -10, 50)
    assert account.total_value == 1040
    (row,) = broker.open_trades()
    assert (row.reason, row.pnl, row.exit_price, row.exit_time_ms) == (Reason.OPEN, 40, 105, 0)
    assert row.pnl_percent == 8


def test_maintenance_rates_of_an_instrument() -> None:
    tiers = (MaintenanceTier(500, 0.01), MaintenanceTier(2000, 0.05, 20))
    assert InstrumentTerms().maintenance_rate(1000) == 0.01
    assert InstrumentTerms(max_leverage=50).maintenance_rate(1000) == 0.01
    assert InstrumentTerms(max_leverage=125).maintenance_rate(1000) == 0.004
    assert InstrumentTerms(125, tiers).maintenance_rate(1000) == pytest.approx(0.03)
    assert InstrumentTerms(125, tiers).maintenance_rate(1e6) == pytest.approx(0.05 - 20e-6)
    assert InstrumentTerms(125, tiers, mmr=0.2).maintenance_rate(1000) == 0.2


def test_edited_terms_hold_from_the_next_fill_on(journal: MemoryJournal) -> None:
    broker = account_of(journal)
    broker.submit(order("a"))
    broker.advance(step(0, bar(0, 100)))
    broker.change_terms(AccountTerms(1000, ("ETH",), fee_rate=0.02))
    broker.submit(order("b", Action.CLOSE))
    fill = broker.advance(step(MINUTE, bar(MINUTE, 100))).fills[0]
    assert fill.fee == 10


def test_a_position_from_before_keeps_its_exits_apart(journal: MemoryJournal) -> None:
    """A stored position without the name of its opening fill still gets exit ids of its own."""
    position = Position("BTC", Side.LONG, 5, 100, 500, opened_ms=7, stop_loss=95)
    ids = set()
    for opened in (7, 8):
        state = replace(account_of(MemoryJournal()).state(), cash=500, positions=(replace(position, opened_ms=opened),))
        broker = PaperBroker(AccountTerms(1000, ("BTC",)), MemoryJournal(), state)
        ids.add(broker.advance(step(MINUTE, bar(MINUTE, 90))).fills[0].client_id)
    assert len(ids) == 2
