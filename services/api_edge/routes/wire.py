"""Bodies in and out: strict about shapes, silent about values."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import orjson
from fastapi import Request
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from starlette.responses import Response

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.json_text import check_few, check_once
from shared.kernel.errors import NotFoundError
from shared.kernel.ids import is_user_id
from shared.kernel.lengths import IDEMPOTENCY_KEY_CHARS_MAX
from shared.kernel.money import format_credits
from shared.kernel.secret import holds_secret

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", re.ASCII)

InputT = TypeVar("InputT", bound="Input")


class Input(BaseModel):
    """The base of what clients send."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


def _is_user_id(value: str) -> str:
    if not is_user_id(value) or holds_secret(value):
        raise ValueError("not a user id")
    return value


def _is_shown(value: str) -> str:
    if not value.isprintable() or holds_secret(value):
        raise ValueError("not printable, or a key")
    return value


UserId = Annotated[str, AfterValidator(_is_user_id)]
"""Another user's id, named in a body."""

Shown = Annotated[str, AfterValidator(_is_shown)]
"""A text that is shown again: nothing unprintable, and no key that somebody put there."""


def _is_rfc3339(value: object) -> object:
    if not isinstance(value, str) or not _RFC3339.match(value):
        raise ValueError("no RFC 3339 time")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_is_rfc3339, json_schema_input_type=datetime)]
"""A time as RFC 3339 has it: no number of seconds."""

IdempotencyKey = Annotated[Shown, Field(min_length=1, max_length=IDEMPOTENCY_KEY_CHARS_MAX)]


def _is_digits(value: object) -> object:
    """Python reads `1_0` and ` 5.0`, too."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("no plain number")
    return value


PlainInt = Annotated[int, BeforeValidator(_is_digits)]
"""A number in a query: digits, and nothing else."""


class PageQuery(Input):
    """Which page of a list."""

    limit: PlainInt = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=500)


class SessionPageQuery(PageQuery):
    """Which page of a list, or of what belongs to one session."""

    session_id: Shown | None = None


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


async def read_body(request: Request, model: type[InputT]) -> InputT:
    """Raise BadInputError naming a field, never its value; and when a member comes twice."""
    text = await request.body()
    check_few(text)
    try:
        read = model.model_validate_json(text)
    except ValidationError as error:
        raise _refusal(error) from None
    check_once(text)
    return read


def read_query(request: Request, model: type[InputT]) -> InputT:
    """Raise BadInputError naming a parameter, never its value; also when one of ours comes twice."""
    for name in model.model_fields:
        if len(request.query_params.getlist(name)) > 1:
            raise BadInputError("repeated", name)
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise _refusal(error) from None


def read_id(text: str) -> UUID:
    """Raise NotFoundError for what is no id: there is nothing by that name."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFoundError("no such id") from None


def read_user_id(text: str) -> str:
    """Raise BadInputError for what is no user's id."""
    try:
        return _is_user_id(text)
    except ValueError:
        raise BadInputError("wrong_value", "user_id") from None


def money(name: str, micros: int | None) -> dict[str, Any]:
    """Write an amount twice: credits as a decimal string, and integer micros."""
    return {name: None if micros is None else format_credits(micros), f"{name}_micros": micros}


def moment(at: datetime) -> str:
    """Write a time as RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment_or_none(at: datetime | None) -> str | None:
    return None if at is None else moment(at)


def _refusal(error: ValidationError) -> BadInputError:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    kind, param = first["type"], ".".join(str(part) for part in first["loc"]) or None
    if kind == "json_invalid":
        return BadInputError("unreadable")
    if param is None:
        return BadInputError("not_an_object")
    if kind == "missing":
        return BadInputError("required", param)
    return BadInputError("wrong_type" if kind.endswith(("_type", "_parsing")) else "wrong_value", param)
