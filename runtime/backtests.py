"""Backtests in the background: started, watched, cancelled, kept, and marked where they were cut off."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import structlog

from backtesting import Backtester
from database import Backtest
from domain.errors import Cancelled, Conflict, CurlewError
from domain.events import BACKTEST_PROGRESS, Event
from domain.ports import Clock, EventBus
from simulation.outcome import Outcome, Plan
from simulation.report import TRADE_ROWS, csv_lines
from store.backtests import ENDED, TRADE_FIELDS, BacktestStore

log = structlog.get_logger(__name__)

WORKERS = 2
# A progress that moved by less than this is not worth a write.
PROGRESS_STEP = 0.02
LISTED_RUNS = 500


class _Run:
    """What the threads share about one run of this process."""

    def __init__(self, run_id: int, plan: Plan) -> None:
        self.run_id = run_id
        self.plan = plan
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        self.progress = 0.0


class BacktestService:
    """Runs at most WORKERS backtests at a time, the rest wait in order.

    Threads start with the first run and are daemons: a server that stops does not wait for them; what
    they leave is marked `interrupted` by `recover()` of the next server. `clock` is the wall clock: a run
    is work of this machine, whatever time its market has.
    """

    def __init__(self, store: BacktestStore, backtester: Backtester, bus: EventBus, clock: Clock) -> None:
        self._store = store
        self.backtester = backtester
        self._bus = bus
        self._clock = clock
        self._waiting: queue.SimpleQueue[_Run] = queue.SimpleQueue()
        self._runs: dict[int, _Run] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def recover(self) -> None:
        """Called by the one server that runs this database, as it begins to.

        It takes requests already, and may have served pages for long beside the server that it follows: runs of
        this process go on.
        """
        with self._lock:  # a row and its run are made together in start()
            ids = self._store.interrupt_unfinished(self._clock.now_ms(), but=set(self._runs))
        if ids:
            log.warning("backtests_interrupted", ids=ids)

    def start(self, body: dict[str, Any]) -> dict[str, Any]:
        """Validates the request (InvalidValue, NotFound), stores the run and queues it."""
        plan = self.backtester.prepare(body)
        with self._lock:
            run_id = self._store.create(plan.title, body, self._clock.now_ms())
            run = self._runs[run_id] = _Run(run_id, plan)
            while len(self._threads) < WORKERS:
                thread = threading.Thread(target=self._work, name=f"backtest-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._waiting.put(run)
        return self._started(run_id, "queued")

    def restart(self, run_id: int) -> dict[str, Any]:
        """A new run with the request of an ended one."""
        row = self._store.load(run_id)
        if row.status not in ENDED:
            raise Conflict(f"backtest {run_id} is still {row.status}: cancel it first, or wait for it")
        return self.start(row.request)

    def wait(self, run_id: int, timeout_s: float) -> bool:
        """Whether the run ended within `timeout_s`."""
        run = self._runs.get(run_id)
        return run is None or run.ended.wait(timeout_s)

    def list_runs(self) -> list[dict[str, Any]]:
        """Newest first, each with its summary and without the rest of its report."""
        return [self._describe(row, *heads) for row, *heads in self._store.load_recent(LISTED_RUNS)]

    def get(self, run_id: int) -> dict[str, Any]:
        """One run with its whole report; trades beyond TRADE_ROWS are in trades.csv only."""
        row = self._store.load(run_id)
        report = row.report
        answer = self._describe(row, report["settings"] if report else None, None)
        answer.pop("summary")
        answer["report"] = None
        if report is not None:
            trades = self._store.load_trades(run_id, TRADE_ROWS)
            answer["report"] = {**report, "trades": trades}
        return answer

    def head(self, run_id: int) -> dict[str, Any]:
        """As `get`, without the report: for a page that reads that by itself."""
        row, *heads = self._store.load_head(run_id)
        head = self._describe(row, *heads)
        head.pop("summary")
        return head

    def cancel_or_remove(self, run_id: int) -> None:
        """Cancels what has not ended; removes what has, with its files."""
        row = self._store.load(run_id)
        run = self._runs.get(run_id)
        if row.status in ENDED or run is None:
            self._store.remove(run_id)
            return
        run.cancelled.set()
        # One that still waits ends here; one that runs notices within a second and says so itself.
        if self._store.update(run_id, only_if=("queued",), status="cancelled", finished_ms=self._clock.now_ms()):
            self._finish(run, "cancelled")

    def trades_csv(self, run_id: int) -> Iterator[str]:
        self._store.load(run_id)
        rows = self._store.iter_trades(run_id)
        return csv_lines(TRADE_FIELDS, ([row[name] for name in TRADE_FIELDS] for row in rows))

    def equity_csv(self, run_id: int) -> Iterator[str]:
        times, values, cash = self._store.load_equity(run_id)
        rows = zip(times.tolist(), values.tolist(), cash.tolist(), strict=True)
        fields = ("timestamp", "value", "cash", "positions_value")
        return csv_lines(fields, ((time, value, free, value - free) for time, value, free in rows))

    # -- the worker's side ------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            run = self._waiting.get()
            if run.cancelled.is_set():
                continue
            try:
                self._execute(run)
            except Exception:
                # The thread's outermost edge: it must serve the next run, and this one must not look alive.
                log.exception("backtest_crashed", id=run.run_id)
                self._give_up(run)

    def _execute(self, run: _Run) -> None:
        if not self._store.update(run.run_id, only_if=("queued",), status="running", started_ms=self._clock.now_ms()):
            self._finish(run, "cancelled")
            return
        self._announce(run, "running")
        try:
            outcome = self.backtester.run(run.plan, lambda done: self._progress(run, done), run.cancelled.is_set)
            self._keep(run, outcome)
        except Cancelled:
            self._fail(run, "cancelled", None)
        except CurlewError as error:
            self._fail(run, "failed", str(error))

    def _keep(self, run: _Run, outcome: Outcome) -> None:
        self._store.save_trades(run.run_id, outcome.trades)
        self._store.save_equity(run.run_id, outcome.times, outcome.values, outcome.cash)
        if run.cancelled.is_set():
            raise Cancelled("cancelled while its result was being stored")
        done = self._clock.now_ms()
        self._store.update(
            run.run_id, only_if=("running",), status="done", progress=1.0, report=outcome.report, finished_ms=done
        )
        run.progress = 1.0
        self._finish(run, "done")

    def _fail(self, run: _Run, status: str, error: str | None) -> None:
        self._store.discard_trades(run.run_id)
        self._store.update(run.run_id, status=status, error=error, finished_ms=self._clock.now_ms())
        self._finish(run, status)

    def _give_up(self, run: _Run) -> None:
        try:
            self._fail(run, "failed", "The run ended with an internal error; the server's log has it.")
        except Exception:
            # Not even that could be stored: the next start marks the run, those who wait need not.
            log.exception("backtest_not_marked", id=run.run_id)
            self._finish(run, "failed")

    def _finish(self, run: _Run, status: str) -> None:
        with self._lock:
            self._runs.pop(run.run_id, None)
        run.ended.set()
        self._announce(run, status)

    def _progress(self, run: _Run, done: float) -> None:
        if done - run.progress >= PROGRESS_STEP:
            run.progress = done
            self._store.update(run.run_id, only_if=("running",), progress=done)
            self._announce(run, "running")

    def _announce(self, run: _Run, status: str) -> None:
        data = {"id": run.run_id, "status": status, "progress": run.progress}
        self._bus.publish(Event(BACKTEST_PROGRESS, self._clock.now_ms(), data))

    def _started(self, run_id: int, status: str) -> dict[str, Any]:
        return {"id": run_id, "status": status, "url": f"/api/backtests/{run_id}"}

    def _describe(
        self, row: Backtest, settings: dict[str, Any] | None, summary: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {
            "id": row.id,
            "name": row.name,
            "status": row.status,
            "progress": row.progress,
            "error": row.error,
            "created": row.created_ms,
            "started": row.started_ms,
            "finished": row.finished_ms,
            "request": row.request,
            "settings": settings,
            "summary": summary,
            "url": f"/backtest/{row.id}",
        }
