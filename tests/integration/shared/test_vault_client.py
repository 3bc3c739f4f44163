"""The Vault client against a real server: refused tokens are replaced, failures typed."""

import asyncio
from collections.abc import Callable

import hvac
import pytest
from structlog.testing import capture_logs

from shared.kernel.errors import InvalidRequestError, NotFoundError, VaultUnavailableError
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient
from tests.realm import TestRealm, VaultFor

pytestmark = pytest.mark.integration


def _reading(path: str, realm: TestRealm) -> Callable[[hvac.Client], str]:
    """Read a secret; return the token that was let in."""

    def read(client: hvac.Client) -> str:
        client.secrets.kv.v2.read_secret_version(path, mount_point=realm.name, raise_on_deleted_version=True)
        return str(client.token)

    return read


async def test_a_revoked_token_is_replaced_unseen(vault_for: VaultFor, realm: TestRealm) -> None:
    vault = await vault_for("key_vault")
    read = _reading("sealing/private", realm)
    token = await vault.call(read)
    admin = hvac.Client(url=realm.admin["VAULT_ADDR"], token=realm.admin["VAULT_TOKEN"])
    await asyncio.to_thread(admin.auth.token.revoke, token)
    assert await vault.call(read) != token


async def test_many_calls_at_once_log_in_once(vault_for: VaultFor, realm: TestRealm) -> None:
    vault = await vault_for("key_vault")
    read = _reading("sealing/private", realm)
    assert len(set(await asyncio.gather(*(vault.call(read) for _ in range(32))))) == 1
    assert await vault.healthy()


async def test_what_the_policy_forbids_is_unavailable_and_what_is_missing_is_not_found(
    vault_for: VaultFor, realm: TestRealm
) -> None:
    edge, keeper = await vault_for("api_edge"), await vault_for("key_vault")

    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(VaultUnavailableError):
                await edge.call(_reading("sealing/private", realm))
    assert [(line["event"], line["reason"]) for line in logs] == [("vault failed", "Forbidden")], "once"
    with pytest.raises(NotFoundError):
        await keeper.call(_reading("platform/gateway", realm))


async def test_a_refused_input_is_an_invalid_request(vault_for: VaultFor, realm: TestRealm) -> None:
    keeper = await vault_for("key_vault")
    with pytest.raises(InvalidRequestError):
        await keeper.call(
            lambda client: client.secrets.transit.decrypt_data(
                "credentials", "vault:v1:bm9wZQ==", context="dQ==", mount_point=f"{realm.name}_transit"
            )
        )


async def test_an_absent_vault_is_unavailable_in_bounded_time() -> None:
    absent = VaultClient("http://127.0.0.1:9", "role", SecretText("never printed"), timeout_s=1)
    await absent.start()
    try:
        async with asyncio.timeout(5):
            assert not await absent.healthy()
            with pytest.raises(VaultUnavailableError) as away:
                await absent.call(lambda client: client.seal_status)
    finally:
        await absent.stop()
    assert "never printed" not in repr(away.value)
