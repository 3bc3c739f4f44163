"""The whole house as its users have it: four services and a simulated provider, each a process of its own."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx2

from infra.bootstrap import Realm
from infra.bootstrap.tokens import mint_jwt
from infra.simulator.control import Calls, read_calls
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, KeyService
from tests.acceptance import worker
from tests.acceptance.callers import Caller, calling, credits_of
from tests.gate import Gate, free_port, open_gate
from tests.loopback import http_client
from tests.nursery import Nursery, nursery
from tests.parts import Part
from tests.realm import TestRealm

PLATFORM_KEY: Final = "sk-sim-platform-4fd1c07a9be64a2c"
RABBITMQ, VAULT, POSTGRES = "rabbitmq", "vault", "postgres"
START_S: Final = 4
"""How long a run may wait for its beginning, in this house."""
IDLE_S: Final = 4
"""How long a provider's stream may pause, in this house."""
STALE_AFTER_S: Final = 5.0
"""When a worker of this house gives a silent one up, instead of after 10 s."""
_READY_S: Final = 45.0
_POLL_S: Final = 0.1
_SIMULATOR: Final = "simulator"
_GATED: Final = {
    RABBITMQ: "LATCHKEY_AMQP_URL",
    VAULT: "LATCHKEY_VAULT_ADDR",
    POSTGRES: "LATCHKEY_POSTGRES_URL",
}


@dataclass(frozen=True)
class House:
    """Everything of one realm that runs. Its servers are reached through `gates` by the services alone."""

    realm: TestRealm
    urls: tuple[str, ...]
    simulator_url: str
    gates: Mapping[str, Gate]
    parts: Mapping[str, Part]
    workers: tuple[str, ...]
    _callers: AsyncExitStack

    @property
    def url(self) -> str:
        """The first edge's."""
        return self.urls[0]

    async def caller(self, name: str = "user", role: str = "user") -> Caller:
        """A caller with an id nobody had before."""
        return await self.caller_at(self.url, f"{name}-{secrets.token_hex(4)}", role)

    async def caller_at(self, url: str, user_id: str, role: str = "user") -> Caller:
        """A caller of one of the edges."""
        secret = self.realm.env(API_EDGE)["LATCHKEY_AUTH__JWT_SECRET"]
        token = mint_jwt(secret, Realm(self.realm.name), user_id, role)
        return await self._callers.enter_async_context(calling(url, user_id, token))

    async def grant(self, caller: Caller, micros: int) -> None:
        """Give a caller credits, as an administrator."""
        admin = await self.caller("admin", "admin")
        body = {
            "user_id": caller.user_id,
            "credits": credits_of(micros),
            "idempotency_key": secrets.token_hex(8),
        }
        (await admin.http.post("/api/admin/credits/grants", json=body)).raise_for_status()

    async def receipt(self, caller: Caller, run_id: str, *, attempts: int = 1) -> dict[str, Any]:
        """A run's receipt, once it tells of so many attempts."""
        receipt: dict[str, Any] = {}

        async def is_told() -> bool:
            receipt.update(await caller.get(f"/api/runs/{run_id}/receipt"))
            return len(receipt["attempts"]) >= attempts

        await eventually(is_told, f"run {run_id} has a receipt")
        return receipt

    async def check_ledger(self, caller: Caller, balance_micros: int) -> None:
        """The balance comes to this, nothing stays held, and the whole ledger adds up."""

        async def is_settled() -> bool:
            told = await caller.get("/api/credits")
            return (told["balance_micros"], told["held_micros"]) == (balance_micros, 0)

        await eventually(is_settled, f"the balance is {balance_micros} micros, and nothing is held")
        assert await self.rows("SELECT * FROM billing.ledger_faults") == []

    def calls(self) -> Calls:
        """What the provider was called with."""
        return read_calls(self.simulator_url)

    def logs(self) -> dict[str, str]:
        return {name: part.log.read_text() for name, part in self.parts.items()}

    async def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Ask the database, past the gate, as its administrator."""
        connection = await asyncpg.connect(self.realm.admin["LATCHKEY_POSTGRES_URL"])
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()

    async def wait_ready(self) -> None:
        """Until the edge says that every part is there, and each worker that it is ready."""
        await eventually(self._is_well, "the house is ready", timeout_s=_READY_S)

    async def restore(self) -> None:
        """Open every gate, start what does not run, wait until all is ready."""
        for gate in self.gates.values():
            await gate.open()
        await asyncio.gather(*(part.start() for part in self.parts.values() if not part.is_running))
        await self.wait_ready()

    async def _is_well(self) -> bool:
        for part in self.parts.values():
            if not part.is_running:
                raise AssertionError(f"{part.name} has ended:\n{part.log_of_this_life()[-2000:]}")
        return await self.is_ready()

    async def is_ready(self) -> bool:
        silent = [part for name, part in self.parts.items() if name.startswith((INFERENCE, BILLING))]
        if not all('"ready"' in part.log_of_this_life() for part in silent):
            return False
        async with http_client(timeout=5) as client:
            try:
                answers = [await client.get(f"{url}/readyz") for url in self.urls]
            except httpx2.TransportError:
                return False
        return all(answer.is_success for answer in answers)


async def eventually(truth: Callable[[], Awaitable[bool]], what: str, *, timeout_s: float = 20.0) -> None:
    """Wait until `truth()` holds. Raises AssertionError naming what did not come about."""
    deadline = time.monotonic() + timeout_s
    while not await truth():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def running_house(
    realm: TestRealm,
    folder: Path,
    *,
    workers: int = 2,
    edges: int = 1,
    billings: int = 1,
    gated: bool = True,
    log_level: str = "DEBUG",
    modules: Mapping[str, str] | None = None,
    env: Mapping[str, Mapping[str, str]] | None = None,
    parents: Nursery | None = None,
) -> AsyncIterator[House]:
    """A house in a bootstrapped realm, ready; all its processes are gone at the end.

    Without gates its services reach the servers directly, as fast as they can. `modules` and `env`: what
    single parts, by name (`inference-1`, `billing`, `billing-2`), run instead, and get beside all else.
    `parents`: where they are born, if not in a nursery of the house's own.
    """
    await put_platform_key(realm, KeyService.OPENAI, PLATFORM_KEY)
    async with AsyncExitStack() as stack:
        born_of = await stack.enter_async_context(nursery()) if parents is None else parents
        edge = realm.env(API_EDGE)
        gates = {
            server: await stack.enter_async_context(open_gate(edge[name]))
            for server, name in _GATED.items()
            if gated
        }
        numbers = {KEY_VAULT: 1, BILLING: billings, INFERENCE: workers, API_EDGE: edges}
        ports = {name: free_port() for name in (_SIMULATOR, *replicas(API_EDGE, edges))}
        wiring = _Wiring(born_of, realm, gates, folder, ports, log_level, modules or {}, env or {})
        parts = wiring.parts(numbers)
        stack.push_async_callback(_stop_all, parts.values())
        await asyncio.gather(*(part.start() for part in parts.values()))
        house = House(
            realm=realm,
            urls=tuple(f"http://127.0.0.1:{ports[name]}" for name in replicas(API_EDGE, edges)),
            simulator_url=f"http://127.0.0.1:{ports[_SIMULATOR]}",
            gates=gates,
            parts=parts,
            workers=tuple(name for name in parts if name.startswith(INFERENCE)),
            _callers=await stack.enter_async_context(AsyncExitStack()),
        )
        await house.wait_ready()
        yield house


def replicas(service: str, number: int) -> list[str]:
    """The names of a service's parts: the first is called like the service; workers all have numbers."""
    numbers = range(1, number + 1)
    return [service if n == 1 and service != INFERENCE else f"{service}-{n}" for n in numbers]


