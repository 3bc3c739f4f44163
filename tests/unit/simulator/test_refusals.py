"""Refusals have OpenAI's statuses, codes and error object."""

from typing import Any

import pytest

from tests.unit.simulator.client import KEY, SimulatorClient

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [
        ("[simulate status=401]", 401, "invalid_api_key"),
        ("[simulate status=402]", 402, "insufficient_quota"),
        ("[simulate status=403]", 403, "missing_scope"),
        ("[simulate status=429]", 429, "rate_limit_exceeded"),
        ("[simulate status=500]", 500, None),
        ("[simulate status=503]", 503, None),
        ("[simulate statuss=503]", 400, "unknown_directive"),
    ],
)
async def test_a_directive_sets_the_status(
    simulator: SimulatorClient, prompt: str, status: int, code: str | None
) -> None:
    response = await simulator.chat(prompt)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}
    assert "retry-after" not in response.headers


async def test_retry_after_is_a_header(simulator: SimulatorClient) -> None:
    response = await simulator.chat("[simulate status=429 retry_after=2]")
    assert response.headers["retry-after"] == "2"


@pytest.mark.parametrize(("mark", "status"), [("bad", 401), ("broke", 402), ("forbidden", 403)])
async def test_a_key_can_ask_for_its_refusal(simulator: SimulatorClient, mark: str, status: int) -> None:
    key = f"sk-sim-{mark}-1234"
    chat = await simulator.chat("Hello", key=key)
    models = await simulator.http.get("/v1/models", headers={"api-key": key})
    assert (chat.status_code, models.status_code) == (status, status)
    assert (key in chat.text) == (status == 401)


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
async def test_an_empty_key_is_refused(simulator: SimulatorClient, header: str) -> None:
    value = "Bearer " if header == "authorization" else ""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    response = await simulator.http.post("/v1/chat/completions", json=body, headers={header: value})
    assert response.status_code == 401
    assert (await simulator.http.get("/v1/models", headers={header: value})).status_code == 401


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "no-such-model"}, 404, None),
        ({"model": None}, 400, None),
        ({"messages": None}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
    ],
)
async def test_bad_requests_are_refused(
    simulator: SimulatorClient, fields: dict[str, Any], status: int, param: str | None
) -> None:
    response = await simulator.chat("Hello", **fields)
    assert response.status_code == status
    assert response.json()["error"]["param"] == param


async def test_broken_json_is_refused(simulator: SimulatorClient) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    response = await simulator.http.post("/v1/chat/completions", content=b"{", headers=headers)
    assert response.status_code == 400


async def test_garbage_is_a_200_that_is_not_json(simulator: SimulatorClient) -> None:
    response = await simulator.chat("[simulate garbage]")
    assert response.status_code == 200
    assert response.text.startswith("<html>")


async def test_a_redirect_counts_who_follows(simulator: SimulatorClient) -> None:
    response = await simulator.chat("[simulate redirect]")
    assert response.status_code == 302
    await simulator.http.get(response.headers["location"])
    assert (await simulator.calls())["redirected"] == 1
