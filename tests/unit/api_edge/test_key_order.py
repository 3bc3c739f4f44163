"""What the edge says of key_vault's rules is what key_vault does."""

from datetime import UTC, datetime

import pytest

from services.api_edge.domain.flows import Flow
from services.api_edge.domain.session_tokens import service_of
from services.api_edge.domain.usable_keys import is_served, usable_keys
from services.key_vault.domain.session import SessionClaims, write_token
from shared.contracts.keys import KeyStatus, ServiceKeys
from shared.kernel import key_order as order
from shared.kernel.names import KeyPolicy, KeyService

pytestmark = pytest.mark.unit


def test_the_services_whose_keys_can_call_a_providers_models() -> None:
    openai, openrouter, gateway = KeyService.OPENAI, KeyService.OPENROUTER, KeyService.GATEWAY
    assert order.own_services(openai) == (gateway, openai, openrouter)
    assert order.own_services(openrouter) == (gateway, openrouter)
    assert order.own_services(gateway) == (gateway,)
    assert order.platform_services(openai) == (openai, openrouter, gateway)
    assert order.platform_services(openrouter) == (openrouter, gateway)
    assert order.platform_services(gateway) == (gateway,)


@pytest.mark.parametrize("provider", KeyService)
def test_usable_are_the_keys_that_key_vault_would_try(provider: KeyService) -> None:
    tried = [(order.own_source(service), service) for service in order.own_services(provider)]
    tried += [(order.platform_source(service), service) for service in order.platform_services(provider)]
    assert [(key.source, key.service) for key in usable_keys(provider, _status(*KeyService))] == tried


def test_openrouters_key_serves_no_gateways_model() -> None:
    for policy in KeyPolicy:
        flow, gateway = Flow("f", policy, "openai/gpt-4o-mini"), KeyService.GATEWAY
        assert not is_served(gateway, flow, _status(KeyService.OPENROUTER))
        assert is_served(gateway, flow, _status(gateway))


def _status(*there: KeyService) -> KeyStatus:
    keys = (ServiceKeys(service=one, has_user_key=True, has_platform_key=True) for one in there)
    return KeyStatus(
        services=tuple(keys),
        allow_platform_fallback=True,
        allow_gateway_fallback=True,
        cache_age_s=None,
        cache_size=0,
    )


@pytest.mark.parametrize("service", KeyService)
@pytest.mark.parametrize("padding", ["", "x", "xx"])
def test_a_session_token_says_whose_key_it_holds(service: KeyService, padding: str) -> None:
    claims = SessionClaims("alice", service, None, datetime.now(UTC))
    assert service_of(write_token(claims, f"vault:v1:AAAA{padding}")) is service


@pytest.mark.parametrize(
    "token",
    [
        "lks_",
        "lks_!",
        "lks_é",
        "lks_" + "a" * 41,
        "lks_bnVsbA",
        "lks_W10",
        "lks_e30",
        "lks_eyJzIjoieCJ9",
        "lks_eyJzIjpbXX0",
    ],
)
def test_what_says_nothing_is_nobodys(token: str) -> None:
    assert service_of(token) is None
