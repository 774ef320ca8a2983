"""Jobs at UTC multiples of the market's clock, on APScheduler."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from domain.times import floor_ms

log = structlog.get_logger(__name__)

THREADS = 4
# Fires this much after the multiple, so that the clock surely shows it.
AFTER_S = 0.005


class PacedClock(Protocol):
    """A clock that can be waited for."""

    @property
    def speed(self) -> float: ...

    def now_ms(self) -> int: ...

    def real_delay_s(self, time_ms: int) -> float: ...


class DaemonPool:
    """As much of an executor as APScheduler needs: daemon threads, at most `threads` at work.

    concurrent.futures closes its own pools before `atexit` gets to speak, so that a server that stops
    would find its scheduler without threads and log an error for each job.
    """

    def __init__(self, threads: int) -> None:
        self._slots = threading.Semaphore(threads)
        self._is_open = True

    def submit(self, work: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            with self._slots:
                if not self._is_open:
                    future.cancel()
                    return
                try:
                    future.set_result(work(*args, **options))
                except BaseException as error:  # noqa: BLE001 - the outermost edge of a job; APScheduler logs it
                    future.set_exception(error)

        threading.Thread(target=run, name="job", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Runs that have not begun are dropped."""
        self._is_open = False


class DaemonExecutor(BasePoolExecutor):
    """APScheduler's executor on such threads."""

    def __init__(self, threads: int) -> None:
        super().__init__(DaemonPool(threads))


class MarketTrigger(BaseTrigger):
    """Fires at UTC multiples of `step_ms` of the market's time.

    Keeps no state, because APScheduler asks more than once for the same run. Where the market runs so
    fast that multiples come closer than `least_real_s`, some are left out.
    """

    def __init__(self, clock: PacedClock, step_ms: int, least_real_s: float = 0.0) -> None:
        self._clock = clock
        self._step_ms = step_ms
        self._least_real_s = least_real_s

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        step = self._step_ms * max(1, math.ceil(self._least_real_s * 1000 * self._clock.speed / self._step_ms))
        due = floor_ms(self._clock.now_ms(), self._step_ms) + step
        return now + timedelta(seconds=self._clock.real_delay_s(due) + AFTER_S)


class Scheduler:
    """APScheduler with our rules: a job never overlaps itself, missed runs become one, none is too late to run."""

    def __init__(self, clock: PacedClock) -> None:
        # A cycle that is still at work when the next is due is no news.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._clock = clock
        self._scheduler = BackgroundScheduler(
            executors={"default": DaemonExecutor(THREADS)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
            daemon=True,
        )
        self._lock = threading.Lock()

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Takes no new runs; a run in progress goes on to its end."""
        with self._lock:
            if self._scheduler.running:
                self._scheduler.shutdown(wait=False)

    def every(self, name: str, step_ms: int, job: Callable[..., None], *args: Any, least_real_s: float = 0.0) -> None:
        """Adds the job, or gives the one of that name its new interval."""
        trigger = MarketTrigger(self._clock, step_ms, least_real_s)
        self._scheduler.add_job(job, trigger, args, id=name, replace_existing=True)

    def remove(self, name: str) -> None:
        try:
            self._scheduler.remove_job(name)
        except JobLookupError:
            log.debug("no such job", name=name)

    def names(self) -> list[str]:
        return [job.id for job in self._scheduler.get_jobs()]
