"""/api/tokens: the tokens of programs, for servers with ADMIN_PASSWORD."""

from __future__ import annotations

from flask import Response

from runtime.services import services
from store.tokens import TokenInfo, TokenStore
from web.answers import render, render_nothing
from web.openapi import api_blueprint, documented
from web.parsing import body
from web.schemas import Answer, Body, Id, Ms, Name

bp = api_blueprint("tokens")


class NewToken(Body):
    name: Name


class TokenRow(Answer):
    id: Id
    name: str
    created: Ms
    last_used: Ms | None


class MadeToken(TokenRow):
    """`token` is shown this once; only its hash is kept."""

    token: str


def _row(info: TokenInfo) -> TokenRow:
    return TokenRow(id=info.id, name=info.name, created=info.created, last_used=info.last_used)


@bp.get("")
@documented(answer=list[TokenRow])
def list_tokens() -> Response:
    """All tokens, without their secret part."""
    return render([_row(info) for info in TokenStore(services().database).list()])


@bp.post("")
@documented(body=NewToken, answer=MadeToken, status=201)
def create_token() -> Response:
    """Makes a token, to be sent as `Authorization: Bearer TOKEN`."""
    asked = body(NewToken)
    token, info = TokenStore(services().database).create(asked.name, services().clock.now_ms())
    return render(MadeToken(**_row(info).model_dump(), token=token), 201)


@bp.delete("/<int:token_id>")
@documented(answer=None, status=204)
def delete_token(token_id: int) -> Response:
    """Ends a token."""
    TokenStore(services().database).delete(token_id)
    return render_nothing()
