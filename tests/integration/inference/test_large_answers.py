"""Of large answers few are read at a time, and none for long."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpcore2
import pytest

from services.inference.adapters.egress import PinningBackend
from services.inference.adapters.http_clients import http_clients
from services.inference.adapters.openai_provider import OpenAIProvider
from services.inference.adapters.provider_catalogue import load_providers
from services.inference.ports import Piece, ProviderCall
from shared.kernel.errors import ProviderTimeoutError
from shared.kernel.names import KeyService
from tests.fakes.inference import a_key
from tests.integration.inference.long_winded import MIB, long_winded

pytestmark = pytest.mark.integration

LARGE_S = 0.5


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIProvider]:
    async with long_winded() as url, http_clients(16, PinningBackend(httpcore2.AnyIOBackend())) as http:
        specs = load_providers({KeyService.OPENAI: url})
        yield OpenAIProvider(specs, http, idle_timeout_s=60, large_timeout_s=LARGE_S)


async def ask(provider: OpenAIProvider, prompt: str) -> Piece:
    body = {"messages": [{"role": "user", "content": prompt}]}
    return await provider.complete(ProviderCall(a_key(), "openai/gpt-4o-mini", body))


async def test_one_that_does_not_come_makes_room_for_the_others(provider: OpenAIProvider) -> None:
    stalling = [asyncio.create_task(ask(provider, "stalling 2")) for _ in range(2)]
    await asyncio.sleep(0.2)
    began = time.monotonic()

    large = await ask(provider, "whole 2")
    assert len(large.text) > 2 * MIB
    assert time.monotonic() - began > LARGE_S / 4, "it waits its turn"
    for answer in stalling:
        with pytest.raises(ProviderTimeoutError):
            await answer
