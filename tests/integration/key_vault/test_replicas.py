"""Replicas that remember keys: what one changes, the other knows; a warm resolve costs no round trip."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import pytest

from services.key_vault.app import serving
from services.key_vault.settings import KeyVaultSettings
from shared.contracts.consent import ChangeUserSettings, UserSettings
from shared.contracts.keys import Credential, UpdateKey
from shared.kernel.errors import ConsentRequiredError, PlatformError, UserApiKeyRequiredError
from shared.kernel.names import KEY_VAULT, CredentialStatus, KeyPolicy, KeySource
from shared.runtime.bus import Bus
from tests.fakes.key_vault_house import KEY, replace_command
from tests.gate import Gates
from tests.integration.key_vault.clients import TIMEOUT_S, Edge, RpcWorker
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

Start = Callable[[], AbstractAsyncContextManager[Bus]]
REQUIRED = KeyPolicy.USER_KEY_REQUIRED


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


@pytest.fixture
async def gated(start: Start) -> AsyncIterator[Bus]:
    """A replica behind the gates."""
    async with start() as bus:
        yield bus


@pytest.fixture
async def two(gated: Bus, realm: TestRealm) -> AsyncIterator[None]:
    """That one, and another with ways of its own."""
    values = realm.settings(KEY_VAULT)
    async with serving(KeyVaultSettings(**values)):
        yield


async def _all_answers(worker: RpcWorker, user: str, **fields: Any) -> list[str]:
    """Ask both replicas, several times each: keys, or the codes of refusals."""

    async def answer() -> str:
        try:
            return (await worker.resolve(user_id=user, **fields))[1]
        except PlatformError as error:
            return error.code

    return list(await asyncio.gather(*(answer() for _ in range(8))))


async def _within_1_s(worker: RpcWorker, user: str, expected: str, **fields: Any) -> None:
    """Both answer so whatever is asked a second from now on, or sooner; then they go on doing so."""
    began = asked = time.monotonic()
    while set(await _all_answers(worker, user, **fields)) != {expected}:
        assert asked - began < 1, "still the answer from before"
        await asyncio.sleep(0.01)
        asked = time.monotonic()
    for _ in range(5):
        assert set(await _all_answers(worker, user, **fields)) == {expected}
        await asyncio.sleep(0.05)


@pytest.mark.usefixtures("two")
async def test_revoked_on_one_refused_by_the_other_within_a_second(
    edge: Edge, worker: RpcWorker, user: str
) -> None:
    for _ in range(3):  # on either of them
        kept = await edge.keep(KEY, user_id=user)
        await worker.warm(edge, user)
        await edge.revoke(user, kept.id)
        await _within_1_s(worker, user, "user_api_key_required", policy=REQUIRED)


@pytest.mark.usefixtures("two")
async def test_every_change_reaches_the_other(edge: Edge, worker: RpcWorker, user: str) -> None:
    kept = await edge.keep(KEY, user_id=user)
    await worker.warm(edge, user)
    second = replace_command(edge.public_key, kept.id, "sk-the-second-0002", user_id=user)
    replaced = await edge.bus.rpc.call(second, Credential, timeout_s=TIMEOUT_S)
    assert replaced.version == 2
    await _within_1_s(worker, user, "sk-the-second-0002")
    for status, expected in (
        (CredentialStatus.INACTIVE, "user_api_key_required"),
        (CredentialStatus.ACTIVE, "sk-the-second-0002"),
    ):
        update = UpdateKey(user_id=user, credential_id=kept.id, status=status)
        await edge.bus.rpc.call(update, Credential, timeout_s=TIMEOUT_S)
        await _within_1_s(worker, user, expected, policy=REQUIRED)
    await worker.warm(edge, user)
    await edge.keep("sk-the-newest-0003", user_id=user)
    await _within_1_s(worker, user, "sk-the-newest-0003")


@pytest.mark.usefixtures("two")
async def test_so_does_consent(edge: Edge, worker: RpcWorker, user: str, kv: Any, realm: TestRealm) -> None:
    kv.create_or_update_secret("platform/openai", {"api_key": "sk-platform-1"}, mount_point=realm.name)
    await worker.warm(edge, user)
    for allowed, expected in ((False, ConsentRequiredError.code), (True, "sk-platform-1")):
        command = ChangeUserSettings(user_id=user, allow_platform_fallback=allowed)
        decided = await edge.bus.rpc.call(command, UserSettings, timeout_s=TIMEOUT_S)
        assert decided.allow_platform_fallback is allowed
        await _within_1_s(worker, user, expected)


@pytest.mark.usefixtures("two")
async def test_what_was_missed_while_the_bus_was_lost_is_not_served(
    edge: Edge, worker: RpcWorker, gates: Gates, gated: Bus, user: str
) -> None:
    kept = await edge.keep(KEY, user_id=user)
    await worker.warm(edge, user)
    await gates.rabbitmq.close()
    await edge.revoke(user, kept.id)  # the other one's work
    await asyncio.sleep(0.5)
    await gates.rabbitmq.open()
    async with asyncio.timeout(20):
        while not gated.connected:
            await asyncio.sleep(0.05)
            assert KEY not in await _all_answers(worker, user, policy=REQUIRED)
    for _ in range(10):
        assert KEY not in await _all_answers(worker, user, policy=REQUIRED)
        await asyncio.sleep(0.1)
    await edge.keep(KEY, user_id=f"{user}-2")
    await worker.warm(edge, f"{user}-2")


@pytest.mark.usefixtures("gated")
async def test_a_warm_resolve_needs_no_postgres(
    edge: Edge, worker: RpcWorker, gates: Gates, user: str
) -> None:
    await edge.keep(KEY, user_id=user)
    await worker.warm(edge, user)
    gates.postgres.freeze()
    async with asyncio.timeout(3):
        answers = await asyncio.gather(*(worker.resolve(user_id=user) for _ in range(50)))
    assert {(answer.source, key) for answer, key in answers} == {(KeySource.USER, KEY)}
    await gates.postgres.open()


@pytest.mark.usefixtures("gated")
async def test_other_users_are_not_served_from_it(edge: Edge, worker: RpcWorker, user: str) -> None:
    await edge.keep(KEY, user_id=user)
    await worker.warm(edge, user)
    with pytest.raises(UserApiKeyRequiredError):
        await worker.resolve(user_id=f"{user}-2", policy=REQUIRED)


@pytest.mark.usefixtures("gated")
async def test_a_vault_that_is_away_is_noticed_within_half_a_second(
    edge: Edge, worker: RpcWorker, gates: Gates, user: str
) -> None:
    await edge.keep(KEY, user_id=user)
    for away in (gates.vault.close, _frozen(gates)):
        await worker.warm(edge, user)
        await away()
        await asyncio.sleep(0.5)
        assert set(await _all_answers(worker, user)) == {"vault_unavailable"}
        await gates.vault.open()
        assert (await worker.resolve_in_time(user_id=user))[1] == KEY


def _frozen(gates: Gates) -> Callable[[], Any]:
    async def freeze() -> None:
        gates.vault.freeze()

    return freeze
