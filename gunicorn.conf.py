"""How gunicorn serves: one process, because the scheduler, the bus and the caches live in it.

`make run` execs gunicorn, so a signal reaches it. Address and port come from Settings, so that
`.env` counts as well as the environment.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from config import Settings, load_settings
from domain.errors import Misconfigured
from web.security import check_bind


def _read_settings() -> Settings:
    """What is wrong is said in one line, before there is a worker to fail."""
    try:
        settings = load_settings()
        check_bind(settings)
    except Misconfigured as error:
        raise SystemExit(f"curlew: {error}") from error
    return settings


_settings = _read_settings()

wsgi_app = "app:create_app()"
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
worker_class = "gthread"
workers = 1
# Each websocket holds a thread for life: MAX_CLIENTS of them, and room for plain requests.
threads = _settings.max_clients + 56
graceful_timeout = 3
# A worker that computes for long (a first numba compilation) is busy, not dead.
timeout = 120
keepalive = 5
loglevel = _settings.log_level.lower()
control_socket_disable = True

MASTER_WATCH_S = 0.5


def post_worker_init(worker: Any) -> None:
    """The scheduler runs where requests are served: never in the factory, never in a flask command."""
    from app import start_runtime

    start_runtime(worker.app.callable)
    threading.Thread(target=_leave_with_master, args=(worker,), name="master-watch", daemon=True).start()


def _leave_with_master(worker: Any) -> None:
    """Ends this worker when its master was killed.

    Open websockets would keep it alive for long, with the lock of the accounts and no way to reach it. Nothing
    is lost by ending at once: the next start is a recovery anyway.
    """
    while os.getppid() == worker.ppid:
        time.sleep(MASTER_WATCH_S)
    worker.log.warning("the master process is gone: this worker ends")
    os._exit(1)
