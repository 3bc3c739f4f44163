"""API tokens: looked up by hash, remembered for seconds."""

import pytest

from services.api_edge.use_cases.authenticate import Authenticate
from shared.kernel.errors import DatabaseUnavailableError, UnauthenticatedError
from tests.fakes.api_edge import ALICE
from tests.fakes.api_edge_stores import InMemoryTokenStore, InMemoryTokenVerifier

pytestmark = pytest.mark.unit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tokens() -> InMemoryTokenStore:
    store = InMemoryTokenStore()
    store.put("lk_alice", ALICE)
    return store


async def test_a_token_is_looked_up_once_in_a_while(tokens: InMemoryTokenStore) -> None:
    clock = Clock()
    authenticate = Authenticate(tokens, InMemoryTokenVerifier(), clock=clock)
    assert await authenticate("Bearer lk_alice") == ALICE
    assert await authenticate("Bearer lk_alice") == ALICE
    assert tokens.looked == 1
    clock.now += 6
    assert await authenticate("Bearer lk_alice") == ALICE
    assert tokens.looked == 2


async def test_a_revoked_token_works_for_five_seconds_at_most(tokens: InMemoryTokenStore) -> None:
    clock = Clock()
    authenticate = Authenticate(tokens, InMemoryTokenVerifier(), clock=clock)
    await authenticate("Bearer lk_alice")
    tokens.revoke("lk_alice")
    clock.now += 4.9
    assert await authenticate("Bearer lk_alice") == ALICE
    clock.now += 0.2
    with pytest.raises(UnauthenticatedError):
        await authenticate("Bearer lk_alice")


async def test_an_unknown_token_is_not_remembered(tokens: InMemoryTokenStore) -> None:
    authenticate = Authenticate(tokens, InMemoryTokenVerifier())
    with pytest.raises(UnauthenticatedError):
        await authenticate("Bearer lk_new")
    tokens.put("lk_new", ALICE)
    assert await authenticate("Bearer lk_new") == ALICE


async def test_without_the_database_a_new_token_is_neither_good_nor_bad(tokens: InMemoryTokenStore) -> None:
    tokens.error = DatabaseUnavailableError()
    with pytest.raises(DatabaseUnavailableError):
        await Authenticate(tokens, InMemoryTokenVerifier())("Bearer lk_alice")


async def test_anything_else_is_a_jwt(tokens: InMemoryTokenStore) -> None:
    authenticate = Authenticate(tokens, InMemoryTokenVerifier())
    assert (await authenticate("Bearer jwt-carol")).user_id == "carol"
    assert tokens.looked == 0


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Bearer é", "Bearer " + "a" * 5000])
async def test_bad_tokens_are_refused(tokens: InMemoryTokenStore, header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        await Authenticate(tokens, InMemoryTokenVerifier())(header)
