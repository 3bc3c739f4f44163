"""What the platform's pool promises, held by the fake and by KV v2."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import hvac
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from services.key_vault.adapters.vault_platform_keys import VaultPlatformKeys
from services.key_vault.domain.platform import PlatformPool
from services.key_vault.ports import PlatformKeys
from shared.kernel.errors import VaultUnavailableError
from shared.kernel.names import KEY_VAULT, KeyService
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient
from tests.fakes.key_vault_house import GATEWAY_URL, soon
from tests.fakes.key_vault_pools import InMemoryPlatformKeys
from tests.realm import TestRealm, temporary_realm

pytestmark = pytest.mark.conformance

Put = Callable[..., Awaitable[None]]


@pytest_asyncio.fixture(scope="module")
async def realm(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    """A realm of its own: platform keys belong to all of a realm's tests."""
    async with temporary_realm(servers, tmp_path_factory.mktemp("realm")) as made:
        yield made


def revealed(pool: PlatformPool) -> list[str]:
    return [key.reveal() for key in pool.keys]


class PlatformKeysContract:
    async def test_a_service_without_keys_has_an_empty_pool(self, platform_keys: PlatformKeys) -> None:
        assert await platform_keys.pool(KeyService.XAI) == PlatformPool()

    async def test_keys_come_in_order(self, platform_keys: PlatformKeys, put: Put) -> None:
        await put(KeyService.OPENAI, "sk-1", "sk-2", "sk-3")
        assert revealed(await platform_keys.pool(KeyService.OPENAI)) == ["sk-1", "sk-2", "sk-3"]

    async def test_a_change_holds_at_once(self, platform_keys: PlatformKeys, put: Put) -> None:
        await put(KeyService.GROQ, "gsk-1")
        assert revealed(await platform_keys.pool(KeyService.GROQ)) == ["gsk-1"]
        await put(KeyService.GROQ, "gsk-2")
        assert revealed(await platform_keys.pool(KeyService.GROQ)) == ["gsk-2"]

    async def test_when_it_was_written_is_told(self, platform_keys: PlatformKeys, put: Put) -> None:
        await put(KeyService.GROQ, "gsk-1")
        first = (await platform_keys.pool(KeyService.GROQ)).written_at
        await put(KeyService.GROQ, "gsk-1")
        again = (await platform_keys.pool(KeyService.GROQ)).written_at
        assert first is not None
        assert again is not None
        assert soon(-60) < first < again <= soon(5)

    async def test_a_team_gateway_has_an_address(self, platform_keys: PlatformKeys, put: Put) -> None:
        await put(KeyService.GATEWAY, "gw-1", base_url=GATEWAY_URL)
        assert (await platform_keys.pool(KeyService.GATEWAY)).base_url == GATEWAY_URL
        await put(KeyService.GATEWAY, "gw-1")
        assert (await platform_keys.pool(KeyService.GATEWAY)).base_url is None


class TestInMemoryPlatformKeys(PlatformKeysContract):
    @pytest.fixture
    def platform_keys(self) -> InMemoryPlatformKeys:
        return InMemoryPlatformKeys()

    @pytest.fixture
    def put(self, platform_keys: InMemoryPlatformKeys) -> Put:
        return platform_keys.put


class TestVaultPlatformKeys(PlatformKeysContract):
    @pytest.fixture
    async def platform_keys(
        self, realm: TestRealm, vault_for: Callable[[str], Awaitable[VaultClient]]
    ) -> PlatformKeys:
        return VaultPlatformKeys(await vault_for(KEY_VAULT), mount=realm.name)

    @pytest.fixture
    def kv(self, realm: TestRealm) -> Iterator[Any]:
        admin = hvac.Client(realm.admin["VAULT_ADDR"], realm.admin["VAULT_TOKEN"])
        yield admin.secrets.kv.v2
        admin.adapter.close()

    @pytest.fixture
    def put(self, realm: TestRealm, kv: Any) -> Put:
        async def put(service: KeyService, *keys: str, base_url: str | None = None) -> None:
            secret: dict[str, Any] = {"api_keys": list(keys)} if len(keys) > 1 else {"api_key": keys[0]}
            secret |= {"base_url": base_url} if base_url else {}
            kv.create_or_update_secret(f"platform/{service}", secret, mount_point=realm.name)

        return put

    @pytest.mark.parametrize(
        ("secret", "keys"),
        [
            ({"api_key": "AIza-1\n"}, ["AIza-1"]),
            ({"api_keys": ["AIza-1", "AIza-2"], "api_key": "AIza-1"}, ["AIza-1", "AIza-2"]),
            ({"api_keys": '["AIza-1", "AIza-2"]'}, ["AIza-1", "AIza-2"]),
            ({"api_keys": "AIza-1, AIza-2\n"}, ["AIza-1", "AIza-2"]),
            ({"api_keys": [1, None, "", "AIza 1", "AIza-2"]}, ["AIza-2"]),
            ({"api_keys": {"a": "b"}, "api_key": 7}, []),
            ({"api_keys": "[]"}, []),
            ({"api_keys": "7"}, []),
            ({"other": "AIza-1"}, []),
        ],
    )
    async def test_what_ops_may_have_put_there(
        self, platform_keys: PlatformKeys, kv: Any, realm: TestRealm, secret: dict[str, Any], keys: list[str]
    ) -> None:
        kv.create_or_update_secret("platform/gemini", secret, mount_point=realm.name)
        assert revealed(await platform_keys.pool(KeyService.GEMINI)) == keys

    async def test_no_platform_key_has_an_address_of_its_own(
        self, platform_keys: PlatformKeys, kv: Any, realm: TestRealm
    ) -> None:
        secret = {"api_key": "AIza-1", "base_url": "https://evil.example"}
        kv.create_or_update_secret("platform/gemini", secret, mount_point=realm.name)
        assert (await platform_keys.pool(KeyService.GEMINI)).base_url is None

    @pytest.mark.parametrize("base_url", ["", "gateway.example", "ftp://gateway.example", "https://", 7])
    async def test_a_team_gateway_without_a_readable_address_is_not_called_elsewhere(
        self, platform_keys: PlatformKeys, kv: Any, realm: TestRealm, base_url: object
    ) -> None:
        secret = {"api_key": "gw-1", "base_url": base_url}
        kv.create_or_update_secret("platform/gateway", secret, mount_point=realm.name)
        assert (await platform_keys.pool(KeyService.GATEWAY)).keys == ()

    async def test_a_deleted_secret_is_none(
        self, platform_keys: PlatformKeys, put: Put, kv: Any, realm: TestRealm
    ) -> None:
        await put(KeyService.GEMINI, "AIza-1")
        kv.delete_latest_version_of_secret("platform/gemini", mount_point=realm.name)
        assert await platform_keys.pool(KeyService.GEMINI) == PlatformPool()

    async def test_vault_away_is_said_so(self) -> None:
        client = VaultClient("http://127.0.0.1:9", "role", SecretText("secret"))
        with pytest.raises(VaultUnavailableError):
            await VaultPlatformKeys(client, mount="x").pool(KeyService.OPENAI)
        await client.stop()
