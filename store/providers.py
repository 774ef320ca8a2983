"""Providers of language models. Their keys are stored encrypted and are never read back by a route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from database import Database, Model, Provider
from domain.errors import Conflict, NotFound
from store.secrets import Secrets


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """What may be shown of a provider. `has_key`: whether one is stored."""

    id: int
    name: str
    api_url: str
    models: tuple[str, ...]
    has_key: bool


def _info(row: Provider) -> ProviderInfo:
    return ProviderInfo(row.id, row.name, row.api_url, tuple(row.models), row.api_key_encrypted is not None)


class ProviderStore:
    """Rows of `providers`. Thread-safe."""

    def __init__(self, database: Database, secrets: Secrets) -> None:
        self._database = database
        self._secrets = secrets

    def list(self) -> list[ProviderInfo]:
        with self._database.read() as session:
            return [_info(row) for row in session.scalars(select(Provider).order_by(Provider.id))]

    def get(self, provider_id: int) -> ProviderInfo:
        with self._database.read() as session:
            return _info(_find(session, provider_id))

    def api_key(self, provider_id: int) -> str | None:
        """The key in clear, for the call itself."""
        with self._database.read() as session:
            encrypted = _find(session, provider_id).api_key_encrypted
        return None if encrypted is None else self._secrets.decrypt(encrypted)

    def create(self, values: Mapping[str, Any], now_ms: int) -> ProviderInfo:
        """`values`: name, api_url, api_key, models."""
        with self._database.write() as session:
            _check_name(session, values["name"])
            row = Provider(
                name=values["name"],
                api_url=values["api_url"],
                api_key_encrypted=self._encrypted(values.get("api_key")),
                models=list(values.get("models") or ()),
                created_ms=now_ms,
            )
            session.add(row)
            session.flush()
            return _info(row)

    def update(self, provider_id: int, values: Mapping[str, Any]) -> ProviderInfo:
        """Changes the values named; an `api_key` of None removes the stored one."""
        with self._database.write() as session:
            row = _find(session, provider_id)
            if "name" in values:
                _check_name(session, values["name"], but=provider_id)
                row.name = values["name"]
            if "api_url" in values:
                row.api_url = values["api_url"]
            if "models" in values:
                row.models = list(values["models"])
            if "api_key" in values:
                row.api_key_encrypted = self._encrypted(values["api_key"])
            session.flush()
            return _info(row)

    def delete(self, provider_id: int) -> None:
        with self._database.write() as session:
            row = _find(session, provider_id)
            user = session.scalars(select(Model.name).where(Model.provider_id == provider_id)).first()
            if user is not None:
                raise Conflict(f"the model {user} uses {row.name}; give it another provider first")
            session.delete(row)

    def _encrypted(self, key: str | None) -> str | None:
        return None if key is None else self._secrets.encrypt(key)


def _find(session: Session, provider_id: int) -> Provider:
    row = session.get(Provider, provider_id)
    if row is None:
        raise NotFound(f"there is no provider with the id {provider_id}")
    return row


def _check_name(session: Session, name: str, but: int | None = None) -> None:
    same = session.scalars(select(Provider.id).where(func.lower(Provider.name) == name.lower()))
    if any(found != but for found in same):
        raise Conflict(f"there already is a provider called {name}", field="name")
