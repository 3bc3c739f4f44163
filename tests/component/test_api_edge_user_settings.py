"""`/api/user-settings`: consent is asked for strictly and told whole."""

from typing import Any

import pytest

from shared.kernel.errors import DatabaseUnavailableError
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

PATH = "/api/user-settings"


def view(*, platform: bool, gateway: bool, consent_id: str, decided_at: str | None) -> dict[str, Any]:
    return {
        "allowGatewayFallback": gateway,
        "allowPlatformFallback": platform,
        "allow_gateway_fallback": gateway,
        "allow_platform_fallback": platform,
        "consent_id": consent_id,
        "decided_at": decided_at,
    }


async def test_before_a_decision_the_platform_may_and_the_teams_gateway_may_not() -> None:
    async with Edge().client() as client:
        answer = await client.get(PATH)
    assert answer.status_code == 200
    assert answer.json() == view(platform=True, gateway=False, consent_id="default", decided_at=None)


@pytest.mark.parametrize(
    ("body", "platform", "gateway"),
    [
        ({"allowPlatformFallback": False}, False, False),
        ({"allow_platform_fallback": False}, False, False),
        ({"allowGatewayFallback": True}, True, True),
        ({"allow_gateway_fallback": True}, True, True),
        ({"allowGatewayFallback": True, "allow_platform_fallback": False}, False, True),
        ({"allowGatewayFallback": True, "allow_gateway_fallback": True}, True, True),
        ({"allowGatewayFallback": None, "allowPlatformFallback": False}, False, False),
    ],
)
async def test_a_decision_is_kept(body: dict[str, Any], *, platform: bool, gateway: bool) -> None:
    edge = Edge()
    async with edge.client() as alice, edge.client("lk_bob") as bob:
        decided = await alice.post(PATH, json=body)
        kept = (await alice.get(PATH)).json()
        others = (await bob.get(PATH)).json()
    expected = view(
        platform=platform, gateway=gateway, consent_id="consent-1", decided_at="2026-01-01T12:00:00Z"
    )
    assert decided.status_code == 200
    assert decided.json() == kept == expected
    assert others["consent_id"] == "default"


async def test_what_is_not_decided_stays() -> None:
    async with Edge().client() as client:
        await client.post(PATH, json={"allowGatewayFallback": True})
        answer = await client.post(PATH, json={"allowPlatformFallback": False})
    assert (answer.json()["allowGatewayFallback"], answer.json()["allowPlatformFallback"]) == (True, False)


@pytest.mark.parametrize("name", ["allowGatewayFallback", "allow_gateway_fallback", "allowPlatformFallback"])
@pytest.mark.parametrize("value", ["true", "canary", 1, 0, [True], {}])
async def test_only_true_and_false_are_decisions(name: str, value: object) -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post(PATH, json={name: value})
    assert (answer.status_code, answer.json()["param"]) == (422, name)
    assert "canary" not in answer.text
    assert edge.key_vault.consents == {}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "allowGatewayFallback, allowPlatformFallback"),
        ({"allowGatewayFallback": None}, "allowGatewayFallback, allowPlatformFallback"),
        ({"allowPlatformFallback": True, "allow_platform_fallback": False}, "allowPlatformFallback"),
        ({"allowGatewayFallback": False, "allow_gateway_fallback": True}, "allowGatewayFallback"),
    ],
)
async def test_no_decision_and_two_at_once_are_refused(body: dict[str, Any], param: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert edge.key_vault.consents == {}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_key_vault_there_is_no_answer(method: str) -> None:
    edge = Edge()
    edge.key_vault.error = DatabaseUnavailableError(service="postgres", retry_after_s=2)
    async with edge.client() as client:
        answer = await client.request(method, PATH, json={"allowGatewayFallback": True})
    assert (answer.status_code, answer.json()["service"]) == (503, "postgres")
