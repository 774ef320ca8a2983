"""/api/providers: language models' endpoints. A key is written, never read back."""

from __future__ import annotations

from typing import Annotated

from flask import Response
from pydantic import Field, StringConstraints

from llm.probe import check_url, probe
from runtime.services import services
from store.providers import ProviderInfo, ProviderStore
from web.answers import render, render_nothing
from web.auth import PROVIDER_TEST_LIMIT, limiter
from web.openapi import api_blueprint, documented
from web.parsing import body
from web.schemas import Answer, Body, Id, Name

bp = api_blueprint("providers")

Url = Annotated[
    str, StringConstraints(min_length=1, max_length=500), Field(description="OpenAI-compatible base address")
]
# Sent in a header: printable ASCII.
ApiKey = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[!-~]+$")]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ModelNames = Annotated[list[ModelName], Field(max_length=1000)]


class NewProvider(Body):
    name: Name
    api_url: Url
    api_key: ApiKey | None = None
    models: ModelNames = Field(default_factory=list)


class ProviderChanges(Body):
    """Fields that are left out stay as they are; an `api_key` of null removes the stored one."""

    name: Name = ""
    api_url: Url = ""
    api_key: ApiKey | None = None
    models: ModelNames = Field(default_factory=list)


class ProviderRow(Answer):
    id: Id
    name: str
    api_url: str
    models: list[str]
    has_key: bool


class TestResult(Answer):
    ok: bool
    latency_ms: int
    models: list[str]
    error: str | None


def _row(info: ProviderInfo) -> ProviderRow:
    return ProviderRow(id=info.id, name=info.name, api_url=info.api_url, models=list(info.models), has_key=info.has_key)


def _store() -> ProviderStore:
    return ProviderStore(services().database, services().secrets)


@bp.get("")
@documented(answer=list[ProviderRow])
def list_providers() -> Response:
    """All providers, without their keys."""
    return render([_row(info) for info in _store().list()])


@bp.post("")
@documented(body=NewProvider, answer=ProviderRow, status=201)
def create_provider() -> Response:
    """Adds a provider."""
    asked = body(NewProvider)
    check_url(asked.api_url)
    return render(_row(_store().create(asked.changes(), services().clock.now_ms())), 201)


@bp.put("/<int:provider_id>")
@documented(body=ProviderChanges, answer=ProviderRow)
def change_provider(provider_id: int) -> Response:
    """Changes the fields named."""
    changes = body(ProviderChanges).changes()
    if "api_url" in changes:
        check_url(changes["api_url"])
    return render(_row(_store().update(provider_id, changes)))


@bp.delete("/<int:provider_id>")
@documented(answer=None, status=204)
def delete_provider(provider_id: int) -> Response:
    """Removes a provider that no model uses."""
    _store().delete(provider_id)
    return render_nothing()


@bp.post("/<int:provider_id>/test")
@limiter.limit(PROVIDER_TEST_LIMIT)
@documented(answer=TestResult)
def test_provider(provider_id: int) -> Response:
    """Asks the provider for its models, for at most ten seconds."""
    store = _store()
    info = store.get(provider_id)
    found = probe(info.api_url, store.api_key(provider_id))
    return render(TestResult(ok=found.ok, latency_ms=found.latency_ms, models=list(found.models), error=found.error))
