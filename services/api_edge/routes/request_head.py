"""What a request's head must not leave open: which of two values is meant, or which text."""

from collections import Counter
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.flows import FLOW_HEADER
from services.api_edge.domain.idempotency import IDEMPOTENCY_HEADER
from services.api_edge.domain.request_keys import KEY_HEADERS
from services.api_edge.routes.run_asking import SESSION_HEADER, TIMEOUT_HEADER
from services.api_edge.routes.run_events import LAST_EVENT_ID

_ONCE: Final = {
    name.lower().encode(): name
    for name in (
        "Authorization",
        FLOW_HEADER,
        IDEMPOTENCY_HEADER,
        SESSION_HEADER,
        TIMEOUT_HEADER,
        LAST_EVENT_ID,
        *KEY_HEADERS,
    )
}


def check_head(scope: Scope) -> None:
    """Raise BadInputError for a header of ours that comes twice, and for an address that is no UTF-8.

    A proxy before us may heed the other one of two (RFC 9110 §5.3); what stands in for bytes that are no text
    would make one name of many.
    """
    for name, count in Counter(name for name, _ in scope["headers"] if name in _ONCE).items():
        if count > 1:
            raise BadInputError("repeated", _ONCE[name])
    for part in (scope.get("raw_path") or b"", scope["query_string"]):
        if b"%" in part and not _is_text(unquote_to_bytes(part)):
            raise BadInputError("not_text")


def _is_text(decoded: bytes) -> bool:
    try:
        decoded.decode()
    except UnicodeDecodeError:
        return False
    return True
