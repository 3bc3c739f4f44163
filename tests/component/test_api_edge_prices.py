"""Prices, for administrators."""

from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.kernel.errors import ServiceUnavailableError
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

PRICES = "/api/admin/prices"
MODEL = "openai/gpt-4o-mini"
PRICE: dict[str, Any] = {"input_usd": "0.15", "output_usd": "0.60"}
FULL: dict[str, Any] = {
    "input_usd": {"usd": "2.50", "tiers": [{"above": 200_000, "usd": "5"}, {"above": 400_000, "usd": "9.5"}]},
    "output_usd": "10",
    "cached_usd": "0",
    "cache_write_usd": "0.000000001",
    "reasoning_usd": "1000000",
}


async def test_a_price_is_set_from_now_on() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.put(f"{PRICES}/{MODEL}", json=PRICE)
    assert answer.status_code == 200
    assert answer.json() == {
        "version": "prices-1",
        "model": MODEL,
        "price": {**PRICE, "cached_usd": None, "cache_write_usd": None, "reasoning_usd": None},
        "valid_from": "2026-01-01T12:00:00Z",
        "set_by": "root",
    }


async def test_every_rate_and_tier_is_kept_and_shown_as_it_was_sent() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        first = await admin.put(f"{PRICES}/{MODEL}", json={**FULL, "valid_from": "2026-02-01T00:00:00+01:00"})
        again = await admin.put(f"{PRICES}/{MODEL}", json=first.json()["price"])
    assert first.json()["price"] == again.json()["price"] == FULL
    assert first.json()["valid_from"] == "2026-01-31T23:00:00Z"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("gpt-4o-mini", "openai/gpt-4o-mini"),
        ("openrouter/deepseek/deepseek-chat", "openrouter/deepseek/deepseek-chat"),
        ("openrouter/deepseek/deepseek-r1:free", "openrouter/deepseek/deepseek-r1:free"),
        ("gateway/house-model", "gateway/house-model"),
        pytest.param("openrouter/" + "m" * 200, "openrouter/" + "m" * 200, id="the longest name"),
    ],
)
async def test_a_model_is_named_as_in_a_run(path: str, model: str) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.put(f"{PRICES}/{path}", json=PRICE)
        shown = await admin.get(f"{PRICES}/{path}")
    assert (answer.status_code, answer.json()["model"]) == (200, model)
    assert [each["version"] for each in shown.json()["overrides"]] == ["prices-1"]


async def test_a_model_is_shown_with_what_it_costs_and_its_history() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        await admin.put(f"{PRICES}/{MODEL}", json=PRICE)
        await admin.put(f"{PRICES}/openai/o3", json=PRICE)
        await admin.delete(f"{PRICES}/{MODEL}", params={"valid_from": "2026-03-01T00:00:00Z"})
        shown = (await admin.get(f"{PRICES}/{MODEL}")).json()
    assert shown["model"] == MODEL
    assert shown["current"] == {
        "version": "genai-prices-1",
        "price": {
            "input_usd": {"usd": "0.15", "tiers": [{"above": 200_000, "usd": "0.30"}]},
            "output_usd": "0.000000001",
            "cached_usd": "0",
            "cache_write_usd": None,
            "reasoning_usd": None,
        },
        "credit_usd": "0.01",
        "markup": "1.5",
    }
    assert [each["version"] for each in shown["overrides"]] == ["prices-3", "prices-1"]
    assert shown["overrides"][0] == {
        "version": "prices-3",
        "model": MODEL,
        "price": None,
        "valid_from": "2026-03-01T00:00:00Z",
        "set_by": "root",
    }


async def test_a_model_that_nobody_knows_costs_nobody_knows_what() -> None:
    async with Edge().client("lk_admin") as admin:
        shown = await admin.get(f"{PRICES}/gateway/house-model")
    assert shown.json() == {"model": "gateway/house-model", "current": None, "overrides": []}


async def test_all_overrides_are_listed_newest_first() -> None:
    async with Edge().client("lk_admin") as admin:
        for model in ("openai/o3", MODEL):
            await admin.put(f"{PRICES}/{model}", json=PRICE)
        listed = (await admin.get(PRICES)).json()
    assert [each["model"] for each in listed["items"]] == [MODEL, "openai/o3"]
    assert listed["next_cursor"] is None


_BAD_RATES = (
    *("1e3", "-1", "NaN", "Infinity", "1000000.1", "0.0000000001", "five", "", " 1"),
    *(True, None, [1], -1, 1e7),
)
_UNKNOWN = ("nobody/gpt-4o", "no-such-model", "openai/", "openai/a b", "openai/sk-canary-0123456789")
_MANY_TIERS = [{"above": number, "usd": "1"} for number in range(1, 10)]


@pytest.mark.parametrize("rate", _BAD_RATES, ids=repr)
async def test_a_bad_rate_is_refused(rate: object) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.put(f"{PRICES}/{MODEL}", json={**PRICE, "output_usd": rate})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["param"] == "output_usd"
    assert edge.prices.versions == []


