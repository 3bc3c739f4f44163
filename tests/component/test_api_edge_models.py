"""`/api/models`, the pinned ones, and the user's own model."""

import asyncio
from decimal import Decimal

import httpx2
import pytest

from shared.contracts.models import ListedModel
from shared.contracts.prices import PriceSpec, RateSpec, SetPrice
from shared.kernel.errors import ServiceUnavailableError
from shared.kernel.names import KeyService, KeyVerdict
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hello"}]


async def store(edge: Edge) -> None:
    async with edge.client() as client:
        answer = await client.post("/api/keys", json={"service": "openai", "api_key": "sk-0123456789abcdef"})
        assert answer.status_code == 201, answer.text


async def test_models_are_listed_with_what_is_known() -> None:
    edge = Edge()
    edge.listed = (ListedModel(id="openai/gpt-4o-mini", name="GPT-4o mini", features=("tools", "vision")),)
    await store(edge)
    async with edge.client() as client:
        await client.get("/api/models")
        await asyncio.sleep(0)
        answer = (await client.get("/api/models", params={"provider": "openai", "q": "4o-mini"})).json()
    (model,) = [model for model in answer["items"] if model["id"] == "openai/gpt-4o-mini"]
    usable = model.pop("usable_with")
    assert "verified" in model.pop("note")
    assert usable[0] == {"key_source": "user", "service": "openai"}
    assert model == {
        "id": "openai/gpt-4o-mini",
        "name": "GPT-4o mini",
        "provider": "openai",
        "context_window": 128_000,
        "features": ["tools", "vision"],
        "output_kinds": ["text"],
        "zero_data_retention": False,
        "input_usd": "0.15",
        "output_usd": "0.6",
        "price_version": None,
    }
    assert answer["cache"]["sources"] == ["genai-prices", "openrouter"]
    assert answer["cache"]["size"] > 900
    assert answer["cache"]["age_s"] >= 0


async def price_of(client: httpx2.AsyncClient, model: str) -> tuple[str, str, str | None]:
    items = (await client.get("/api/models", params={"q": model.partition("/")[2]})).json()["items"]
    (found,) = [item for item in items if item["id"] == model]
    return found["input_usd"], found["output_usd"], found["price_version"]


async def test_an_administrators_price_is_the_models_at_once_until_it_is_withdrawn() -> None:
    edge, model = Edge(), "openai/gpt-4o-mini"
    dear = {"input_usd": {"usd": "2.50", "tiers": [{"above": 9, "usd": "5"}]}, "output_usd": "10"}
    async with edge.client() as client, edge.client("lk_admin") as admin:
        assert await price_of(client, model) == ("0.15", "0.6", None)
        await admin.put(f"/api/admin/prices/{model}", json=dear)
        assert await price_of(client, model) == ("2.5", "10", "prices-1")
        await admin.put(f"/api/admin/prices/{model}", json={**dear, "valid_from": "2999-01-01T00:00:00Z"})
        assert await price_of(client, model) == ("2.5", "10", "prices-1")
        await admin.delete(f"/api/admin/prices/{model}")
        assert await price_of(client, model) == ("0.15", "0.6", None)


async def test_a_price_holds_however_its_model_is_spelled() -> None:
    edge, model = Edge(), "openai/gpt-4o-mini"
    dear = {"input_usd": "2.5", "output_usd": "10"}
    async with edge.client() as client, edge.client("lk_admin") as admin:
        await admin.put("/api/admin/prices/openai/GPT-4O-mini", json=dear)
        assert await price_of(client, model) == ("2.5", "10", "prices-1")
        await admin.delete(f"/api/admin/prices/{model}")
        assert await price_of(client, model) == ("0.15", "0.6", None)


async def test_a_price_that_another_edge_set_is_asked_for_and_not_waited_for() -> None:
    edge, model = Edge(), "openai/gpt-4o-mini"
    price = PriceSpec(input=RateSpec(usd=Decimal(1)), output=RateSpec(usd=Decimal(2)))
    await edge.prices.set_price(SetPrice(model=model, price=price, set_by="root"))
    async with edge.client() as client:
        assert await price_of(client, model) == ("0.15", "0.6", None)
        await asyncio.sleep(0)
        assert await price_of(client, model) == ("1", "2", "prices-1")


async def test_without_billing_the_listed_prices_are_told() -> None:
    edge = Edge()
    edge.prices.error = ServiceUnavailableError()
    async with edge.client() as client:
        for _ in range(2):
            assert await price_of(client, "openai/gpt-4o-mini") == ("0.15", "0.6", None)
            await asyncio.sleep(0)


async def test_models_are_paged_and_filtered() -> None:
    edge = Edge()
    edge.listed = (ListedModel(id="openai/gpt-4o-mini", features=("tools",)),)
    async with edge.client() as client:
        await client.get("/api/models")
        await asyncio.sleep(0)
        first = (await client.get("/api/models", params={"limit": 10})).json()
        second = (await client.get("/api/models", params={"limit": 10, "cursor": "10"})).json()
        tools = (await client.get("/api/models", params={"feature": "tools"})).json()
    ids = [model["id"] for model in (*first["items"], *second["items"])]
    assert (len(set(ids)), first["next_cursor"]) == (20, "10")
    assert ids[0] == "openai/gpt-4o-mini"
    assert [model["id"] for model in tools["items"]] == [
        "openai/gpt-4o-mini",
        "openrouter/openai/gpt-4o-mini",
    ]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "-1"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"provider": "nobody"}, "provider"),
        ({"q": "x" * 101}, "q"),
    ],
)
async def test_a_bad_query_is_named(query: dict[str, str], param: str) -> None:
    async with Edge().client() as client:
        answer = await client.get("/api/models", params=query)
    assert (answer.status_code, answer.json()["param"]) == (422, param)


