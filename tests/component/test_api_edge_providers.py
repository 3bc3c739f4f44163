"""Status routes: whose key a run would use now, and never a server's without consent."""

import pytest

from shared.kernel.errors import ServiceUnavailableError
from shared.kernel.names import KeyService
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CANARY = "sk-canary-0123456789abcdef"
PATHS = ["/openrouter/status", "/api/providers/status"]


@pytest.mark.parametrize(
    ("has_user_key", "has_server_key", "allowed", "source"),
    [
        (True, True, True, "user"),
        (True, True, False, "user"),
        (True, False, True, "user"),
        (False, True, True, "server"),
        (False, True, False, "none"),
        (False, False, True, "none"),
    ],
)
@pytest.mark.parametrize("service", ["openrouter", "gateway", "openai"])
async def test_the_source_of_the_next_runs_key(
    service: str, source: str, *, has_user_key: bool, has_server_key: bool, allowed: bool
) -> None:
    edge = Edge()
    if has_server_key:
        edge.key_vault.platform_services = (KeyService(service),)
    name = "allowGatewayFallback" if service == "gateway" else "allowPlatformFallback"
    other = "allowPlatformFallback" if service == "gateway" else "allowGatewayFallback"
    async with edge.client() as client:
        await client.post("/api/user-settings", json={name: allowed, other: not allowed})
        if has_user_key:
            body = {"service": service, "api_key": CANARY, "baseUrl": "https://llm.example/v1"}
            await client.post("/api/keys", json=body)
        status = (await client.get("/api/providers/status")).json()
        openrouter = (await client.get("/openrouter/status")).json()
    (found,) = [item for item in status["items"] if item["service"] == service]
    assert found == {
        "service": service,
        "key_source": source,
        "has_server_key": has_server_key,
        "has_user_key": has_user_key,
        "user_statuses": ["active"] if has_user_key else [],
    }
    assert status[name] is allowed
    if service == "openrouter":
        assert openrouter["key_source"] == source


async def test_openrouters_status() -> None:
    edge = Edge()
    edge.key_vault.platform_services = (KeyService.OPENROUTER,)
    edge.key_vault.cache_age_s = 1.5
    async with edge.client() as client:
        answer = await client.get("/openrouter/status")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "key_source": "server",
            "has_server_key": True,
            "has_user_key": False,
            "cache_age_s": 1.5,
            "cache_size": 3,
        },
    )


async def test_every_service_has_a_status() -> None:
    edge = Edge()
    async with edge.client() as client:
        status = (await client.get("/api/providers/status")).json()
    assert [item["service"] for item in status["items"]] == [service.value for service in KeyService]
    assert {item["key_source"] for item in status["items"]} == {"none"}
    assert (status["cache_age_s"], status["cache_size"]) == (None, 3)
    assert (status["allow_platform_fallback"], status["allowGatewayFallback"]) == (True, False)


async def test_a_user_sees_their_own_keys_only() -> None:
    edge = Edge()
    async with edge.client() as alice, edge.client("lk_bob") as bob:
        await alice.post("/api/keys", json={"service": "openrouter", "api_key": CANARY})
        mine = (await alice.get("/openrouter/status")).json()
        theirs = (await bob.get("/openrouter/status")).json()
    assert (mine["has_user_key"], theirs["has_user_key"]) == (True, False)


@pytest.mark.parametrize("path", PATHS)
async def test_without_key_vault_there_is_no_status(path: str) -> None:
    edge = Edge()
    edge.key_vault.error = ServiceUnavailableError(service="key_vault", retry_after_s=2)
    async with edge.client() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["service"]) == (503, "key_vault")


@pytest.mark.parametrize("path", PATHS)
async def test_where_it_is_open_nobody_needs_to_sign_in(path: str) -> None:
    async with Edge(is_open=True).client(None) as nobody, Edge().client(None) as stranger:
        assert (await nobody.get(path)).status_code == 200
        assert (await stranger.get(path)).status_code == 401
