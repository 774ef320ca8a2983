"""A server to be killed: imports once, then forks a fresh server for each `start` on its standard input.

Not a test. `python -m tests.integration.crash_server DATA_DIR`; each line "start" is answered by "PID PORT". The
forked child is the whole application over DATA_DIR with scheduler and ticker, serving HTTP on a thread each.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def _serve(folder: Path, answer: int) -> None:
    from werkzeug.serving import make_server

    from app import create_app, start_runtime
    from config import Settings

    settings = Settings(
        data_dir=folder, market="simulated", simulated_speed=float(os.environ["CRASH_SPEED"]), log_level="WARNING"
    )
    app = create_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    start_runtime(app)
    os.write(answer, f"{server.server_port}\n".encode())
    os.close(answer)
    server.serve_forever()


def _warm() -> None:
    """What every child needs and none should compute again: imports, and the compiled indicator loop."""
    import flask_socketio  # noqa: F401

    import app  # noqa: F401 - imported for its imports
    from strategies.signals import compile_ruleset
    from tests.fakes.market import flat_bars
    from tests.fakes.workspace import BUSY_RULES

    bars = flat_bars(["BTC"], "1m", 10**12, count=50).bars("BTC", "1m", 50, 10**12)
    compile_ruleset(BUSY_RULES).signals(bars)


def main() -> None:
    folder = Path(sys.argv[1])
    _warm()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.strip() != "start":
            break
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _serve(folder, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answers:
            port = answers.readline().strip()
        sys.stdout.write(f"{child} {port}\n")
        sys.stdout.flush()
        # The test kills it; whoever forked it has to bury it.
        os.waitpid(child, 0)
        sys.stdout.write("gone\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