@pytest.mark.parametrize(
    "literal", ["NaN", "Infinity", "1e999", "1e999999999", "9" * 4_000], ids=lambda text: text[:12]
)
async def test_a_number_that_is_none_is_refused(literal: str) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.put(f"{PRICES}/{MODEL}", content=f'{{"input_usd": {literal}, "output_usd": 1}}')
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert edge.prices.versions == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input_usd": {"usd": "1e3"}}, "input_usd.usd"),
        ({"input_usd": {"usd": "1", "tier": []}}, "input_usd.tier"),
        ({"input_usd": {"usd": "1", "tiers": [{"above": 0, "usd": "1"}]}}, "input_usd.tiers.0.above"),
        ({"input_usd": {"usd": "1", "tiers": [{"above": 2, "usd": "1"}] * 2}}, "input_usd"),
        (
            {"input_usd": {"usd": "1", "tiers": _MANY_TIERS}},
            "input_usd.tiers",
        ),
        ({"cache_usd": "1"}, "cache_usd"),
        ({"valid_from": "tomorrow"}, "valid_from"),
        ({"valid_from": "2026-02-01T00:00:00"}, "valid_from"),
        ({"valid_from": "9999-12-31T23:59:59-14:00"}, "valid_from"),
        ({"valid_from": 5}, "valid_from"),
        ({"valid_from": True}, "valid_from"),
    ],
    ids=repr,
)
async def test_a_bad_price_is_refused(change: dict[str, object], param: str) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.put(f"{PRICES}/{MODEL}", json={**PRICE, **change})
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (
        422,
        "invalid_request",
        param,
    )
    assert edge.prices.versions == []


@pytest.mark.parametrize("missing", ["input_usd", "output_usd"])
async def test_both_prices_are_needed(missing: str) -> None:
    body = {name: rate for name, rate in PRICE.items() if name != missing}
    async with Edge().client("lk_admin") as admin:
        answer = await admin.put(f"{PRICES}/{MODEL}", json=body)
    assert (answer.status_code, answer.json()["param"]) == (422, missing)


async def test_the_past_is_not_priced_again() -> None:
    edge, past = Edge(), "2026-01-01T11:59:59Z"
    async with edge.client("lk_admin") as admin:
        answers = [
            await admin.put(f"{PRICES}/{MODEL}", json={**PRICE, "valid_from": past}),
            await admin.delete(f"{PRICES}/{MODEL}", params={"valid_from": past}),
        ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert answer.json()["detail"] == "valid_from: has passed"
    assert edge.prices.versions == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "GET"])
@pytest.mark.parametrize("model", _UNKNOWN)
async def test_a_model_of_no_known_provider_is_refused(method: str, model: str) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.request(method, f"{PRICES}/{model}", json=PRICE)
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (
        422,
        "invalid_request",
        "model",
    )
    assert edge.prices.versions == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_prices_are_for_administrators(method: str) -> None:
    edge = Edge()
    async with edge.client() as alice, edge.client(None) as nobody:
        forbidden = await alice.request(method, f"{PRICES}/{MODEL}", json=PRICE)
        listing = await alice.get(PRICES)
        unknown = await nobody.request(method, f"{PRICES}/{MODEL}", json=PRICE)
    assert (forbidden.status_code, listing.status_code, unknown.status_code) == (403, 403, 401)
    assert edge.prices.versions == []


async def test_without_billing_there_is_a_typed_error() -> None:
    edge = Edge()
    edge.prices.error = ServiceUnavailableError(service="billing", retry_after_s=2)
    async with edge.client("lk_admin") as admin:
        answers = [
            await admin.get(PRICES),
            await admin.get(f"{PRICES}/{MODEL}"),
            await admin.put(f"{PRICES}/{MODEL}", json=PRICE),
            await admin.delete(f"{PRICES}/{MODEL}"),
        ]
    assert {(answer.status_code, answer.json()["service"]) for answer in answers} == {(503, "billing")}


async def test_the_document_describes_a_rate_in_full() -> None:
    async with Edge().client() as alice:
        document = (await alice.get("/openapi.json")).json()
    schema = document["paths"][PRICES + "/{model}"]["put"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert "$ref" not in str(schema)
    assert "above" in str(schema["properties"]["input_usd"])


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.decimals().map(str)
)
_rate = st.recursive(
    _scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["usd", "tiers", "above", "x"]), inner),
    max_leaves=10,
)
_names = ("input_usd", "output_usd", "cached_usd", "cache_write_usd", "reasoning_usd", "valid_from")
_price = st.fixed_dictionaries({}, optional={name: _rate | st.just("1") for name in _names})


@pytest.fixture(scope="module")
def one_edge() -> Edge:
    return Edge()


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(body=_price | _rate, model=st.text(max_size=20))
async def test_whatever_is_sent_the_answer_is_a_typed_one(one_edge: Edge, body: object, model: str) -> None:
    async with one_edge.client("lk_admin") as admin:
        answers = [
            await admin.put(f"{PRICES}/{MODEL}", content=orjson.dumps(body)),
            await admin.put(f"{PRICES}/openai/{quote(model)}", json=PRICE),
            await admin.request("DELETE", f"{PRICES}/{MODEL}", params={"valid_from": model}),
        ]
    assert {answer.status_code for answer in answers} <= {200, 404, 422}
