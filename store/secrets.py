"""Secrets at rest: encrypted with a key that lies beside the database, never in it."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from domain.errors import Misconfigured

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_FILE = "secrets.key"


def load_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a key file; made once, readable by its owner only, also by two processes at once."""
    try:
        return path.read_bytes().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and never over another process's key
    finally:
        draft.unlink()
    return path.read_bytes().strip()


class Secrets:
    """Encrypts and decrypts texts with the key file in `data_dir`. Thread-safe."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / KEY_FILE
        self._fernet: Fernet | None = None

    def _cipher(self) -> Fernet:
        if self._fernet is None:
            from cryptography.fernet import Fernet

            try:
                self._fernet = Fernet(load_or_create(self._path, Fernet.generate_key))
            except ValueError as error:
                raise Misconfigured(f"{self._path} is not a key: put the right file back, or remove it "
                                    "and enter all exchange and provider keys anew") from error  # fmt: skip
        return self._fernet

    def encrypt(self, text: str) -> str:
        return self._cipher().encrypt(text.encode()).decode()

    def decrypt(self, token: str) -> str:
        """Misconfigured where the key file is not the one that encrypted it."""
        from cryptography.fernet import InvalidToken

        try:
            return self._cipher().decrypt(token.encode()).decode()
        except InvalidToken as error:
            raise Misconfigured(
                f"a stored key cannot be decrypted with {self._path}: put the right file back, or enter the key anew"
            ) from error

    @staticmethod
    def mask(text: str) -> str:
        """What may be shown of a secret: its last four characters, and nothing of a short one."""
        return f"…{text[-4:]}" if len(text) >= 12 else "…"
