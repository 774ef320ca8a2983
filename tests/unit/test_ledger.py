"""The books: all or nothing, nothing twice, and everything follows from fills and ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, func, select, update

from brokers.paper import AccountTerms, PaperBroker
from database import (
    AiDecision,
    Base,
    Database,
    Fill,
    LedgerEntry,
    Model,
    Order,
    Position,
    Strategy,
    Trade,
    engine_options,
)
from domain.errors import Conflict, NotFound
from domain.ports import Batch, Cycle
from domain.times import DAY_MS, floor_ms
from domain.trading import (
    Account,
    Action,
    Decision,
    FundingDue,
    Intent,
    OrderStatus,
    PriceBar,
    Prices,
    Result,
    Verdict,
)
from domain.trading import Fill as FillValue
from domain.trading import LedgerEntry as Entry
from domain.trading import Order as OrderValue
from runtime.accounts import engine_state, paper_state, stored_account
from store.audit import recompute
from store.ledger import LedgerStore, balanced
from store.models import ModelStore
from store.snapshots import SnapshotStore, snapshot_of
from trading_engine import EngineState

T0 = 1_704_110_400_000
CAPITAL = 10_000.0
COINS = ("BTC", "ETH")
TERMS = AccountTerms(CAPITAL, COINS, fee_rate=0.001, slippage_bps=3)


class Books:
    """A database with one empty account."""

    def __init__(self, path: Path) -> None:
        url = f"sqlite:///{path}"
        self.database = Database(create_engine(url, **engine_options(url)))
        Base.metadata.create_all(self.database.engine)
        self.ledger = LedgerStore(self.database)
        self.open_account()

    def open_account(self) -> None:
        """Goes on with another, empty account."""
        columns = {
            "name": f"m{self.count(Model)}", "kind": "hold", "workspace_market": "simulated", "interval": "1m",
            "interval_seconds": 60, "initial_capital": Decimal(10_000), "trade_fee_rate": 0.001, "risk": {},
        }  # fmt: skip
        self.model_id = ModelStore(self.database).create(columns, (), T0).id
        self.journal = self.ledger.journal(self.model_id)

    def broker(self) -> PaperBroker:
        """As a restart would build it."""
        return PaperBroker(TERMS, self.journal, paper_state(self.ledger.load_state(self.model_id)))

    def count(self, table: type[Base]) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def check(self) -> list[str]:
        return recompute(self.database, self.model_id, stale_before_ms=T0 + 10**9)

    def change(self, statement: object) -> None:
        with self.database.write() as session:
            session.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    made = Books(tmp_path / "books.db")
    yield made
    made.database.engine.dispose()


def order(number: int, coin: str = "BTC", action: Action = Action.LONG, **values: float) -> Intent:
    return Intent(coin, action, f"{number:032x}", **{"position_size_percent": 20.0, **values})


def price(second: int, due: tuple[FundingDue, ...] = (), **prices: float) -> Prices:
    time = T0 + second * 1000
    return Prices(time, time, {c: PriceBar(c, time, p, p, p, p) for c, p in prices.items()}, due)


def test_an_account_that_is_all_in_is_read_back_with_nothing_free_not_less(books: Books) -> None:
    books.journal.record(Batch(settled_ms=T0, entries=(
        Entry("in", T0, "cash", None, -CAPITAL - 1e-12), Entry("in", T0, "margin", "BTC", CAPITAL + 1e-12),
    )))  # fmt: skip
    assert books.ledger.load_state(books.model_id).cash == 0.0
    books.journal.record(Batch(settled_ms=T0, entries=(
        Entry("more", T0, "cash", None, -1.0), Entry("more", T0, "fees", None, 1.0),
    )))  # fmt: skip
    assert books.ledger.load_state(books.model_id).cash == pytest.approx(-1.0)  # a fault is not hidden


def traded(books: Books) -> PaperBroker:
    """One position open, one closed at a profit, one funding payment."""
    broker = books.broker()
    broker.submit(order(1, "BTC", leverage=3.0))
    broker.submit(order(2, "ETH"))
    broker.advance(price(1, BTC=100, ETH=50))
    broker.advance(price(2, (FundingDue("BTC", T0 + 2000, 0.0001),), BTC=101, ETH=51))
    broker.submit(order(3, "ETH", Action.CLOSE))
    broker.advance(price(3, BTC=102, ETH=55))
    return broker


# -- what is written is what is read ------------------------------------------------------


def test_a_new_account_has_its_deposit_and_nothing_else(books: Books) -> None:
    state = books.ledger.load_state(books.model_id)
    assert (state.cash, state.initial_capital, state.positions) == (CAPITAL, CAPITAL, ())
    assert books.check() == []


def test_an_account_is_read_back_as_it_was(books: Books) -> None:
    broker = traded(books)
    again = books.broker()
    # Positions bit for bit; the sums come from exact decimals, the broker's from floats.
    assert again.account().positions == broker.account().positions
    before, after = broker.account(), stored_account(books.ledger.load_state(books.model_id))
    for name in ("cash", "total_fees", "realized_pnl", "total_funding", "total_value"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-9)
    assert again.settled_ms == broker.settled_ms
    assert books.check() == []


def test_a_waiting_order_is_still_waiting_after_a_restart(books: Books) -> None:
    broker = books.broker()
    broker.submit(order(1))
    again = books.broker()
    assert [o.intent for o in again.open_orders()] == [order(1)]
    again.submit(order(1))
    batch = again.advance(price(1, BTC=100))
    assert len(batch.fills) == 1
    assert books.check() == []


def test_money_is_stored_as_text(books: Books) -> None:
    traded(books)
    with books.database.engine.connect() as connection:
        rows = connection.exec_driver_sql("select amount, typeof(amount) from ledger_entries").all()
    assert {kind for _, kind in rows} == {"text"}


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(
        st.tuples(
            st.sampled_from(COINS),
            st.sampled_from([Action.LONG, Action.SHORT, Action.CLOSE, Action.HOLD]),
            st.floats(0.5, 60), st.floats(1, 15), st.floats(0, 8), st.floats(-0.05, 0.05), st.floats(-0.003, 0.003),
        ),
        min_size=1, max_size=25,
    )
)  # fmt: skip
def test_whatever_happens_the_books_agree_with_themselves_and_the_broker(books: Books, data: list[tuple]) -> None:  # type: ignore[type-arg]
    books.open_account()
    broker = books.broker()
    prices = dict.fromkeys(COINS, 100.0)
    for step, (coin, action, size, leverage, stop, move, rate) in enumerate(data, 1):
        if action is not Action.HOLD:
            percents = {"position_size_percent": size, "leverage": leverage, "stop_loss_percent": stop}
            broker.submit(order(step + 1000 * books.model_id, coin, action, **percents))
        prices[coin] *= 1 + move
        broker.advance(price(step * 61, (FundingDue(coin, T0 + step * 61_000, rate),), **prices))
        if step % 5 == 0:
            broker = books.broker()
    account, stored = broker.account(), stored_account(books.ledger.load_state(books.model_id))
    assert stored.positions.keys() == account.positions.keys()
    assert stored.cash == pytest.approx(account.cash, abs=1e-8)
    assert stored.cash + stored.margin_used - CAPITAL == pytest.approx(stored.realized_pnl, abs=1e-8)
    assert books.check() == []


# -- all or nothing, nothing twice --------------------------------------------------------


def filled(number: int, sequence: int = 0) -> Batch:
    intent = order(number)
    fill = FillValue(intent.client_id, sequence, "BTC", T0, "long", True, 1.0, 100.0, 1.0, 100.0, 0.1, "signal")  # type: ignore[arg-type]
    ref = f"fill:{intent.client_id}:{sequence}"
    legs = (
        Entry(ref, T0, "cash", "BTC", -100.1),
        Entry(ref, T0, "margin", "BTC", 100.0),
        Entry(ref, T0, "fees", "BTC", 0.1),
    )
    return Batch(T0 + 5, (OrderValue(intent, OrderStatus.FILLED, T0, T0),), (_typed(fill),), legs)


def _typed(fill: FillValue) -> FillValue:
    from domain.trading import Reason, Side

    return replace(fill, side=Side(fill.side), reason=Reason(fill.reason))


def test_a_fill_is_stored_once(books: Books) -> None:
    books.journal.record(filled(1))
    with pytest.raises(Conflict):
        books.journal.record(filled(1))
    assert (books.count(Fill), books.count(LedgerEntry), books.count(Order)) == (1, 2 + 3, 1)


def test_a_refused_batch_leaves_nothing_behind(books: Books) -> None:
    books.journal.record(filled(1))
    both = filled(2)
    twice = Batch(T0 + 99, both.orders + filled(1).orders, both.fills + filled(1).fills, both.entries)
    with pytest.raises(Conflict):
        books.journal.record(twice)
    assert (books.count(Fill), books.count(Order)) == (1, 1)
    assert books.ledger.load_state(books.model_id).settled_ms == T0 + 5


def test_a_posting_is_stored_once(books: Books) -> None:
    legs = (Entry("funding:BTC:1", T0, "margin", "BTC", 1.0), Entry("funding:BTC:1", T0, "funding", "BTC", -1.0))
    books.journal.record(Batch(T0, entries=legs))
    with pytest.raises(Conflict):
        books.journal.record(Batch(T0, entries=legs))


def test_a_fill_without_its_order_is_refused(books: Books) -> None:
    with pytest.raises(Conflict):
        books.journal.record(replace(filled(1), orders=()))
    assert books.count(Fill) == 0


def test_time_never_goes_back(books: Books) -> None:
    books.journal.record(Batch(T0 + 100))
    books.journal.record(Batch(T0 + 50))
    assert books.ledger.load_state(books.model_id).settled_ms == T0 + 100


def test_two_accounts_may_have_the_same_postings(books: Books) -> None:
    other = ModelStore(books.database).create(
        {"name": "n", "kind": "hold", "workspace_market": "simulated", "interval": "1m", "interval_seconds": 60,
         "initial_capital": Decimal(5), "trade_fee_rate": 0.0, "risk": {}}, (), T0,
    )  # fmt: skip
    legs = (Entry("funding:BTC:1", T0, "margin", "BTC", 1.0), Entry("funding:BTC:1", T0, "funding", "BTC", -1.0))
    books.journal.record(Batch(T0, entries=legs))
    books.ledger.journal(other.id).record(Batch(T0, entries=legs))
    assert books.ledger.load_state(other.id).cash == 5.0


@given(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=4))
def test_the_legs_of_a_posting_sum_to_zero_to_the_last_digit(amounts: list[float]) -> None:
    legs = [Entry("x", T0, name, None, amount) for name, amount in zip(("cash", "margin", "fees", "funding"), amounts)]  # noqa: B905
    legs.append(Entry("x", T0, "realized", None, -sum(amounts)))
    exact = balanced(legs)
    assert sum(amount for _, amount in exact) == 0
    for entry, amount in exact:
        assert float(amount) == pytest.approx(entry.amount, abs=1e-5)
        if entry.account in ("cash", "margin"):
            assert amount == Decimal(repr(entry.amount)).quantize(Decimal("1e-12"))


def test_legs_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(Conflict):
        balanced([Entry("x", T0, "cash", None, 5.0), Entry("x", T0, "fees", None, -4.0)])


# -- decisions ----------------------------------------------------------------------------


def cycle(now_ms: int) -> Cycle:
    return Cycle(now_ms, settled_ms=now_ms, decided={"BTC": now_ms}, positions={})


def rows() -> list[tuple[Decision, tuple[Verdict, ...], Intent | None]]:
    passed = (Verdict("max_leverage", Result.CLAMP, 50.0, 20.0, "leverage: asked 50, allowed 20"),)
    refused = (Verdict("max_open_positions", Result.REFUSE, 4.0, 3.0, "too many"),)
    return [
        (Decision("BTC", Action.LONG, reasoning="because"), passed, order(1)),
        (Decision("ETH", Action.LONG), refused, None),
        (Decision("SOL", Action.HOLD), (), None),
    ]


def test_a_cycle_is_stored_whole(books: Books) -> None:
    planned = books.journal.decided(rows(), cycle(T0 + 7_000))
    assert [p is None for p in planned] == [False, True, True]
    assert planned[0] is not None
    with books.database.read() as session:
        decisions = session.scalars(select(AiDecision).order_by(AiDecision.id)).all()
        model = session.get(Model, books.model_id)
        stored = session.scalars(select(Order)).one()
    assert [(d.coin, d.action, d.executed) for d in decisions] == [
        ("BTC", "LONG", False), ("ETH", "LONG", False), ("SOL", "HOLD", False),
    ]  # fmt: skip
    assert decisions[0].verdicts == [
        {"rule": "max_leverage", "result": "clamp", "asked": 50.0, "allowed": 20.0,
         "reason": "leverage: asked 50, allowed 20"}
    ]  # fmt: skip
    assert planned[0].decision_id == decisions[0].id == stored.decision_id
    assert stored.status == "planned"
    assert model is not None
    assert (model.decided, model.settled_ms) == ({"BTC": T0 + 7_000}, T0 + 7_000)
    assert [o.intent for o in books.ledger.load_state(books.model_id).planned] == [planned[0]]


def test_a_cycle_that_cannot_be_stored_leaves_nothing(books: Books) -> None:
    books.journal.decided(rows(), cycle(T0))
    with pytest.raises(Exception, match="UNIQUE"):
        books.journal.decided(rows(), cycle(T0 + 60_000))
    assert (books.count(AiDecision), books.count(Order)) == (3, 1)
    assert books.ledger.load_state(books.model_id).decided == {"BTC": T0}


def test_a_cycle_remembers_the_bar_of_each_coin(books: Books) -> None:
    books.journal.decided([], cycle(T0 + 60_000))
    books.journal.decided([], replace(cycle(T0 + 61_000), decided={"ETH": T0, "BTC": T0}))
    assert books.ledger.load_state(books.model_id).decided == {"BTC": T0 + 60_000, "ETH": T0}
    assert ModelStore(books.database).facts(books.model_id)["decided_ms"] == T0 + 60_000


def test_a_cycle_stores_the_positions_that_follow_the_prices(books: Books) -> None:
    broker = books.broker()
    broker.submit(order(1, trailing_stop_percent=5.0))
    broker.advance(price(1, BTC=100))
    broker.advance(price(2, BTC=140))  # moves the best price and nothing that is journalled
    books.journal.decided([], replace(cycle(T0 + 3_000), positions=broker.account().positions))
    # The process dies here.
    state = books.ledger.load_state(books.model_id)
    assert (state.positions, state.settled_ms) == (broker.state().positions, T0 + 3_000)
    assert state.positions[0].best_price == 140
    (fill,) = books.broker().advance(price(4, BTC=132)).fills
    assert fill.reason == "trailing_stop"


def test_a_loss_that_was_won_back_is_still_known_after_a_restart(books: Books) -> None:
    broker = books.broker()
    broker.submit(order(1))
    broker.advance(price(1, BTC=100))
    broker.advance(price(2, BTC=80))
    books.journal.loss_touched(broker.account(), T0 + 2_000)
    lowest = broker.account().total_value
    broker.advance(price(3, BTC=100))
    state = restarted(books)
    assert state.day_low_equity == pytest.approx(lowest)
    assert (state.day_start_ms, state.opens_today, state.bought) == (floor_ms(T0, DAY_MS), 1, {"BTC"})


def test_a_loss_whose_fill_was_the_last_thing_stored_is_known_after_a_restart(books: Books) -> None:
    SnapshotStore(books.database).add([(books.model_id, snapshot_of(Account(CAPITAL, CAPITAL, {}), T0))])
    broker = books.broker()
    broker.submit(order(1, stop_loss_percent=5.0))
    broker.advance(price(1, BTC=100))
    assert broker.advance(price(2, BTC=80)).fills
    # The process dies before the engine looks at what is left.
    assert restarted(books).day_low_equity == pytest.approx(broker.account().total_value)


def restarted(books: Books) -> EngineState:
    models = ModelStore(books.database)
    desk = SimpleNamespace(snapshots=SnapshotStore(books.database), models=models)
    return engine_state(desk, models.get(books.model_id), books.ledger.load_state(books.model_id))  # type: ignore[arg-type]


def test_a_decision_counts_as_executed_when_its_order_has_filled(books: Books) -> None:
    (planned, *_rest) = books.journal.decided(rows(), cycle(T0))
    assert planned is not None
    broker = books.broker()
    broker.submit(planned)
    with books.database.read() as session:
        assert session.scalars(select(Order.status)).all() == ["submitted"]
        assert not any(session.scalars(select(AiDecision.executed)))
    broker.advance(price(1, BTC=100))
    with books.database.read() as session:
        assert session.scalars(select(Order.status)).all() == ["filled"]
        assert session.scalars(select(AiDecision.executed).order_by(AiDecision.id)).all() == [True, False, False]


# -- recompute ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (update(Position).values(quantity=Decimal(1)), "quantity of BTC"),
        (update(Position).values(side="short"), "side of BTC"),
        (update(Position).values(avg_price=Decimal(99)), "entry price of BTC"),
        (update(Position).values(margin=Decimal(1)), "margin of BTC"),
        (delete(Position), "position in BTC"),
        (delete(Trade), "trades of fill"),
        (delete(LedgerEntry).where(LedgerEntry.account == "fees"), "legs of fill"),
        (delete(LedgerEntry).where(LedgerEntry.ref.startswith("fill:"), LedgerEntry.coin == "ETH"), "posting of fill"),
        (update(LedgerEntry).where(LedgerEntry.account == "capital").values(amount=Decimal(-1)), "deposited capital"),
        (update(Order).values(status="submitted"), "order "),
        (update(Fill).where(Fill.opens).values(fee=Decimal(9)), "fee of fill"),
    ],
)  # fmt: skip
def test_recompute_names_what_was_tampered_with(books: Books, statement: object, named: str) -> None:
    traded(books)
    assert books.check() == []
    books.change(statement)
    assert any(named in line for line in books.check())


def test_recompute_finds_a_lost_fill(books: Books) -> None:
    traded(books)
    with books.database.write() as session:
        session.execute(delete(Trade))
        session.execute(delete(Fill).where(Fill.coin == "ETH", Fill.opens.is_(False)))
    found = books.check()
    assert any("fill behind" in line for line in found)
    assert any("position in ETH" in line for line in found)


def test_recompute_finds_an_order_that_nobody_sent(books: Books) -> None:
    books.journal.decided(rows(), cycle(T0))
    assert any("planned" in line for line in books.check())
    assert recompute(books.database, books.model_id, stale_before_ms=T0) == []


def test_an_unknown_account_is_not_found(books: Books) -> None:
    with pytest.raises(NotFound):
        books.ledger.load_state(99)
    with pytest.raises(NotFound):
        recompute(books.database, 99)


def test_deleting_a_model_leaves_nothing_of_it(books: Books) -> None:
    traded(books)
    books.journal.decided([(Decision("SOL", Action.LONG), (), order(9, "SOL"))], cycle(T0 + 9_000))
    ModelStore(books.database).delete(books.model_id)
    for table in (Fill, Order, LedgerEntry, Position, Trade, AiDecision, Model):
        assert books.count(table) == 0
    assert books.count(Strategy) == 0
