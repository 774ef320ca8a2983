"""/api/account: the exchange accounts, when keys are set."""

from __future__ import annotations

from typing import Any, NoReturn

from flask import Response
from flask_babel import gettext as _

from domain.errors import Conflict, NoSource
from runtime.services import services
from web.openapi import api_blueprint, documented
from web.schemas import Answer

bp = api_blueprint("account")


class ExchangeAccount(Answer):
    venue: str
    balances: list[dict[str, Any]]


class ExchangePositions(Answer):
    venue: str
    positions: list[dict[str, Any]]


def _refuse() -> NoReturn:
    """Says what is missing: a key, or the venue that would use it."""
    settings = services().settings
    keys = (settings.binance_api_key, settings.okx_api_key, settings.hyperliquid_private_key)
    if not any(key.get_secret_value() for key in keys):
        raise Conflict(_("No exchange keys are set; add BINANCE_API_KEY, OKX_API_KEY or HYPERLIQUID_PRIVATE_KEY."))
    raise NoSource(_("Exchange accounts are not part of this version yet; models trade on paper."))


@bp.get("/balance")
@documented(answer=list[ExchangeAccount])
def balance() -> Response:
    """Balances of the exchange accounts."""
    _refuse()


@bp.get("/positions")
@documented(answer=list[ExchangePositions])
def positions() -> Response:
    """Open positions of the exchange accounts."""
    _refuse()
