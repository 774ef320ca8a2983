"""Programs' tokens. Only their SHA-256 is kept: 256 random bits need no slow hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from database import ApiToken, Database
from domain.errors import NotFound
from domain.times import MINUTE_MS

PREFIX = "curlew_"


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What may be shown of a token; times in ms UTC, `last_used` to the minute."""

    id: int
    name: str
    created: int
    last_used: int | None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class TokenStore:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> list[TokenInfo]:
        with self._database.read() as session:
            rows = session.scalars(select(ApiToken).order_by(ApiToken.id)).all()
        return [TokenInfo(row.id, row.name, row.created_ms, row.last_used_ms) for row in rows]

    def create(self, name: str, now_ms: int) -> tuple[str, TokenInfo]:
        """The token, to be shown this once, and its row."""
        token = PREFIX + secrets.token_urlsafe(32)
        with self._database.write() as session:
            row = ApiToken(name=name, token_hash=_hash(token), created_ms=now_ms)
            session.add(row)
            session.flush()
            return token, TokenInfo(row.id, row.name, row.created_ms, None)

    def delete(self, token_id: int) -> None:
        with self._database.write() as session:
            gone = session.execute(delete(ApiToken).where(ApiToken.id == token_id).returning(ApiToken.id)).first()
        if gone is None:
            raise NotFound(f"there is no token {token_id}")

    def is_valid(self, token: str, now_ms: int) -> bool:
        """Whether the token is one of ours; notes its use, at most once a minute."""
        # The lookup's duration tells about the hash at most, from which no token follows.
        with self._database.read() as session:
            row = session.scalars(select(ApiToken).where(ApiToken.token_hash == _hash(token))).one_or_none()
        if row is None:
            return False
        if row.last_used_ms is None or now_ms - row.last_used_ms >= MINUTE_MS:
            with self._database.write() as session:
                session.execute(update(ApiToken).where(ApiToken.id == row.id).values(last_used_ms=now_ms))
        return True
