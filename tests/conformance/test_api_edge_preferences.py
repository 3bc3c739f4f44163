"""What the store of users' choices promises, held by the fake and by Postgres."""

import secrets

import pytest

from services.api_edge.adapters.postgres import Database
from services.api_edge.adapters.postgres_preferences import PostgresPreferenceStore
from services.api_edge.domain.preferences import Preferences
from services.api_edge.ports import PreferenceStore
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.names import API_EDGE
from tests.fakes.api_edge_stores import InMemoryPreferenceStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance


@pytest.fixture
def memory() -> PreferenceStore:
    return InMemoryPreferenceStore()


@pytest.fixture
async def postgres(pool_for: PoolFor) -> PreferenceStore:
    return PostgresPreferenceStore(Database(await pool_for(API_EDGE)))


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> PreferenceStore:
    found: PreferenceStore = request.getfixturevalue(request.param)
    return found


async def test_what_is_chosen_stays_beside_what_is_pinned(store: PreferenceStore) -> None:
    user = f"user-{secrets.token_hex(6)}"
    assert await store.find(user) == Preferences()
    await store.pin(user, ("groq/x", "openai/y"))
    chosen = await store.set_model(user, "groq/x", {"temperature": 0.2, "max_tokens": 5})
    assert (chosen.model, chosen.parameters, chosen.pinned) == (
        "groq/x",
        {"temperature": 0.2, "max_tokens": 5},
        ("groq/x", "openai/y"),
    )
    assert chosen.model_set_at is not None
    assert await store.pin(user, ()) == await store.find(user)
    again = await store.set_model(user, "openai/y", {})
    assert (again.model, again.parameters, again.pinned) == ("openai/y", {}, ())


async def test_a_choice_is_forgotten_and_what_is_pinned_stays(store: PreferenceStore) -> None:
    user = f"user-{secrets.token_hex(6)}"
    assert await store.forget_model(user) == Preferences()
    await store.pin(user, ("groq/x",))
    await store.set_model(user, "groq/x", {"temperature": 0.2})
    assert await store.forget_model(user) == Preferences(pinned=("groq/x",)) == await store.find(user)


async def test_without_a_database_it_says_so(pool_for: PoolFor) -> None:
    pool = await pool_for(API_EDGE)
    await pool.close()
    with pytest.raises(DatabaseUnavailableError):
        await PostgresPreferenceStore(Database(pool)).find("alice")
