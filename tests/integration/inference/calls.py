"""Calls of a provider, and what comes of them."""

import pytest

from services.inference.adapters.openai_provider import OpenAIProvider
from services.inference.ports import Piece, ProviderCall
from shared.kernel.errors import PlatformError
from tests.fakes.inference import a_key

IDLE_S = 0.5
GOOD = "sk-sim-good-0001"


def a_call(
    prompt: str = "hello",
    *,
    secret: str = GOOD,
    base_url: str | None = None,
    names: list[str] | None = None,
) -> ProviderCall:
    """`names`: where the provider's name for the call goes."""
    body = {"messages": [{"role": "user", "content": prompt}]}
    key = a_key(secret=secret, base_url=base_url)
    heard = [] if names is None else names
    return ProviderCall(key, "openai/gpt-4o-mini", body, on_request_id=heard.append)


async def collect(provider: OpenAIProvider, call: ProviderCall) -> list[Piece]:
    return [piece async for piece in provider.stream(call)]


async def failure_of(provider: OpenAIProvider, call: ProviderCall, *, stream: bool) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await (collect(provider, call) if stream else provider.complete(call))
    return caught.value
