"""Shapes of requests and answers that several resources share.

A resource declares its bodies as `Body`, its query strings as `Query` and its answers as `Answer`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Of any script (the exchanges list such coins), but nothing that a path or a file name could trip over.
COIN_SYMBOL_PATTERN = r"^[\w.\-]{1,20}$"
INT64_MAX = 2**63 - 1

Ms = Annotated[int, Field(ge=0, le=INT64_MAX, description="Milliseconds UTC")]
Id = Annotated[int, Field(ge=1, le=INT64_MAX)]
CoinSymbol = Annotated[str, StringConstraints(pattern=COIN_SYMBOL_PATTERN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"\S")]


class Body(BaseModel):
    """A JSON body: nothing is converted ("5" is not 5, true is not 1), unknown fields are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    def changes(self) -> dict[str, Any]:
        """The fields that the caller named, for a PUT."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Query(BaseModel):
    """A query string: texts are converted, unknown and repeated names are errors, empty ones count as absent."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Answer(BaseModel):
    """What a route answers with; documents it, costs nothing at run time."""

    model_config = ConfigDict(extra="forbid")


class Error(Answer):
    """What every error answers with."""

    error: str = Field(description="What is wrong and what to do")
    field: str | None = Field(None, description="The input that is wrong, e.g. coins.0")
