"""What models there are, out of several lists, and which keys could serve them."""

import asyncio
from decimal import Decimal

import pytest

from services.api_edge.adapters.genai_models import priced_models
from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.domain.model_list import ModelInfo, merged
from services.api_edge.domain.usable_keys import usable_keys
from services.api_edge.use_cases.model_list import ModelList
from shared.contracts.keys import KeyStatus, ServiceKeys
from shared.contracts.models import ListedModel
from shared.kernel.errors import ProviderError
from shared.kernel.names import KeyService

pytestmark = pytest.mark.unit

SHIPPED = ("anthropic/claude-haiku-4-5", "openrouter/auto")
TOLD = ListedModel(
    id="anthropic/claude-haiku-4.5",
    name="Claude Haiku 4.5",
    context_window=200_000,
    features=("tools",),
    zero_data_retention=True,
    input_usd=Decimal(1),
    output_usd=Decimal(5),
)


def test_what_openrouter_tells_holds_for_the_providers_own_but_for_the_price() -> None:
    models = {model.id: model for model in merged(SHIPPED, (), (TOLD,))}
    own, routed = models["anthropic/claude-haiku-4-5"], models["openrouter/anthropic/claude-haiku-4.5"]
    assert (own.features, own.context_window, own.input_usd) == (("tools",), 200_000, None)
    assert (routed.features, routed.input_usd, routed.output_usd) == (("tools",), Decimal(1), Decimal(5))
    assert list(models)[:2] == list(SHIPPED)


def test_what_is_kept_is_known_by_the_providers_terms_and_of_openrouters_by_what_it_tells() -> None:
    untold = ListedModel(id="openai/gpt-4o")
    models = {model.id: model for model in merged((*SHIPPED, "groq/x"), (), (TOLD, untold))}
    assert {name: model.zero_data_retention for name, model in models.items()} == {
        "anthropic/claude-haiku-4-5": False,
        "groq/x": None,
        "openrouter/auto": None,
        "openrouter/anthropic/claude-haiku-4.5": True,
        "openrouter/openai/gpt-4o": None,
    }


def test_the_price_lists_price_stands() -> None:
    priced = ModelInfo(
        "openrouter/anthropic/claude-haiku-4.5", KeyService.OPENROUTER, "x", input_usd=Decimal(9)
    )
    models = {model.id: model for model in merged((), (priced,), (TOLD,))}
    routed = models[priced.id]
    assert (routed.input_usd, routed.output_usd, routed.name) == (Decimal(9), Decimal(5), "Claude Haiku 4.5")


def test_every_listed_model_can_be_asked_for() -> None:
    catalogue = Catalogue((), 0)
    models = merged(SHIPPED, priced_models(), ())
    assert len(models) > 900
    known = {model.id: model for model in models}
    assert known["openai/gpt-4o-mini"].input_usd == Decimal("0.15")
    assert known["openai/gpt-4o-mini"].context_window == 128_000
    odd = [model.id for model in models if not _can_be_found(catalogue, model.id)]
    assert odd == []


def _can_be_found(catalogue: Catalogue, name: str) -> bool:
    return catalogue.find(name).id == name


async def test_the_list_is_there_at_once_and_grows() -> None:
    now, asked = 0.0, 0

    async def ask() -> tuple[ListedModel, ...]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ProviderError
        return (TOLD,)

    models = ModelList(SHIPPED, tuple, ask, clock=lambda: now)
    assert ([model.id for model in models().models], models().told_age_s) == (list(SHIPPED), None)
    await asyncio.sleep(0)
    now = 299.0
    models()
    await asyncio.sleep(0)
    assert asked == 1
    now = 301.0
    models()
    await asyncio.sleep(0)
    now = 311.0
    assert (models().told_age_s, asked) == (10.0, 2)
    found = next(each for each in models().models if each.id == "anthropic/claude-haiku-4-5")
    assert found.features == ("tools",)
    now = 6 * 3600.0 + 302
    models()
    await asyncio.sleep(0)
    assert asked == 3


def test_keys_are_told_in_the_order_of_trying() -> None:
    def keys(service: KeyService, *, user: bool, platform: bool) -> ServiceKeys:
        return ServiceKeys(service=service, has_user_key=user, has_platform_key=platform)

    services = (
        keys(KeyService.OPENAI, user=True, platform=True),
        keys(KeyService.GROQ, user=True, platform=True),
        keys(KeyService.OPENROUTER, user=True, platform=True),
        keys(KeyService.GATEWAY, user=True, platform=True),
    )

    def told(provider: KeyService, *, platform: bool, gateway: bool) -> list[tuple[str, str]]:
        status = KeyStatus(
            services=services,
            allow_platform_fallback=platform,
            allow_gateway_fallback=gateway,
            cache_age_s=None,
            cache_size=0,
        )
        return [(key.source.value, key.service.value) for key in usable_keys(provider, status)]

    own = [("user_gateway", "gateway"), ("user", "openai"), ("user", "openrouter")]
    platforms = [("platform", "openai"), ("platform", "openrouter")]
    assert told(KeyService.OPENAI, platform=False, gateway=False) == own
    assert told(KeyService.OPENAI, platform=True, gateway=True) == [
        *own,
        *platforms,
        ("team_gateway", "gateway"),
    ]
    assert told(KeyService.OPENROUTER, platform=False, gateway=False) == [own[0], own[2]]
