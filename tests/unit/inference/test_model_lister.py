"""Asking OpenRouter what models there are, and of which of them a host keeps nothing."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from services.inference.adapters.http_clients import HttpClients, client_over
from services.inference.adapters.model_lister import HttpModelLister
from services.inference.adapters.provider_catalogue import load_providers
from shared.kernel.errors import ProviderError

pytestmark = pytest.mark.unit

MODELS = {"data": [{"id": "openai/gpt-4o"}, {"id": "x-ai/grok-4"}]}
KEPT_NOWHERE = {
    "data": [{"name": "Azure | openai/gpt-4o", "model_id": "openai/gpt-4o"}, {"model_id": 1}, None]
}


class Router:
    """OpenRouter at its HTTP boundary: `answers` by path, an exception to be raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {f"/api/v1/{name.replace('__', '/')}": answer for name, answer in answers.items()}
        self.headers: list[httpx2.Headers] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.headers.append(request.headers)
        answer = self.answers.get(request.url.path)
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(404) if answer is None else httpx2.Response(200, json=answer)


@pytest.fixture
async def clients() -> AsyncIterator[list[httpx2.AsyncClient]]:
    opened: list[httpx2.AsyncClient] = []
    yield opened
    for client in opened:
        await client.aclose()


def lister(router: Router, clients: list[httpx2.AsyncClient]) -> HttpModelLister:
    client = client_over(httpx2.MockTransport(router))
    clients.append(client)
    return HttpModelLister(load_providers({}), HttpClients(client, client))


async def test_a_model_that_a_host_keeps_nothing_of_says_so(clients: list[httpx2.AsyncClient]) -> None:
    router = Router(models=MODELS, endpoints__zdr=KEPT_NOWHERE)
    found = await lister(router, clients).models()
    assert {model.id: model.zero_data_retention for model in found} == {
        "openai/gpt-4o": True,
        "x-ai/grok-4": False,
    }
    assert not any("authorization" in headers for headers in router.headers)


@pytest.mark.parametrize(
    "answer", [None, {}, {"data": []}, {"data": [{"name": "Azure | x"}]}, httpx2.ConnectError("x")]
)
async def test_without_that_list_it_is_not_known(clients: list[httpx2.AsyncClient], answer: Any) -> None:
    found = await lister(Router(models=MODELS, endpoints__zdr=answer), clients).models()
    assert [model.zero_data_retention for model in found] == [None, None]


@pytest.mark.parametrize("answer", [None, {"data": []}, httpx2.ReadTimeout("x")])
async def test_without_models_there_is_no_list(clients: list[httpx2.AsyncClient], answer: Any) -> None:
    with pytest.raises(ProviderError):
        await lister(Router(models=answer, endpoints__zdr=KEPT_NOWHERE), clients).models()
