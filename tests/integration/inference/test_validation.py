"""A key just entered, asked about over the real bus by a worker's process; the simulator is all providers."""

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infra.simulator.control import read_calls
from shared.contracts.validation import KeyValidated, ValidateKey
from shared.kernel.errors import InvalidRequestError, ServiceUnavailableError, VaultUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyService
from tests.integration.inference.house import Edge, KeyVault, StartingWorkers, WorkerProcess

pytestmark = pytest.mark.integration

PATIENCE_S = 8.0
SILENT = KeyService.GROQ
"""Whose address nobody answers at."""
CANARY = "canary0validated0key0"


@pytest_asyncio.fixture(scope="module", autouse=True)
async def worker(starting_workers: StartingWorkers, simulator_process: str) -> AsyncIterator[WorkerProcess]:
    addresses = {
        f"providers__{service}__base_url": f"{simulator_process}/v1"
        for service in KeyService
        if service is not SILENT
    }
    async with starting_workers(simulator_process) as start:
        yield await start(**addresses, providers__groq__base_url="http://127.0.0.1:1/v1", log_level="DEBUG")


async def verdict(
    edge: Edge,
    key_vault: KeyVault,
    secret: str,
    service: KeyService = KeyService.OPENAI,
    base_url: str | None = None,
) -> str:
    key_vault.entered = (secret, base_url)
    ask = ValidateKey(validation_id=new_id(), user_id="ann", service=service, credential_id=new_id())
    return (await edge.bus.rpc.call(ask, KeyValidated, timeout_s=PATIENCE_S)).verdict.value


@pytest.mark.parametrize("service", [service for service in KeyService if service is not SILENT])
@pytest.mark.parametrize(
    "case",
    [
        ("good", "valid"),
        ("revoked", "valid"),
        ("spent", "valid"),
        ("limited", "valid"),
        ("bad", "invalid"),
        ("forbidden", "invalid"),
        ("expired", "expired"),
        ("broke", "no_quota"),
    ],
)
async def test_every_service_tells(
    edge: Edge, key_vault: KeyVault, simulator: str, service: KeyService, case: tuple[str, str]
) -> None:
    mark, expected = case
    secret = f"{CANARY}-{mark}-{service}"

    assert await verdict(edge, key_vault, secret, service) == expected
    calls = read_calls(simulator)
    assert (calls.asked_about(secret), calls.models + calls.key_info, calls.chat) == (1, 1, 0)


async def test_nobody_there(edge: Edge, key_vault: KeyVault) -> None:
    assert await verdict(edge, key_vault, f"{CANARY}-good-", SILENT) == "unreachable"


@pytest.mark.parametrize("service", [KeyService.GATEWAY, KeyService.OPENAI])
@pytest.mark.parametrize(
    "base_url", ["https://127.0.0.1/v1", "https://localhost/v1", "http://example.com/v1", "https://[::1]/v1"]
)
async def test_a_callers_address_is_guarded(
    edge: Edge, key_vault: KeyVault, simulator: str, service: KeyService, base_url: str
) -> None:
    for address in (base_url, f"{simulator}/v1"):
        with pytest.raises(InvalidRequestError):
            await verdict(edge, key_vault, f"{CANARY}-good-", service, address)

    assert read_calls(simulator).models == 0


async def test_what_key_vault_refuses_with_is_told(edge: Edge, key_vault: KeyVault) -> None:
    key_vault.refusal = VaultUnavailableError(retry_after_s=2)

    with pytest.raises(VaultUnavailableError) as caught:
        await verdict(edge, key_vault, f"{CANARY}-good-")
    assert caught.value.retry_after_s == 2


async def test_a_key_vault_that_is_silent_is_named_in_time(edge: Edge, key_vault: KeyVault) -> None:
    began = time.monotonic()
    key_vault.delay_s = 3

    with pytest.raises(ServiceUnavailableError) as caught:
        await verdict(edge, key_vault, f"{CANARY}-good-")
    assert caught.value.service == "key_vault"
    assert time.monotonic() - began < 3


async def test_no_key_is_in_the_workers_log(worker: WorkerProcess) -> None:
    log = "".join(worker.lines)

    assert "key validated" in log
    assert CANARY not in log