async def test_pinned_models_are_each_users_own() -> None:
    edge = Edge()
    async with edge.client() as client, edge.client("lk_bob") as other:
        assert (await client.get("/api/models/pinned")).json() == {"models": []}
        pinned = await client.put("/api/models/pinned", json={"models": ["groq/x", "gpt-4o-mini", "groq/x"]})
        assert pinned.json() == {"models": ["groq/x", "openai/gpt-4o-mini"]}
        assert (await client.get("/api/models/pinned")).json() == pinned.json()
        assert (await other.get("/api/models/pinned")).json() == {"models": []}
        unknown = await client.put("/api/models/pinned", json={"models": ["nobody/x"]})
        many = await client.put("/api/models/pinned", json={"models": ["groq/x"] * 101})
    assert (unknown.status_code, unknown.json()["param"]) == (422, "models")
    assert (many.status_code, many.json()["param"]) == (422, "models")


async def test_a_user_has_the_default_until_they_choose_and_after_they_choose_none() -> None:
    edge = Edge()
    async with edge.client() as client:
        before = (await client.get("/api/model-settings")).json()
        chosen = await client.post(
            "/settings/model",
            json={"provider": "anthropic", "model": "claude-haiku-4-5", "parameters": {"temperature": 0.2}},
        )
        after = (await client.get("/api/model-settings")).json()
        forgotten = (await client.delete("/settings/model")).json()
        again = (await client.get("/api/model-settings")).json()
    assert before == forgotten == again
    assert (before["model"], before["is_default"], before["updated_at"]) == (
        "openai/gpt-4o-mini",
        True,
        None,
    )
    assert chosen.status_code == 200
    assert (chosen.json()["key_status"], chosen.json()["byok"]) == ("missing", False)
    assert (after["model"], after["parameters"], after["is_default"]) == (
        "anthropic/claude-haiku-4-5",
        {"temperature": 0.2},
        False,
    )


@pytest.mark.parametrize("verdict", KeyVerdict)
async def test_the_provider_is_asked_about_the_key_at_once(verdict: KeyVerdict) -> None:
    edge = Edge()
    await store(edge)
    edge.validator.verdict = verdict
    async with edge.client() as client:
        chosen = (await client.post("/settings/model", json={"model": "gpt-4o"})).json()
    assert (chosen["model"], chosen["key_status"]) == ("openai/gpt-4o", verdict.value)


async def test_a_gateways_model_is_none_for_the_platforms_openrouter() -> None:
    edge = Edge()
    edge.key_vault.platform_services = (KeyService.OPENROUTER,)
    async with edge.client() as client:
        gateways = (await client.post("/settings/model", json={"model": "gateway/foo"})).json()
        others = (await client.post("/settings/model", json={"model": "groq/foo"})).json()
    assert (gateways["key_source"], gateways["key_service"]) == (None, None)
    assert (others["key_source"], others["key_service"]) == ("platform", "openrouter")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "nobody/x"}, "model"),
        ({"model": ""}, "model"),
        ({}, "model"),
        ({"model": "gpt-4o", "parameters": {"temperature": 3}}, "parameters.temperature"),
        ({"model": "gpt-4o", "parameters": {"tools": []}}, "parameters.tools"),
        ({"model": "gpt-4o", "parameters": []}, "parameters"),
        ({"model": "openai/gpt-4o", "provider": "anthropic"}, "provider"),
    ],
)
async def test_a_choice_that_is_none_is_named(body: dict[str, object], param: str) -> None:
    async with Edge().client() as client:
        answer = await client.post("/settings/model", json=body)
    assert (answer.status_code, answer.json()["param"]) == (422, param)


async def test_a_preferred_length_is_not_sent_beside_the_bodys() -> None:
    edge = Edge()
    async with edge.client() as client:
        await client.post("/settings/model", json={"model": "groq/x", "parameters": {"max_tokens": 100}})
        await client.post(CHAT, json={"messages": MESSAGES, "max_completion_tokens": 7})
    (run,) = edge.bus.requested
    assert (run.body["max_completion_tokens"], "max_tokens" in run.body) == (7, False)


@pytest.mark.parametrize(
    ("model", "name"), [("openai/o3-mini", "max_completion_tokens"), ("openrouter/auto", "max_tokens")]
)
async def test_a_preferred_length_is_sent_by_its_providers_name(model: str, name: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        body = {"model": model, "parameters": {"max_tokens": 100}}
        chosen = (await client.post("/settings/model", json=body)).json()
        await client.post(CHAT, json={"messages": MESSAGES})
    (run,) = edge.bus.requested
    assert chosen["parameters"] == {"max_tokens": 100}
    assert run.body == {"messages": MESSAGES, name: 100}


async def test_a_run_that_names_nothing_takes_the_users_own() -> None:
    edge = Edge()
    async with edge.client() as client:
        await client.post(
            "/settings/model", json={"model": "groq/x", "parameters": {"temperature": 0.2, "top_p": 0.5}}
        )
        await client.post(CHAT, json={"messages": MESSAGES, "top_p": 1})
        await client.post(CHAT, json={"messages": MESSAGES}, headers={"Latchkey-Flow": "chat"})
        found = edge.preferences.found
        await client.post(CHAT, json={"messages": MESSAGES, "model": "openai/gpt-4o"})
    own, flows, named = edge.bus.requested
    assert (own.model, own.body["temperature"], own.body["top_p"]) == ("groq/x", 0.2, 1)
    assert (flows.model, "temperature" in flows.body) == ("openai/gpt-4o-mini", False)
    assert (named.model, edge.preferences.found) == ("openai/gpt-4o", found)
