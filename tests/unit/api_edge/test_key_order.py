"""What the edge says of key_vault's rules is what key_vault does."""

from datetime import UTC, datetime

import pytest

from services.api_edge.domain import key_order
from services.api_edge.domain.session_tokens import service_of
from services.key_vault.domain import order
from services.key_vault.domain.session import SessionClaims, write_token
from shared.kernel.names import KeyService

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("provider", KeyService)
def test_the_same_services_in_the_same_order(provider: KeyService) -> None:
    assert key_order.own_services(provider) == order.own_services(provider)


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
