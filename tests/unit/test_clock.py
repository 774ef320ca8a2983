"""Clocks never go back, and a workspace's market time survives what happens to its server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from database import Base, Database, engine_options
from domain.errors import InvalidValue
from domain.ports import Clock
from domain.times import to_ms
from runtime.clock import (
    ClockAnchor,
    MarketClock,
    SteppedClock,
    SystemClock,
    adopt_speed,
    keep_time,
    open_market_clock,
)
from store.workspace import Workspace

T0 = 1_795_000_000_000


class Wall:
    """A wall clock in somebody's hands; its monotonic side only goes forward."""

    def __init__(self, ms: int = T0) -> None:
        self.wall_ns = ms * 1_000_000
        self.monotonic_ns = 0

    def pass_ms(self, ms: float) -> None:
        self.wall_ns += int(ms * 1_000_000)
        self.monotonic_ns += int(ms * 1_000_000)

    def set_ms(self, ms: int) -> None:
        self.wall_ns = ms * 1_000_000

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.wall_ns, lambda: self.monotonic_ns)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    url = f"sqlite:///{tmp_path / 'curlew.db'}"
    engine = create_engine(url, **engine_options(url))
    Base.metadata.create_all(engine)
    yield Workspace(Database(engine))
    engine.dispose()


# -- the system's -------------------------------------------------------------------------


def test_the_system_clock_tells_the_time() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns() // 1_000_000
    now = clock.now_ms()
    assert before <= now <= time.time_ns() // 1_000_000
    assert clock.now().tzinfo is not None
    assert to_ms(clock.now()) >= now


def test_a_wall_set_back_does_not_turn_time_back() -> None:
    wall = Wall()
    clock = wall.clock()
    wall.pass_ms(5_000)
    assert clock.now_ms() == T0 + 5_000
    wall.set_ms(T0 - 3_600_000)
    assert clock.now_ms() == T0 + 5_000
    wall.pass_ms(2_000)
    assert clock.now_ms() == T0 + 7_000  # neither back nor standing still for an hour
    wall.set_ms(T0 + 90_000)
    assert clock.now_ms() == T0 + 90_000


@given(st.lists(st.tuples(st.integers(-10_000, 10_000), st.integers(0, 5_000))))
def test_the_system_clock_never_goes_back(moves: list[tuple[int, int]]) -> None:
    wall = Wall()
    clock = wall.clock()
    shown = [clock.now_ms()]
    for leap, elapsed in moves:
        wall.wall_ns += leap * 1_000_000
        wall.pass_ms(elapsed)
        shown.append(clock.now_ms())
        assert shown[-1] >= shown[-2]


# -- the market's -------------------------------------------------------------------------


def test_market_time_runs_at_its_speed() -> None:
    wall = Wall()
    clock = MarketClock(ClockAnchor(T0, 1_000_000, 60.0), wall.clock())
    assert clock.now_ms() == 1_000_000
    wall.pass_ms(1_500)
    assert clock.now_ms() == 1_090_000
    assert clock.speed == 60.0
    assert clock.real_delay_s(1_150_000) == pytest.approx(1.0)
    assert clock.real_delay_s(1_000_000) == 0.0
    assert to_ms(clock.now()) == 1_090_000


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_time_does_not_stand_still(speed: float) -> None:
    with pytest.raises(InvalidValue):
        MarketClock(ClockAnchor(T0, T0, speed), Wall().clock())


def test_time_goes_on_while_the_server_is_down(workspace: Workspace) -> None:
    wall = Wall()
    assert open_market_clock(workspace, 60.0, wall.clock()).now_ms() == T0
    wall.pass_ms(3_600_000)
    assert open_market_clock(workspace, 60.0, wall.clock()).now_ms() == T0 + 60 * 3_600_000


def test_another_speed_is_taken_up_without_a_leap(workspace: Workspace) -> None:
    wall = Wall()
    open_market_clock(workspace, 60.0, wall.clock())
    wall.pass_ms(10_000)
    shown = T0 + 600_000
    beside = open_market_clock(workspace, 1.0, wall.clock())
    assert (beside.now_ms(), beside.speed) == (shown, 60.0)  # a command follows the server's clock
    server = open_market_clock(workspace, 2.0, wall.clock())
    adopt_speed(server, workspace, 2.0)
    assert (server.now_ms(), server.speed) == (shown, 2.0)
    wall.pass_ms(10_000)
    assert server.now_ms() == shown + 20_000
    assert open_market_clock(workspace, 2.0, wall.clock()).now_ms() == shown + 20_000


def test_the_same_speed_moves_no_anchor(workspace: Workspace) -> None:
    wall = Wall()
    clock = open_market_clock(workspace, 60.0, wall.clock())
    wall.pass_ms(10_000)
    anchor = clock.anchor
    adopt_speed(clock, workspace, 60.0)
    assert clock.anchor == anchor


def test_market_time_does_not_go_back_across_a_restart(workspace: Workspace) -> None:
    wall = Wall()
    clock = open_market_clock(workspace, 1.0, wall.clock())
    wall.pass_ms(7_200_000)
    keep_time(clock, workspace)
    wall.set_ms(T0 + 3_600_000)  # an hour back while the server is down
    again = open_market_clock(workspace, 1.0, wall.clock())
    assert again.now_ms() == T0 + 7_200_000
    wall.pass_ms(1_000)
    assert again.now_ms() == T0 + 7_200_000  # as long as nobody may move the anchor
    adopt_speed(again, workspace, 1.0)
    wall.pass_ms(1_000)
    assert again.now_ms() == T0 + 7_201_000
    assert open_market_clock(workspace, 1.0, wall.clock()).now_ms() == T0 + 7_201_000


@given(st.lists(st.one_of(st.tuples(st.just("pass"), st.integers(0, 100_000)),
                          st.tuples(st.just("speed"), st.integers(1, 1000)),
                          st.tuples(st.just("wall"), st.integers(-100_000, 100_000)))))  # fmt: skip
def test_market_time_never_goes_back(moves: list[tuple[str, int]]) -> None:
    wall = Wall()
    clock = MarketClock(ClockAnchor(T0, T0, 1.0), wall.clock())
    shown = clock.now_ms()
    for what, value in moves:
        if what == "pass":
            wall.pass_ms(value)
        elif what == "speed":
            before = clock.now_ms()
            clock.change_speed(value)
            assert clock.now_ms() == before
        else:
            wall.wall_ns += value * 1_000_000
        now = clock.now_ms()
        assert now >= shown
        shown = now


def test_threads_see_one_time() -> None:
    clock = MarketClock(ClockAnchor(T0, T0, 1000.0))
    backwards = []

    def watch() -> None:
        last = 0
        for _ in range(2_000):
            now = clock.now_ms()
            if now < last:
                backwards.append((last, now))
            last = now

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not backwards


# -- stepped ------------------------------------------------------------------------------


def test_a_stepped_clock_stands_until_it_is_moved() -> None:
    clock = SteppedClock(T0)
    assert (clock.now_ms(), to_ms(clock.now())) == (T0, T0)
    clock.set(T0 + 5)
    assert clock.advance(10) == T0 + 15
    assert clock.real_delay_s(T0 + 1_015) == 1.0
    with pytest.raises(InvalidValue):
        clock.set(T0)
    with pytest.raises(InvalidValue):
        clock.advance(-1)
    assert clock.now_ms() == T0 + 15