@dataclass(frozen=True)
class _Wiring:
    """What the house's parts are told, and by which ports and gates they reach each other."""

    nursery: Nursery
    realm: TestRealm
    gates: Mapping[str, Gate]
    folder: Path
    ports: Mapping[str, int]
    log_level: str
    modules: Mapping[str, str]
    env: Mapping[str, Mapping[str, str]]

    def parts(self, numbers: Mapping[str, int]) -> dict[str, Part]:
        words = ("infra.simulator", "--port", str(self.ports[_SIMULATOR]))
        simulator = Part(self.nursery, _SIMULATOR, *words, env={}, log=self.folder / "simulator.log")
        names = [name for service, number in numbers.items() for name in replicas(service, number)]
        return {_SIMULATOR: simulator, **{name: self._service(name) for name in names}}

    def _service(self, name: str) -> Part:
        kind = name.partition("-")[0]
        usual = worker.__name__ if kind == INFERENCE else f"services.{kind}.app"
        env = {
            "LATCHKEY_ENV_FILE": str(self.realm.env_dir / f"{kind}.env"),
            "LATCHKEY_LOG_LEVEL": self.log_level,
            **self._gated(self.realm.env(kind)),
            **self._of_kind(name, kind),
            **self.env.get(name, {}),
        }
        module = self.modules.get(name, usual)
        return Part(self.nursery, name, module, env=env, log=self.folder / f"{name}.log")

    def _gated(self, told: Mapping[str, str]) -> dict[str, str]:
        return {
            variable: self.gates[server].before(told[variable])
            for server, variable in _GATED.items()
            if server in self.gates and variable in told
        }

    def _of_kind(self, name: str, kind: str) -> dict[str, str]:
        if kind == API_EDGE:
            return {
                "LATCHKEY_HTTP__HOST": "127.0.0.1",
                "LATCHKEY_HTTP__PORT": str(self.ports[name]),
                "LATCHKEY_START_TIMEOUT_S": str(START_S),
            }
        if kind != INFERENCE:
            return {}
        provider = f"http://127.0.0.1:{self.ports[_SIMULATOR]}/v1"
        return {
            **{f"LATCHKEY_PROVIDERS__{service.upper()}__BASE_URL": provider for service in KeyService},
            worker.PORT_VARIABLE: str(self.ports[_SIMULATOR]),
            worker.STALE_AFTER: str(STALE_AFTER_S),
            "LATCHKEY_PROVIDER_IDLE_TIMEOUT_S": str(IDLE_S),
        }


async def _stop_all(parts: Iterable[Part]) -> None:
    await asyncio.gather(*(part.stop() for part in parts))


async def put_platform_key(realm: TestRealm, service: str, *keys: str) -> None:
    """What ops do with Vault's CLI: put keys for a service in place of those there; none takes them away."""
    servers = realm.servers
    path = f"{servers.vault_addr}/v1/{realm.name}"
    headers = {"X-Vault-Token": servers.vault_token, "X-Vault-Namespace": servers.vault_namespace or ""}
    async with http_client(headers=headers) as vault:
        if keys:
            secret = {"data": {"api_keys": list(keys)}}
            answer = await vault.post(f"{path}/data/platform/{service}", json=secret)
        else:
            answer = await vault.delete(f"{path}/metadata/platform/{service}")
        answer.raise_for_status()
