"""The API's description: complete, shown without scripts of others, and kept by schemathesis."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = 8
LONG_EXAMPLES = int(os.environ.get("CURLEW_FUZZ_EXAMPLES", "250"))
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def whole_app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The real application, once for the module, with a coin group and a provider to play with."""
    from app import create_app
    from config import Settings

    folder = tmp_path_factory.mktemp("whole_app")
    app = create_app(Settings(data_dir=folder, market="simulated", host="127.0.0.1", _env_file=None))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


@pytest.fixture(scope="module")
def document(whole_app: Flask) -> dict[str, Any]:
    found: dict[str, Any] = whole_app.test_client().get("/api/openapi.json").json
    return found


def hammer(app: Flask, examples: int, under: str = "/api/") -> list[str]:
    """Sends every operation what schemathesis makes up for it; returns what was wrong with the answers."""
    api = schemathesis.openapi.from_wsgi("/api/openapi.json", app)
    hurried = hypothesis_settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)
    complaints = []
    for found in api.get_all_operations():
        operation = found.ok()
        if not operation.path.startswith(under):
            continue

        @hypothesis_settings(hurried, max_examples=examples)
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        try:
            send()
        except Exception as error:  # noqa: BLE001 - every kind of complaint is collected, with its operation
            complaints.append(f"{operation.label}: {error!r} {error}")
    return complaints


def test_no_input_breaks_a_route(whole_app: Flask) -> None:
    assert hammer(whole_app, EXAMPLES) == []


def test_a_route_that_breaks_is_found(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.web.conftest import build_small_app
    from web.api import tokens

    app = build_small_app(settings)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(tokens, "TokenStore", None)
    complaints = hammer(app, 5, "/api/tokens")
    broken = [complaint.split(":")[0] for complaint in complaints]
    assert sorted(broken) == ["DELETE /api/tokens/{token_id}", "GET /api/tokens", "POST /api/tokens"]


@pytest.mark.long
def test_no_input_breaks_a_route_long(whole_app: Flask) -> None:
    assert hammer(whole_app, LONG_EXAMPLES) == []


def test_every_route_of_the_api_is_described(whole_app: Flask, document: dict[str, Any]) -> None:
    described = {
        (re.sub(r"{(\w+)}", "<>", path), method.upper())
        for path, methods in document["paths"].items()
        for method in methods
    }
    routed = {
        (re.sub(r"<[^>]+>", "<>", rule.rule), method)
        for rule in whole_app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routed == described


def test_the_description_holds_together(document: dict[str, Any]) -> None:
    text = str(document)
    for name in set(re.findall(r"#/components/schemas/([\w.]+)", text)):
        assert name in document["components"]["schemas"], name
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    for operation in operations:
        assert operation["summary"]
        assert {"400", "401", "403", "404", "409", "415", "422", "429", "503"} <= set(operation["responses"])


def test_the_page_of_the_api_runs_no_script(whole_app: Flask, document: dict[str, Any]) -> None:
    page = whole_app.test_client().get("/api/docs").text
    assert "<script" not in page
    assert "style=" not in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page


def test_a_form_of_uploads_is_described_as_one() -> None:
    from web.openapi import _upload_body

    described = _upload_body({"files": "Files", "venue": "Where from"})
    properties = described["content"]["multipart/form-data"]["schema"]["properties"]
    assert properties["files"]["items"] == {"type": "string", "format": "binary"}
    assert properties["venue"]["type"] == "string"


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/docs"])
def test_the_description_is_served(open_web: FlaskClient, path: str) -> None:
    assert open_web.get(path).status_code == 200
