"""The runner: what works beside the requests. One for each database, in the server's process alone."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

import structlog

from domain.errors import NotFound, Retryable
from domain.events import MODEL_CHANGED, Event
from domain.times import HOUR_MS, MINUTE_MS, floor_ms
from runtime.accounts import Busy
from runtime.clock import MarketClock, SystemClock, adopt_speed, keep_time
from runtime.event_log import publish_system
from runtime.first_start import offer_workspace
from runtime.retention import prune
from runtime.scheduler import Scheduler
from runtime.ticker import Prices, Ticker
from store.events import EventStore
from store.models import ModelConfig
from store.snapshots import snapshot_of
from store.uploads import sweep_uploads

if TYPE_CHECKING:
    from runtime.services import Services

log = structlog.get_logger(__name__)

SNAPSHOT_MS = 5 * MINUTE_MS
SNAPSHOT_LEAST_S = 1.0
# How often (real seconds) the table of models is read for what other processes changed, the accounts
# write down how far they are, and a process without the lock asks for it again.
FOLLOW_S = 3.0
CHECKPOINT_S = 5.0
TAKE_OVER_S = 1.0
# A model that failed is left alone this long, and the same complaint is published this seldom.
BACK_OFF_S = 5.0
REPEAT_S = 300.0
STOP_S = 1.0
DROP_WAIT_S = 0.2

State = Literal["running", "elsewhere", "stopped"]


class Runner:
    """Recovers the accounts, then runs scheduler and ticker until `stop()`.

    `state`: `running`; `elsewhere` where another process has this database (asked again every second: it
    takes over when that one ends), or where this one lost it with its connection; `stopped`. No thread of it
    dies silently: what fails is logged, published as a system event and tried again.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._models = services.models
        self._accounts = services.models.accounts
        self._prices = Prices(services.market, services.clock, services.bus, services.models.watch)
        self._events = EventStore(services.database)
        self._scheduler = Scheduler(services.clock)  # type: ignore[arg-type]
        self._ticker = Ticker(self._tick)
        self._known: Mapping[int, ModelConfig] = {}
        self._is_stale = threading.Event()
        self._stopping = threading.Event()
        self._mutex = threading.Lock()
        self._cycles: dict[int, int] = {}
        self._rest_until: dict[int, float] = {}
        self._said: dict[str, float] = {}
        self._followed_at = self._written_at = 0.0
        self._has_acquired = False
        self._unsubscribe: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._begin, name="runner", daemon=True)
        self.state: State = "stopped"

    @property
    def is_running(self) -> bool:
        return self.state == "running"

    # -- start and stop ---------------------------------------------------------------

    def start(self) -> None:
        """Returns at once; recovery goes on in a thread of its own while pages are served already."""
        self.state = "elsewhere"
        atexit.register(self.stop)
        self._thread.start()

    def stop(self) -> None:
        """Within two seconds. What it cuts off is found and finished by the next start."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        atexit.unregister(self.stop)
        self._unsubscribe()
        was_running = self.is_running
        self._thread.join(STOP_S)
        self._ticker.stop()
        self._scheduler.stop()
        self.state = "stopped"
        if was_running:
            self._write_down()
        if self._has_acquired:
            leave = self._accounts.drop_all if was_running else self._accounts.forget_all
            self._models.lock.release(partial(leave, DROP_WAIT_S))
        log.info("runner stopped")

    def _begin(self) -> None:
        try:
            if not self._take_lock():
                return
            made = self._recover_at_last()
            if self._stopping.is_set():
                return
            self._scheduler.start()
            self._ticker.start()
            for model_id in made:
                self._cycle(model_id)  # at once: a new workspace has something to show
        except Exception:
            self.state = "stopped"
            log.exception("the runner could not start")
            publish_system(self._services.bus, self._services.clock, "the scheduler could not start; see the log")

    def _take_lock(self) -> bool:
        """Waits for its turn; False where it was stopped first."""
        is_first = True
        while not self._models.lock.acquire():
            if is_first:
                log.warning("another process runs the accounts of this database: this one serves pages only")
                is_first = False
            if self._stopping.wait(TAKE_OVER_S):
                return False
        self._has_acquired = True
        self.state = "running"
        return True

    def _keeps_lock(self) -> bool:
        """Asked before anything is done with the accounts: a database server can lose a lock of ours."""
        lock = self._models.lock
        if self.is_running:
            if lock.is_held():
                return True
            self._step_aside()
        if self._stopping.is_set() or not lock.regain():
            return False
        log.warning("this process runs the accounts of this database again")
        self.state = "running"
        self._is_stale.set()
        return True

    def _step_aside(self) -> None:
        """Another process may run the accounts from now on: nothing that this one knows of them is written."""
        self.state = "elsewhere"
        log.warning("the lock of this database was lost with its connection: the accounts rest here")
        for model_id in self._known:
            self._scheduler.remove(f"model:{model_id}")
        self._known = {}
        self._accounts.forget_all()

    def _recover_at_last(self) -> list[int]:
        """As `_recover`; what cannot be read now (a database that is busy for long) may be in a while."""
        while not self._stopping.is_set():
            try:
                made = self._recover()
                if not self._stopping.is_set():
                    self.state = "running"
                return made
            except Exception as error:
                self.state = "stopped"  # nothing trades: nobody may be told that it does
                log.exception("the accounts could not be recovered")
                publish_system(self._services.bus, self._services.clock, f"the scheduler cannot start yet: {error}")
                self._unsubscribe()
            self._stopping.wait(BACK_OFF_S)
        return []

    def _recover(self) -> list[int]:
        """Reads everything back; returns the models that were made for a new workspace."""
        services = self._services
        if isinstance(services.clock, MarketClock):
            adopt_speed(services.clock, services.workspace, services.settings.simulated_speed)
        services.backtests.recover()
        if swept := sweep_uploads(services.settings.uploads_dir):
            log.info("uploads that were cut off are gone", count=swept)
        self._unsubscribe = services.bus.subscribe(MODEL_CHANGED, self._on_change)
        made = offer_workspace(services)
        self._follow()
        self._scheduler.every("snapshots", SNAPSHOT_MS, self._guarded, self._snapshot, least_real_s=SNAPSHOT_LEAST_S)
        self._scheduler.every("retention", HOUR_MS, self._guarded, self._prune, least_real_s=60.0)
        self._scheduler.every("clock", MINUTE_MS, self._guarded, self._keep_time, least_real_s=10.0)
        log.info("runner started", models=len(self._known))
        return made

    # -- following the models ---------------------------------------------------------

    def _on_change(self, _event: Event) -> None:
        self._is_stale.set()

    def _follow(self) -> None:
        """Makes jobs and accounts agree with the table of models, whoever changed it."""
        self._is_stale.clear()
        self._followed_at = time.monotonic()
        before = self._known
        market = self._services.market.workspace_market
        now = {c.id: c for c in self._models.models.load_all() if c.workspace_market == market}
        for model_id in {*before, *now}:
            old, new = before.get(model_id), now.get(model_id)
            if old == new:
                continue
            if old is not None:
                self._accounts.drop(model_id)
                self._rest_until.pop(model_id, None)
            self._schedule(model_id, old, new)
        self._known = now

    def _schedule(self, model_id: int, old: ModelConfig | None, new: ModelConfig | None) -> None:
        if new is None or not new.is_running:
            if old is not None and old.is_running:
                self._scheduler.remove(f"model:{model_id}")
        elif old is None or not old.is_running or old.interval_seconds != new.interval_seconds:
            self._scheduler.every(f"model:{model_id}", new.interval_ms, self._cycle, model_id)

    # -- cycles -----------------------------------------------------------------------

    def _cycle(self, model_id: int) -> None:
        """One step of one model; a job of the scheduler."""
        if self._stopping.is_set() or not self._is_awake(model_id):
            return
        if not (self.is_running and self._models.lock.is_held()):
            return  # the ticker steps aside
        with self._minding(model_id):
            with self._accounts.locked(model_id) as account:
                account.step()
            with self._mutex:
                self._cycles[model_id] = self._cycles.get(model_id, 0) + 1

    @contextmanager
    def _minding(self, model_id: int) -> Iterator[None]:
        """Catches what a model's step raises: one model's trouble is its own."""
        try:
            yield
        except Busy:
            return
        except Exception as error:  # noqa: BLE001 - the outermost edge of a cycle; logged in _complain
            if isinstance(error, NotFound) and not self._exists(model_id):
                return
            self._complain(model_id, error)

    def _exists(self, model_id: int) -> bool:
        """A model may be deleted while its job is on its way."""
        try:
            self._models.models.get(model_id)
        except NotFound:
            return False
        return True

    def _is_awake(self, model_id: int) -> bool:
        return time.monotonic() >= self._rest_until.get(model_id, 0.0)

    def _complain(self, model_id: int, error: Exception) -> None:
        """A model's step failed: said once in a while, tried again after a rest."""
        self._rest_until[model_id] = time.monotonic() + BACK_OFF_S
        config = self._known.get(model_id)
        name = config.name if config is not None else str(model_id)
        message = f"{name}: {error or type(error).__name__}"
        with self._mutex:
            now = time.monotonic()
            # Messages may name prices and times: what was said long ago is forgotten.
            self._said = {words: at for words, at in self._said.items() if now - at < REPEAT_S}
            if message in self._said:
                return
            self._said[message] = now
        if isinstance(error, Retryable):
            log.warning("a model's cycle has to wait", model_id=model_id, error=str(error))
        else:
            log.error("a model's cycle failed", model_id=model_id, exc_info=error)
        publish_system(self._services.bus, self._services.clock, message, model_id=model_id)

    # -- the ticker -------------------------------------------------------------------

    def _tick(self) -> None:
        if not self._keeps_lock():
            return
        now = time.monotonic()
        if self._is_stale.is_set() or now - self._followed_at > FOLLOW_S:
            self._follow()
        held: set[str] = set()
        for model_id in list(self._known):
            if self._stopping.is_set():
                return
            held |= self._settle(model_id)
        self._prices.push(held)
        if now - self._written_at > CHECKPOINT_S:
            self._written_at = now
            self._write_down()

    def _settle(self, model_id: int) -> set[str]:
        """The coins that a price means something to; a busy account is settling already."""
        if not self._is_awake(model_id):
            return set()
        with self._minding(model_id), self._accounts.locked(model_id, wait_s=0) as account:
            account.settle()
            return set(account.engine.involved())
        return set()

    def _write_down(self) -> None:
        """How far each account is, and the cycles counted so far."""
        for model_id in list(self._known):
            if self._accounts.peek(model_id) is not None:
                with self._minding(model_id), self._accounts.locked(model_id, wait_s=0) as account:
                    account.checkpoint()
        with self._mutex:
            counts, self._cycles = self._cycles, {}
        self._models.models.add_cycles(counts)

    # -- jobs -------------------------------------------------------------------------

    def _guarded(self, job: Callable[[], None]) -> None:
        """The outermost edge of a job: what fails is said, and tried again the next time."""
        try:
            job()
        except Exception as error:
            log.exception("a job failed", job=job.__name__)
            publish_system(self._services.bus, self._services.clock, f"{job.__name__.strip('_')}: {error}")

    def _snapshot(self) -> None:
        time_ms = floor_ms(self._services.clock.now_ms(), SNAPSHOT_MS)
        rows = []
        for model_id in list(self._known):
            account = self._accounts.peek(model_id)
            if account is not None:
                rows.append((model_id, snapshot_of(account.latest, time_ms)))
        self._models.snapshots.add(rows)

    def _prune(self) -> None:
        services = self._services
        prune(services.settings, self._models.models, self._models.snapshots, self._events, services.clock.now_ms())

    def _keep_time(self) -> None:
        clock = self._services.clock
        if isinstance(clock, MarketClock | SystemClock):
            keep_time(clock, self._services.workspace)
