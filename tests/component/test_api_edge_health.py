"""Health, readiness and the pages about the API."""

import pytest

from shared.kernel.errors import BusUnavailableError
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component


async def _is_away() -> bool:
    return False


async def _cannot_be_seen() -> bool:
    raise BusUnavailableError


async def test_alive_and_ready() -> None:
    async with Edge().client(None) as client:
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["status"], ready.json()["missing"]) == (200, "ready", [])


@pytest.mark.parametrize("part", ["rabbitmq", "vault", "postgres", "key_vault", "inference", "billing"])
async def test_a_missing_part_is_named(part: str) -> None:
    edge = Edge()
    edge.probes[part] = _is_away
    async with edge.client(None) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, [part])
    assert answer.json()["parts"][part] == "missing"
    assert "retry-after" in answer.headers


async def test_what_is_behind_a_missing_bus_is_unknown() -> None:
    edge = Edge()
    edge.probes["rabbitmq"] = _is_away
    for part in ("key_vault", "inference", "billing"):
        edge.probes[part] = _cannot_be_seen
    async with edge.client(None) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["rabbitmq"])
    assert answer.json()["parts"]["inference"] == "unknown"


async def test_the_docs_need_no_internet() -> None:
    async with Edge().client(None) as client:
        page = (await client.get("/docs")).text
        script = await client.get("/static-offline-docs/swagger-ui-bundle.js")
        style = await client.get("/static-offline-docs/swagger-ui.css")
    assert "https://" not in page
    assert script.status_code == style.status_code == 200


async def test_the_api_describes_itself() -> None:
    async with Edge().client(None) as client:
        described = (await client.get("/openapi.json")).json()
    operations = {f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item}
    assert operations == {
        "POST /v1/chat/completions",
        "POST /v1/responses",
        "POST /v1/embeddings",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "GET /api/models",
        "GET /api/models/pinned",
        "PUT /api/models/pinned",
        "GET /api/model-settings",
        "POST /settings/model",
        "DELETE /settings/model",
        "POST /api/keys",
        "GET /api/keys",
        "DELETE /api/keys/{credential_id}",
        "PUT /api/keys/{credential_id}",
        "PATCH /api/keys/{credential_id}",
        "POST /api/keys/validate",
        "GET /api/user-settings",
        "POST /api/user-settings",
        "GET /openrouter/status",
        "GET /api/providers/status",
        "GET /api/admin/platform-keys",
        "PATCH /api/admin/platform-keys/{credential_id}",
        "POST /api/admin/keys/revoke",
        "POST /api/admin/keys/rewrap",
        "GET /system/nodes",
        "PATCH /system/nodes/{task_name}",
        "GET /api/credits",
        "GET /api/credits/statement",
        "POST /api/user/deduct-credits",
        "GET /api/admin/credits/{user_id}",
        "GET /api/admin/credits/{user_id}/statement",
        "POST /api/admin/credits/grants",
        "POST /api/admin/credits/adjustments",
        "GET /api/admin/prices",
        "GET /api/admin/prices/{model}",
        "PUT /api/admin/prices/{model}",
        "DELETE /api/admin/prices/{model}",
        "GET /api/usage",
        "GET /api/admin/usage",
        "POST /api/councils",
        "GET /api/councils",
        "GET /api/councils/{council_id}",
        "GET /api/councils/{council_id}/events",
        "POST /api/councils/{council_id}/cancel",
        "GET /api/councils/{council_id}/receipt",
        "POST /api/runs",
        "GET /api/runs",
        "GET /api/runs/{run_id}",
        "GET /api/runs/{run_id}/events",
        "POST /api/runs/{run_id}/cancel",
        "GET /api/runs/{run_id}/receipt",
        "GET /healthz",
        "GET /readyz",
    }
    grant = described["paths"]["/api/admin/credits/grants"]["post"]
    schema = grant["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["required"]) == {"user_id", "credits", "idempotency_key"}
    assert {"HTTPBearer": []} in described["paths"]["/v1/chat/completions"]["post"]["security"]
    assert "$ref" not in str(
        [operation.get("requestBody") for item in described["paths"].values() for operation in item.values()]
    )
