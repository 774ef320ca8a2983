"""Secrets at rest and out of the logs."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog

from domain.errors import Misconfigured
from runtime.logs import HIDDEN, configure_logging, hide_secrets
from store.secrets import KEY_FILE, Secrets, load_or_create

KEY = "sk-0123456789abcdef"


def test_what_is_encrypted_comes_back(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    for text in (KEY, "", "schlüssel ✓", "x" * 10_000):
        token = secrets.encrypt(text)
        assert secrets.encrypt(text) != token
        assert text == "" or text not in token
        assert Secrets(tmp_path).decrypt(token) == text


def test_the_key_lies_in_a_file_of_its_owner(tmp_path: Path) -> None:
    Secrets(tmp_path / "data").encrypt(KEY)
    path = tmp_path / "data" / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == [KEY_FILE]


def test_another_key_decrypts_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    token = Secrets(tmp_path / "a").encrypt(KEY)
    with pytest.raises(Misconfigured, match="enter the key anew"):
        Secrets(tmp_path / "b").decrypt(token)
    with pytest.raises(Misconfigured):
        Secrets(tmp_path / "a").decrypt("nonsense")
    (tmp_path / "a" / KEY_FILE).write_text("not a key")
    with pytest.raises(Misconfigured, match="not a key"):
        Secrets(tmp_path / "a").decrypt(token)


def test_many_at_once_make_one_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    together = threading.Barrier(16)

    def make(number: int) -> bytes:
        together.wait()
        return load_or_create(path, lambda: f"key {number}".encode())

    with ThreadPoolExecutor(16) as crowd:
        found = set(crowd.map(make, range(16)))
    assert found == {path.read_bytes()}
    assert list(tmp_path.iterdir()) == [path]


def test_a_mask_shows_the_end_of_long_ones_only() -> None:
    assert Secrets.mask(KEY) == "…cdef"
    assert Secrets.mask("short") == "…"
    assert Secrets.mask("") == "…"


# -- logs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["key", "api_key", "API_KEY", "apiKey", "binance_api_secret", "okx_passphrase", "password", "admin_password",
     "token", "access_token", "Authorization", "cookie", "private_key", "signature", "passwd"],
)  # fmt: skip
def test_names_of_secrets_are_never_logged(name: str) -> None:
    event = {name: KEY, "nested": [{name: {"deep": KEY}}], "other": 5}
    assert KEY not in str(hide_secrets(None, "info", dict(event)))


def test_harmless_names_stay() -> None:
    event = {"event": "done", "tokens": 120, "series_key": "binance/spot/BTCUSDT/1h", "symbol": "KEYUSDT", "key_id": 4}
    assert hide_secrets(None, "info", dict(event)) == event


@pytest.mark.parametrize(
    "text",
    [f"GET https://api.example.com/v3/account?apiKey={KEY}&x=1", f"Authorization: Bearer {KEY}", f"api_key={KEY}",
     f'{{"secret": "{KEY}"}}', f"redis://user:{KEY}@localhost:6379/0", f"postgresql://curlew:{KEY}@db/curlew",
     f"signature={KEY}", f"headers {{'Authorization': 'Bearer {KEY}'}}", f"token {KEY}",
     f"OK-ACCESS-PASSPHRASE: {KEY}"],
)  # fmt: skip
def test_secrets_inside_of_texts_are_blanked(text: str) -> None:
    logged = str(hide_secrets(None, "info", {"event": text})["event"])
    assert KEY not in logged
    assert HIDDEN in logged


@pytest.fixture
def _loggers_as_before() -> Any:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_loggers_as_before")
def test_both_kinds_of_loggers_are_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    configure_logging("INFO")
    structlog.get_logger("ours").info("order sent", api_key=KEY, symbol="BTCUSDT")
    logging.getLogger("theirs").warning("calling %s", f"https://api.example.com?apiKey={KEY}")
    logging.getLogger("theirs").debug("quiet")
    try:
        int(f"api_key={KEY}")
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    said = capsys.readouterr().err
    assert KEY not in said
    assert said.count("order sent") == 1
    assert "BTCUSDT" in said
    assert "calling https://api.example.com" in said
    assert "Traceback" in said
    assert "quiet" not in said
