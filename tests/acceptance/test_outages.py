"""Each part is away in turn: typed errors in time, no change of keys, and recovery by itself."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import httpx2
import pytest

from shared.kernel.names import API_EDGE, BILLING, KEY_VAULT
from tests.acceptance.callers import Caller, error_of
from tests.acceptance.house import PLATFORM_KEY, POSTGRES, RABBITMQ, START_S, VAULT, House, eventually

pytestmark = pytest.mark.acceptance

DEADLINE_S: Final = START_S + 6.0
"""What a run may wait for its beginning, and what it takes to say so."""
RECOVERY_S: Final = 30.0
REMEMBERED_S: Final = 0.5
"""Longer than key_vault and a worker, one after the other, use a key without a look at Vault."""
AWAY: Final = {
    RABBITMQ: "bus_unavailable",
    VAULT: "vault_unavailable",
    POSTGRES: "database_unavailable",
}


class Users:
    """One with a key of their own and leave to fall back, and one who pays for the platform's."""

    def __init__(self, house: House, owner: Caller, payer: Caller, key: str) -> None:
        self.house = house
        self.owner = owner
        self.payer = payer
        self._key = key

    @classmethod
    async def of(cls, house: House) -> "Users":
        owner, payer = await house.caller("owner"), await house.caller("payer")
        key = f"sk-sim-own-{secrets.token_hex(8)}"
        await owner.store_key(key)
        await house.grant(owner, 1_000_000)
        await house.grant(payer, 1_000_000)
        return cls(house, owner, payer, key)

    async def own_run(self) -> httpx2.Response:
        return await in_time(self.owner.ask("with my own key"))

    async def paid_run(self) -> httpx2.Response:
        return await in_time(self.payer.ask("with yours", flow="deep_analysis", max_tokens=50))

    async def are_served(self) -> None:
        """Both, with the right keys, as soon as the house has mended itself."""
        await eventually(self._is_served, "runs go through again", timeout_s=RECOVERY_S)
        assert await self.owner.balance_micros() == 1_000_000, "a run with the user's own key was charged"

    async def _is_served(self) -> bool:
        own, paid = await asyncio.gather(self.own_run(), self.paid_run())
        if {own.status_code, paid.status_code} != {200}:
            return False
        return (own.headers["latchkey-key-source"], paid.headers["latchkey-key-source"]) == (
            "user",
            "platform",
        )

    def platform_calls(self) -> int:
        return self.house.calls().with_key(PLATFORM_KEY)


async def in_time(answering: Awaitable[httpx2.Response]) -> httpx2.Response:
    start = time.monotonic()
    answer = await answering
    assert time.monotonic() - start < DEADLINE_S, f"{answer.status_code} came too late: {answer.text}"
    return answer


def check_unavailable(answer: httpx2.Response, *codes: str) -> None:
    """503 with one of these codes, and when to come back."""
    status, code = error_of(answer)
    assert (status, code) in {(503, wanted) for wanted in codes}, answer.text
    assert int(answer.headers["retry-after"]) >= 1


async def unready(users: Users) -> httpx2.Response:
    """What `/readyz` says once its last look, at most a second old, is over."""
    async with asyncio.timeout(DEADLINE_S):
        while (answer := await users.owner.http.get("/readyz")).status_code != 503:
            await asyncio.sleep(0.1)
    return answer


@pytest.fixture(params=["closed", "frozen"])
def shut(request: pytest.FixtureRequest) -> Callable[[House, str], Awaitable[None]]:
    """Ways for a server to be away: it refuses, or it does not move any more."""

    async def away(house: House, server: str) -> None:
        if request.param == "closed":
            await house.gates[server].close()
        else:
            house.gates[server].freeze()

    return away


@pytest.mark.parametrize("server", AWAY)
async def test_a_server_is_away(
    house: House, server: str, shut: Callable[[House, str], Awaitable[None]]
) -> None:
    users = await Users.of(house)
    await users.are_served()
    calls = users.platform_calls()

    await shut(house, server)
    await asyncio.sleep(REMEMBERED_S)
    own, paid, listed = await asyncio.gather(
        users.own_run(), users.paid_run(), in_time(users.owner.http.get("/api/keys"))
    )
    assert users.platform_calls() == calls, "the platform's key was used in place of the user's"
    readiness = await unready(users)

    check_unavailable(own, AWAY[server], "service_unavailable")
    check_unavailable(paid, AWAY[server], "service_unavailable")
    if server != VAULT:
        check_unavailable(listed, AWAY[server], "service_unavailable")
    assert server in readiness.text
    await house.gates[server].open()
    await users.are_served()


@pytest.mark.parametrize("service", [KEY_VAULT, BILLING, "inference"])
async def test_a_service_is_stopped(house: House, service: str) -> None:
    users = await Users.of(house)
    await users.are_served()
    calls = users.platform_calls()
    stopped = [part for name, part in house.parts.items() if name.startswith(service)]

    await asyncio.gather(*(part.stop() for part in stopped))
    await asyncio.sleep(REMEMBERED_S)
    own, paid = await asyncio.gather(users.own_run(), users.paid_run())

    if service == BILLING:
        assert own.status_code == 200, "runs with the user's own key need no billing"
    else:
        check_unavailable(own, "service_unavailable")
    check_unavailable(paid, "service_unavailable")
    assert users.platform_calls() == calls
    readiness = await in_time(users.owner.http.get("/readyz"))
    assert service in readiness.json()["missing"]
    await asyncio.gather(*(part.start() for part in stopped))
    await users.are_served()


async def test_the_edge_is_stopped(house: House) -> None:
    users = await Users.of(house)
    await house.parts[API_EDGE].stop()
    with pytest.raises(httpx2.ConnectError):
        await users.owner.ask("anybody there?")
    await house.parts[API_EDGE].start()
    await house.wait_ready()
    await users.are_served()


async def test_no_key_is_taken_while_vault_is_away(house: House) -> None:
    caller = await house.caller()
    body = {"service": "groq", "api_key": "gsk_sim_0011223344556677"}
    await house.gates[VAULT].close()

    refused = await in_time(caller.http.post("/api/keys", json=body))

    check_unavailable(refused, "vault_unavailable", "service_unavailable")
    await house.gates[VAULT].open()

    async def is_taken() -> bool:
        return (await caller.http.post("/api/keys", json=body)).status_code == 201

    await eventually(is_taken, "the key is taken", timeout_s=RECOVERY_S)
    assert len((await caller.get("/api/keys"))["items"]) == 1
