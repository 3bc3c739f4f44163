"""What every request for a run may say in its headers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import Request

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.flows import FLOW_HEADER
from services.api_edge.domain.idempotency import (
    IDEMPOTENCY_HEADER,
    Idempotency,
    idempotency_key,
    request_sha256,
)
from services.api_edge.domain.request_keys import KEY_HEADERS
from shared.kernel.lengths import IDEMPOTENCY_KEY_CHARS_MAX, SESSION_ID_CHARS_MAX
from shared.kernel.secret import holds_secret

SESSION_HEADER: Final = "Latchkey-Session"
TIMEOUT_HEADER: Final = "Latchkey-Timeout"
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?", re.ASCII)

_PARAMETERS: Final[list[dict[str, Any]]] = [
    {"in": "header", "name": FLOW_HEADER, "schema": {"type": "string", "default": "chat"}},
    {
        "in": "header",
        "name": IDEMPOTENCY_HEADER,
        "description": "The same key with the same request is the same run, also while it goes on.",
        "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARS_MAX},
    },
    {
        "in": "header",
        "name": SESSION_HEADER,
        "description": "Your name for runs that belong together; their cost is summed up.",
        "schema": {"type": "string", "minLength": 1, "maxLength": SESSION_ID_CHARS_MAX},
    },
    {
        "in": "header",
        "name": TIMEOUT_HEADER,
        "description": "Seconds after which the run is to end, when that is sooner than ours.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 999999},
    },
    *({"in": "header", "name": name, "schema": {"type": "string"}} for name in KEY_HEADERS),
]


MESSAGES: Final[dict[str, Any]] = {"type": "array", "items": {"type": "object"}, "minItems": 1}
NAMED: Final[dict[str, Any]] = {
    "flow": {"type": ["string", "null"]},
    "session_id": {"type": ["string", "null"], "minLength": 1, "maxLength": SESSION_ID_CHARS_MAX},
}
"""What a body may name that is a header elsewhere."""


def run_docs(required: Sequence[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a request for a run. What else is in its body goes to the provider as it is."""
    schema = {
        "type": "object",
        "required": list(required),
        "properties": dict(properties),
        "additionalProperties": True,
    }
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"requestBody": body, "parameters": _PARAMETERS}


def timeout_of(request: Request) -> float | None:
    """Return after how many seconds the client wants the run to end. Raises BadInputError for nonsense."""
    value = request.headers.get(TIMEOUT_HEADER)
    if value is None:
        return None
    if not _SECONDS.fullmatch(value.strip()) or not float(value):
        raise BadInputError("wrong_value", TIMEOUT_HEADER)
    return float(value)


async def idempotency_of(request: Request) -> Idempotency | None:
    """Raise BadInputError for a key that cannot be one."""
    key = idempotency_key(request.headers.get(IDEMPOTENCY_HEADER))
    if key is None:
        return None
    flow = request.headers.get(FLOW_HEADER)
    return Idempotency(key, request_sha256(request.url.path, flow, await request.body()))


def session_of(request: Request, named: str | None = None) -> str | None:
    """Return the session that a body names, else the header. Raises BadInputError when either can be none."""
    in_header = _session(request.headers.get(SESSION_HEADER), SESSION_HEADER)
    return _session(named, "session_id") or in_header


def _session(name: str | None, param: str) -> str | None:
    """Return a session's name as it is kept. Raises BadInputError for one that cannot be."""
    if name is None:
        return None
    name = name.strip()
    if not 0 < len(name) <= SESSION_ID_CHARS_MAX or not name.isprintable() or holds_secret(name):
        raise BadInputError("wrong_value", param)
    return name
