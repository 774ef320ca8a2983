"""A server whose master process was killed ends by itself, whatever connections it still holds."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.conftest import _children

if TYPE_CHECKING:
    from tests.conftest import StartServer

WITHIN_S = 10.0


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_does_not_outlive_its_master(start_server: StartServer) -> None:
    from websockets.sync.client import connect

    server = start_server()
    (worker,) = _children(server.process.pid)
    with connect(f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"):
        os.kill(server.process.pid, 9)
        server.process.wait(WITHIN_S)
        deadline = time.monotonic() + WITHIN_S
        while is_alive(worker) and time.monotonic() < deadline:
            time.sleep(0.1)
        ended = not is_alive(worker)
    if not ended:
        os.kill(worker, 9)
    assert ended
    assert "the master process is gone" in server.log()
