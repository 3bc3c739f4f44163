"""Each part away in turn: a typed error in time, and recovery without help."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from infra.bootstrap.postgres import connect
from services.api_edge.settings import EdgeSettings
from shared.contracts.runs import RunRequested
from shared.kernel.names import API_EDGE
from tests.fakes.api_edge_worker import chunk
from tests.gate import Gates
from tests.integration.api_edge.conftest import is_ready
from tests.integration.api_edge.house import House, serving_edge
from tests.loopback import http_client
from tests.realm import BusFor, TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

Mint = Callable[..., Awaitable[str]]
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


async def _is_missing(house: House, part: str) -> bool:
    async with house.client("none") as client:
        answer = await client.get("/readyz")
    return answer.status_code == 503 and part in answer.json()["missing"]


async def test_too_long_a_queue_is_told_at_once(settings: EdgeSettings, mint: Mint) -> None:
    changes = {"queue_runs_max": 2, "start_timeout_s": 0.5}
    token, queued = await mint(), settings.model_copy(update=changes)
    auth = {"authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{settings.http.port}"

    async def are_servers_there() -> bool:
        missing = (await client.get("/readyz")).json()["missing"]
        return not {"rabbitmq", "vault", "postgres"}.intersection(missing)

    async def is_refused() -> bool:
        answer = await client.post(CHAT, json=ASK, headers={"Latchkey-Timeout": "0.7"})
        if answer.status_code == 504:  # it was let in, and waited for
            return False
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "service_unavailable")
        return bool(error["service"] == "inference")

    async with (
        serving_edge(queued),
        http_client(base_url=url, headers=auth) as client,
    ):
        await until(are_servers_there)
        await asyncio.gather(*(is_refused() for _ in range(4)))
        await until(is_refused)


async def test_rabbitmq_goes_away_in_the_middle_of_runs(house: House, mint: Mint, gates: Gates) -> None:
    async def stalls(run: RunRequested) -> None:
        await house.worker.start(run)
        if run.stream:
            await house.worker.say(run, 1, chunk("first"))

    house.worker.serve = stalls
    async with house.client(await mint()) as client:
        runs = [asyncio.create_task(client.post(CHAT, json={**ASK, "stream": s})) for s in (False, True)]
        await until(lambda: _has_requested(house, 2))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        await gates.rabbitmq.close()
        plain, streamed = await asyncio.gather(*runs)
        assert time.monotonic() - began < 3
        refused = await client.post(CHAT, json=ASK)
        money = await client.get("/api/credits")
        await until(lambda: _is_missing(house, "rabbitmq"))
        await gates.rabbitmq.open()
        house.worker.serve = house.worker.answer
        await until(lambda: is_ready(house))
        # Nobody waits for them since the bus was lost: the workers are told when it is back.
        await _all_cancelled(house, {run.run_id for run in house.worker.requested})
        again = await client.post(CHAT, json=ASK)
        known = await client.get("/api/credits")
    for answer in (plain, refused, money):
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "bus_unavailable" in answer.text
    assert streamed.status_code == 200
    assert '"code":"bus_unavailable"' in streamed.text
    assert "[DONE]" not in streamed.text
    assert (again.status_code, known.status_code) == (200, 200)


async def _all_cancelled(house: House, runs: set[UUID]) -> None:
    """Return once these are cancelled; the one refused meanwhile, which may have got through, is too."""
    async with asyncio.timeout(10):
        while runs:
            runs = runs - {await house.worker.cancelled.get()}


async def _has_requested(house: House, count: int) -> bool:
    return len(house.worker.requested) >= count


async def test_postgres_goes_away(house: House, mint: Mint, gates: Gates) -> None:
    token = await mint()
    async with house.client(token) as client:
        assert (await client.post(CHAT, json=ASK)).status_code == 200
        await gates.postgres.close()
        refused = await client.post(CHAT, json=ASK)
        await until(lambda: _is_missing(house, "postgres"))
        await gates.postgres.open()
        await until(lambda: is_ready(house))
        again = await client.post(CHAT, json=ASK)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
    assert "retry-after" in refused.headers
    assert len(house.worker.requested) == 2
    assert again.status_code == 200


async def test_a_postgres_that_may_only_be_read_is_missing(house: House, realm: TestRealm) -> None:
    role = f"{realm.name}_{API_EDGE}"

    async def set_read_only(value: str) -> None:
        async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
            await database.execute(f'ALTER ROLE "{role}" SET default_transaction_read_only = {value}')
            await database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role
            )

    await set_read_only("on")
    await until(lambda: _is_missing(house, "postgres"))
    await set_read_only("off")
    await until(lambda: is_ready(house))


async def test_vault_goes_away_after_the_key_was_read(house: House, mint: Mint, gates: Gates) -> None:
    async with house.client(await mint()) as client:
        await gates.vault.close()
        await until(lambda: _is_missing(house, "vault"))
        stored = await client.post("/api/keys", json={"service": "openai", "api_key": "sk-still-sealed"})
        await gates.vault.open()
        await until(lambda: is_ready(house))
    assert stored.status_code == 201
    assert house.key_vault.opened == ["sk-still-sealed"]


async def test_a_service_goes_away(house: House, mint: Mint) -> None:
    _, key_vault, billing = house.buses
    await key_vault.drain()
    await billing.drain()
    await until(lambda: _is_missing(house, "key_vault"))
    await until(lambda: _is_missing(house, "billing"))
    async with house.client(await mint()) as client:
        keys, money = await asyncio.gather(client.get("/api/keys"), client.get("/api/credits"))
    for answer, service in ((keys, "key_vault"), (money, "billing")):
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert answer.json()["service"] == service
        assert "retry-after" in answer.headers


async def test_the_edge_answers_before_its_servers_do(
    settings: EdgeSettings, gates: Gates, bus_for: BusFor, mint: Mint
) -> None:
    for gate in (gates.rabbitmq, gates.vault, gates.postgres):
        await gate.close()
    async with serving_edge(settings):
        house = House(f"http://127.0.0.1:{settings.http.port}", *(None,) * 4, ())  # type: ignore[arg-type]
        token = await mint()
        async with house.client(token) as client:
            ready = await client.get("/readyz")
            refused = await client.get("/api/credits")
            assert ready.json()["missing"] == ["rabbitmq", "vault", "postgres"]
            assert refused.json()["code"] == "database_unavailable"
            await gates.postgres.open()
            await until(lambda: _is_code(client.post(CHAT, json=ASK), "bus_unavailable"))
            sealed = {"X-OpenAI-Key": "sk-never-sent"}
            assert await _is_code(client.post(CHAT, json=ASK, headers=sealed), "vault_unavailable")
            await gates.rabbitmq.open()
            await gates.vault.open()
            await until(lambda: _is_code(client.post(CHAT, json=ASK), "service_unavailable"))
            store = {"service": "openai", "api_key": "sk-sealed"}
            await until(lambda: _is_code(client.post("/api/keys", json=store), "service_unavailable"))


async def _is_code(asked: Awaitable[Any], code: str) -> bool:
    body = (await asked).json()
    return bool(body.get("error", body)["code"] == code)
