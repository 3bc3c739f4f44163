"""Ids in paths that are none, or nobody's."""

from typing import Final

from tests.acceptance.bad_inputs.case import NOBODYS, BadInput, Who

_IDS: Final[dict[str, str]] = {
    "a word": "no-id-at-all",
    "a number": "0",
    "a NUL": "%00",
    "without end": "a" * 5_000,
    "broken UTF-8": "%ff%fe",
    "climbing": "..%2F..%2Fapi%2Fkeys",
    "a line break": "x%0d%0aX-Evil:%201",
    "quotes": "%27%20or%20%271%27=%271",
}
ROUTES: Final[tuple[tuple[str, str, Who], ...]] = (
    ("GET", "/api/runs/{}", "user"),
    ("GET", "/api/runs/{}/events", "user"),
    ("POST", "/api/runs/{}/cancel", "user"),
    ("GET", "/api/runs/{}/receipt", "user"),
    ("GET", "/api/councils/{}", "user"),
    ("GET", "/api/councils/{}/events", "user"),
    ("POST", "/api/councils/{}/cancel", "user"),
    ("GET", "/api/councils/{}/receipt", "user"),
    ("DELETE", "/api/keys/{}", "user"),
)
_WITH_BODY: Final[tuple[tuple[str, str, Who], ...]] = (
    ("PUT", "/api/keys/", "user"),
    ("PATCH", "/api/keys/", "user"),
    ("PATCH", "/api/admin/platform-keys/", "admin"),
)
_BODIES: Final = {
    "PUT": b'{"api_key": "sk-sim-good-0001122334455"}',
    "PATCH": b'{"state": "ready", "label": "x"}',
}

CASES: Final = (
    *(
        BadInput(f"id {name}", method, path.format(value), 404, "not_found", who=who)
        for method, path, who in ROUTES
        for name, value in _IDS.items()
    ),
    *(
        BadInput("nobody's id", method, path.format(NOBODYS), 404, "not_found", who=who)
        for method, path, who in ROUTES
    ),
    *(
        BadInput("nobody's id", method, path + NOBODYS, 404, "not_found", body=_BODIES[method], who=who)
        for method, path, who in _WITH_BODY
    ),
    BadInput("unknown", "GET", "/v1/models/nobody/gpt", 404, "not_found"),
    BadInput("a NUL", "GET", "/v1/models/%00", 404, "not_found"),
    BadInput("without end", "GET", "/v1/models/" + "x" * 5_000, 404, "not_found"),
    BadInput("nowhere", "GET", "/nowhere", 404, "not_found"),
    BadInput("the wrong method", "GET", "/v1/chat/completions", 405, "invalid_request"),
    BadInput("the wrong method", "DELETE", "/api/credits", 405, "invalid_request"),
)
