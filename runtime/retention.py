"""What is thrown away, and when: old decisions without an order, old events, the finer snapshots of old days."""

from __future__ import annotations

import structlog

from config import Settings
from domain.times import DAY_MS
from store.events import EventStore
from store.models import ModelStore
from store.snapshots import SnapshotStore

log = structlog.get_logger(__name__)


def prune(settings: Settings, models: ModelStore, snapshots: SnapshotStore, events: EventStore, now_ms: int) -> None:
    """Orders, fills, ledger and trades are kept for ever. A setting of 0 keeps everything it speaks of."""
    gone = {"decisions": 0, "events": 0, "snapshots": 0}
    if settings.decision_retention_days:
        before = now_ms - settings.decision_retention_days * DAY_MS
        gone["decisions"] = models.prune_decisions(before)
        gone["events"] = events.prune(before)
    if settings.snapshot_retention_days:
        gone["snapshots"] = snapshots.thin(now_ms - settings.snapshot_retention_days * DAY_MS)
    if any(gone.values()):
        log.info("retention", **gone)
