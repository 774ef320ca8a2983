"""`flask` commands as somebody types them: beside any server, with their errors in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def flask(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATA_DIR": str(folder / "data"), "MARKET": "simulated", **settings}
    return subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_command_listens_nowhere_and_needs_no_password(tmp_path: Path) -> None:
    done = flask(tmp_path, "candles", "list", "--json", HOST="0.0.0.0", ADMIN_PASSWORD="")  # noqa: S104
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [("sesame", "Could not parse"), ("mysql+sesame://x:hunter2@y/z", "sesame"),
     ("postgresql+asyncpg://x:hunter2@y/z", "pip install asyncpg")],
)  # fmt: skip
def test_a_database_that_cannot_be_opened_is_told_in_words(tmp_path: Path, url: str, words: str) -> None:
    done = flask(tmp_path, "candles", "list", DATABASE_URL=url)
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert words in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named_without_its_value(tmp_path: Path) -> None:
    done = flask(tmp_path, "candles", "list", SIMULATED_SPEED="sesame")
    assert done.returncode == 1
    assert "SIMULATED_SPEED" in done.stderr
    assert "Traceback" not in done.stderr
    assert "sesame" not in done.stderr
