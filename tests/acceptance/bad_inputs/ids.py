"""Ids of others, of nothing, and no ids at all, wherever one is read."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import NOT_FOUND, Case, Who, case

_PATHS: Final[dict[str, tuple[tuple[str, Any], ...]]] = {
    "key": (
        ("PUT /api/keys/{}", {"api_key": "<canary>"}),
        ("PATCH /api/keys/{}", {"label": "mine"}),
        ("DELETE /api/keys/{}", b""),
    ),
    "run": (
        ("GET /api/runs/{}", b""),
        ("GET /api/runs/{}/events", b""),
        ("GET /api/runs/{}/receipt", b""),
        ("POST /api/runs/{}/cancel", b""),
    ),
    "council": (
        ("GET /api/councils/{}", b""),
        ("GET /api/councils/{}/events", b""),
        ("GET /api/councils/{}/receipt", b""),
        ("POST /api/councils/{}/cancel", b""),
    ),
}
_ODD: Final = {
    "of nothing": "018f0000-0000-7000-8000-000000000000",
    "that is no id": "no-id-at-all",
    "with a NUL": "%00",
    "beyond measure": "a" * 5_000,
}
_FIRST: Final = {kind: paths[0] for kind, paths in _PATHS.items()}
_OTHERS: Final = (
    ("a run's id as a council's", "GET /api/councils/<own_run>"),
    ("a council's id as a run's", "GET /api/runs/<own_council>"),
    ("a key's id as a run's", "GET /api/runs/<own_key>/receipt"),
    ("a path that climbs", "GET /api/runs/..%2f..%2fadmin%2fusage"),
    ("two ids", "GET /api/runs/<own_run>,<foreign_run>"),
    ("a wildcard", "GET /api/runs/%25"),
    ("an id in SQL", "GET /api/runs/'%20OR%20'1'='1"),
    ("a model there is not", "GET /v1/models/openai/no-such-model"),
)
_DEDUCTIONS: Final = "POST /api/user/deduct-credits"

CASES: Final[tuple[Case, ...]] = (
    *(
        case(f"another user's {kind}, {path}", path.format(f"<foreign_{kind}>"), body, code=NOT_FOUND)
        for kind, paths in _PATHS.items()
        for path, body in paths
    ),
    *(
        case(f"a {kind} {name}", path.format(odd), body, code=NOT_FOUND)
        for kind, (path, body) in _FIRST.items()
        for name, odd in _ODD.items()
    ),
    *(case(name, call, code=NOT_FOUND) for name, call in _OTHERS),
    case("an administrator's no owner", "GET /api/runs/<foreign_run>", code=NOT_FOUND, who=Who.ADMIN),
    case("deducting for another's run", _DEDUCTIONS, {"run_id": "<foreign_run>"}, code=NOT_FOUND),
    case("deducting for no run", _DEDUCTIONS, {"run_id": "no-id"}),
    case("deducting for two runs", _DEDUCTIONS, {"run_id": "<own_run>", "runId": "<foreign_run>"}),
    case(
        "a platform key there is not", "PATCH /api/admin/platform-keys/no", {"state": "ready"}, code=NOT_FOUND
    ),
    case(
        "another's key as the platform's",
        "PATCH /api/admin/platform-keys/<foreign_key>",
        {"state": "ready"},
        code=NOT_FOUND,
    ),
    case(
        "a platform key beyond measure",
        "PATCH /api/admin/platform-keys/" + "k" * 200,
        {"state": "ready"},
        code=NOT_FOUND,
    ),
    case("a platform key that is to be out", "PATCH /api/admin/platform-keys/no", {"state": "out"}),
    case("keys of a service there is not", "POST /api/admin/keys/revoke", {"user_id": "u", "service": "no"}),
    case("a flow there is not", "PATCH /system/nodes/no_such_flow", {"report_only": True}, code=NOT_FOUND),
    case("a flow of another form", "PATCH /system/nodes/No%20Flow", {"report_only": True}, code=NOT_FOUND),
)
