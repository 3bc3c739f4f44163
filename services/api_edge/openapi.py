"""The API's description: what the framework knows, and what only we do: the answers, the refusals by code."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from services.api_edge.error_schemas import ERROR_SCHEMAS
from services.api_edge.problems import REFUSALS, Occasion, Problems, status
from shared.contracts.rpc import ErrorBody
from shared.kernel.errors import PlatformError

_Document = dict[str, Any]

_ALWAYS: Final = ("internal_error", "database_unavailable", "service_unavailable", "bus_unavailable")
_SIGNED_IN: Final = ("unauthenticated", "rate_limited")
_OF_RUNS: Final = (
    *("user_api_key_required", "user_api_key_invalid", "user_api_key_exhausted", "consent_required"),
    *("insufficient_credits", "price_unknown", "forbidden", "vault_unavailable", "system_key_exhausted"),
)
_OF_ANSWERS: Final = (
    "provider_rate_limited",
    "provider_error",
    "provider_timeout",
    "worker_lost",
    "run_cancelled",
)
_OF_KEYS: Final = ("user_api_key_required", "user_api_key_invalid", "vault_unavailable", "conflict")
_STARTS_RUNS: Final = (
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/api/runs",
    "/api/councils",
)
_STREAMED: Final = ("/v1/chat/completions", "/v1/responses")
_EVENT: Final[Mapping[str, Any]] = {
    "description": "One of the events; `data` is JSON.",
    "type": "object",
    "required": ["data"],
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
}


class Description:
    """`examples`: answers by method and path (`GET /api/keys`)."""

    def __init__(self, problems: Problems, examples: Mapping[str, Any]) -> None:
        self._problems = problems
        self._examples = examples

    def install(self, app: FastAPI) -> None:
        """Describe the application so from now on; once it has all its routes."""
        known, described = app.openapi, _Document()

        def openapi() -> _Document:
            if not described:
                described.update(self._completed(known()))
            return described

        app.openapi = openapi  # type: ignore[method-assign]

    def _completed(self, document: _Document) -> _Document:
        document.setdefault("components", {})["schemas"] = dict(ERROR_SCHEMAS)
        for path, item in document["paths"].items():
            for method, operation in item.items():
                example = self._examples.get(f"{method.upper()} {path}")
                answers = _answers(path, operation, example)
                operation["responses"] = {**answers, **self._refusals(path, method, operation)}
        return document

    def _refusals(self, path: str, method: str, operation: _Document) -> _Document:
        is_v1 = path.startswith("/v1/")
        by_status: dict[int, list[str]] = defaultdict(list)
        for code in dict.fromkeys(_codes(path, method, operation)):
            by_status[status(_error(code), is_v1=is_v1)].append(code)
        if "requestBody" in operation:
            by_status[HTTPStatus.REQUEST_ENTITY_TOO_LARGE].append("invalid_request")
        if is_v1 and path in _STARTS_RUNS:
            for number in REFUSALS:
                by_status[number].append("invalid_request")
        told = ((number, tuple(dict.fromkeys(codes))) for number, codes in sorted(by_status.items()))
        return {str(number): self._refusal(codes, is_v1=is_v1) for number, codes in told}

    def _refusal(self, codes: Sequence[str], *, is_v1: bool) -> _Document:
        schema, kind = ("OpenAIError", "json") if is_v1 else ("Problem", "problem+json")
        told = {
            "schema": {"$ref": f"#/components/schemas/{schema}"},
            "examples": {code: {"value": self._told(code, is_v1=is_v1)} for code in codes},
        }
        return {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {f"application/{kind}": told},
        }

    def _told(self, code: str, *, is_v1: bool) -> _Document:
        error, occasion = _error(code), Occasion(is_v1=is_v1, language="en")
        return self._problems.openai(error, occasion) if is_v1 else self._problems.problem(error, occasion)


def _error(code: str) -> PlatformError:
    return ErrorBody(code=code, message=code).to_error()


def _answers(path: str, operation: _Document, example: Any) -> _Document:
    [(number, answer)] = [item for item in operation["responses"].items() if item[0].startswith("2")]
    if number == str(HTTPStatus.NO_CONTENT):
        return {number: {"description": "Done."}}
    described = {"description": answer["description"], "content": _content(path, example)}
    if not path.endswith("/events"):
        return {number: described}
    return {number: described, str(HTTPStatus.NO_CONTENT): {"description": "There is no more to be told."}}


def _content(path: str, example: Any) -> _Document:
    events = {"text/event-stream": {"schema": _EVENT}}
    if path.endswith("/events"):
        return events
    whole: _Document = {"schema": {"type": "object"}, **({"example": example} if example is not None else {})}
    return {"application/json": whole, **(events if path in _STREAMED else {})}


def _codes(path: str, method: str, operation: _Document) -> Iterator[str]:
    """What an operation may refuse, from what it takes and what it is about."""
    yield from _ALWAYS
    if operation.get("security"):
        yield from _SIGNED_IN
    if "requestBody" in operation or operation.get("parameters"):
        yield "invalid_request"
    if "{" in path:
        yield "not_found"
    if path.startswith(("/api/", "/system/", "/settings/", "/openrouter/")):
        yield "forbidden"
    if method == "post" and path in _STARTS_RUNS:
        yield from _OF_RUNS
        yield "conflict"
    if path.startswith("/v1/") and method == "post":
        yield from _OF_ANSWERS
    if "/keys" in path or (path == "/settings/model" and method == "post"):
        yield from _OF_KEYS
    if path == "/api/user/deduct-credits" or "/admin/credits" in path:
        yield from ("insufficient_credits", "conflict", "not_found")
