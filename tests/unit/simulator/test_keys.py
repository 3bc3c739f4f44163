"""What tells about a key, with each provider's auth and shapes."""

import pytest

from infra.simulator.control import Calls
from tests.unit.simulator.client import KEY, SimulatorClient

pytestmark = pytest.mark.unit

VERSION = {"anthropic-version": "2023-06-01"}
ASKED = ("/v1/models", "/v1/key", "/v1/api-key")


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("mark", ["good", "revoked", "spent", "limited"])
async def test_a_good_key_is_found_good(simulator: SimulatorClient, path: str, mark: str) -> None:
    response = await simulator.http.get(path, headers=bearer(f"sk-sim-{mark}-1234"))

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("mark", "status"),
    [("revoked", 401), ("spent", 402), ("limited", 429), ("expired", 401), ("bad", 401)],
)
async def test_in_chat_the_marks_refuse(simulator: SimulatorClient, mark: str, status: int) -> None:
    response = await simulator.chat("hello", key=f"sk-sim-{mark}-1234")

    assert response.status_code == status
    assert response.headers.get("retry-after") == ("2" if mark == "limited" else None)


@pytest.mark.parametrize(
    ("path", "mark", "status"),
    [
        (path, mark, 400 if path == "/v1/api-key" and status == 401 else status)
        for path in ASKED
        for mark, status in (("bad", 401), ("expired", 401), ("broke", 402), ("forbidden", 403))
    ],
)
async def test_a_key_refused_everywhere(
    simulator: SimulatorClient, path: str, mark: str, status: int
) -> None:
    key = f"sk-sim-{mark}-1234"
    response = await simulator.http.get(path, headers=bearer(key))

    assert response.status_code == status
    assert (key in response.text) == (mark == "bad")
    assert ("API key expired" in response.text) == (mark == "expired")


async def test_anthropics_models_list(simulator: SimulatorClient) -> None:
    good = await simulator.http.get("/v1/models", headers={"x-api-key": KEY, **VERSION})
    without = await simulator.http.get("/v1/models", headers={"x-api-key": KEY})
    bad = await simulator.http.get("/v1/models", headers={"x-api-key": "sk-bad-1", **VERSION})

    assert good.json()["data"][0]["type"] == "model"
    assert (without.status_code, bad.status_code) == (400, 401)
    assert bad.json()["type"] == "error"
    assert bad.json()["error"]["type"] == "authentication_error"


async def test_the_shapes_of_the_key_endpoints(simulator: SimulatorClient) -> None:
    openrouter = await simulator.http.get("/v1/key", headers=bearer(KEY))
    xai = await simulator.http.get("/v1/api-key", headers=bearer(KEY))
    refused = [
        (await simulator.http.get(path, headers=bearer("sk-sim-forbidden-1"))).json() for path in ASKED[1:]
    ]

    assert openrouter.json()["data"]["limit_remaining"] is None
    assert xai.json()["api_key_blocked"] is False
    assert refused[0]["error"]["code"] == 403
    assert isinstance(refused[1]["error"], str)


@pytest.mark.parametrize("path", ["/v1/key", "/v1/api-key"])
@pytest.mark.parametrize("header", ["x-api-key", "api-key", "none"])
async def test_they_take_bearer_tokens_only(simulator: SimulatorClient, path: str, header: str) -> None:
    response = await simulator.http.get(path, headers={header: KEY})

    assert response.status_code in {400, 401}
    assert (await simulator.calls())["key_info"] == 0


async def test_calls_are_counted_by_key(simulator: SimulatorClient) -> None:
    bad = "sk-sim-bad-1"
    await simulator.chat("hello")
    for path in ASKED:
        await simulator.http.get(path, headers=bearer(KEY))
    await simulator.http.get("/v1/key", headers=bearer(bad))
    await simulator.http.get("/v1/models", headers={"x-api-key": bad, **VERSION})

    calls = Calls.model_validate(await simulator.calls())
    assert (calls.chat, calls.models, calls.key_info) == (1, 2, 3)
    assert (calls.with_key(KEY), calls.asked_about(KEY)) == (1, 3)
    assert (calls.with_key(bad), calls.asked_about(bad)) == (0, 2)
