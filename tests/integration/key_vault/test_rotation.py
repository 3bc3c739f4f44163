"""The master key is rotated and everything rewrapped while runs go on; the old ciphertext opens no more."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar
from uuid import uuid4

import hvac
import orjson
import pytest
from hvac.exceptions import InvalidRequest

from shared.contracts.keys import Credential
from shared.kernel.names import KEY_VAULT
from tests.fakes.key_vault_house import replace_command
from tests.integration.key_vault.clients import TIMEOUT_S, Edge, RpcWorker
from tests.realm import PoolFor, TestRealm

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("key_vault")]

CREDENTIALS: Final = 300
AT_ONCE: Final = 100
_AT_A_TIME: Final = 20

DoneT = TypeVar("DoneT")


@pytest.fixture
def transit(realm: TestRealm) -> Iterator[Any]:
    """The administrator's hand on the master key."""
    admin = hvac.Client(realm.admin["VAULT_ADDR"], realm.admin["VAULT_TOKEN"])
    yield admin.secrets.transit
    admin.adapter.close()


class Runs:
    """Somebody who resolves keys all the time."""

    def __init__(self, worker: RpcWorker, kept: dict[str, Credential]) -> None:
        self.count = 0
        self._worker = worker
        self._users = list(kept)

    async def go_on(self) -> None:
        while True:
            user = self._users[self.count % len(self._users)]
            assert (await self._worker.resolve(user_id=user))[1] == f"sk-of-{user}"
            self.count += 1


def _keeper(edge: Edge) -> Callable[[str], Awaitable[Credential]]:
    return lambda user: edge.keep(f"sk-of-{user}", user_id=user)


async def _in_turns(do: Callable[[str], Awaitable[DoneT]], users: Sequence[str]) -> list[DoneT]:
    """Do it for every user, a few at a time."""
    done: list[DoneT] = []
    for start in range(0, len(users), _AT_A_TIME):
        done += await asyncio.gather(*map(do, users[start : start + _AT_A_TIME]))
    return done


async def _rewrap_everything(edge: Edge) -> list[float]:
    clock = asyncio.get_running_loop().time
    took = []
    while True:
        began = clock()
        done = await edge.rewrap(AT_ONCE)
        took.append(clock() - began)
        if done.remaining == 0:
            return took
        assert done.rewrapped > 0


def _decrypt(transit: Any, realm: TestRealm, credential: Credential, user: str, ciphertext: str) -> None:
    bound = {"credential_id": str(credential.id), "service": "openai", "version": 1}
    transit.decrypt_data(
        "credentials",
        ciphertext,
        context=b64encode(user.encode()).decode(),
        associated_data=b64encode(orjson.dumps(bound, option=orjson.OPT_SORT_KEYS)).decode(),
        mount_point=f"{realm.name}_transit",
    )


async def test_rotation_while_runs_go_on(
    edge: Edge, worker: RpcWorker, pool_for: PoolFor, transit: Any, realm: TestRealm
) -> None:
    mount, pool = f"{realm.name}_transit", await pool_for(KEY_VAULT)
    users = [f"user-{uuid4().hex}" for _ in range(CREDENTIALS)]
    kept = dict(zip(users, await _in_turns(_keeper(edge), users), strict=True))
    first = users[0]
    old = await pool.fetchval("select ciphertext from credentials where id = $1", kept[first].id)
    _decrypt(transit, realm, kept[first], first, old)

    runs = Runs(worker, kept)
    running = asyncio.create_task(runs.go_on())
    transit.rotate_key("credentials", mount_point=mount)
    took = await _rewrap_everything(edge)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled(), "a run failed"
    assert runs.count > 0
    assert len(took) >= CREDENTIALS / AT_ONCE
    assert max(took) < 3

    version = transit.read_key("credentials", mount_point=mount)["data"]["latest_version"]
    transit.update_key_configuration("credentials", min_decryption_version=version, mount_point=mount)
    with pytest.raises(InvalidRequest):
        _decrypt(transit, realm, kept[first], first, old)
    assert (
        await pool.fetchval(
            "select count(*) from credentials where ciphertext not like $1", f"vault:v{version}:%"
        )
        == 0
    )
    answers = await _in_turns(lambda user: worker.resolve(user_id=user), users)
    assert [key for _, key in answers] == [f"sk-of-{user}" for user in users]


async def test_a_key_that_was_replaced_is_rewrapped_too(
    edge: Edge, worker: RpcWorker, transit: Any, realm: TestRealm
) -> None:
    user = f"user-{uuid4().hex}"
    kept = await edge.keep("sk-the-first-0001", user_id=user)
    second = replace_command(edge.public_key, kept.id, "sk-the-second-0002", user_id=user)
    await edge.bus.rpc.call(second, Credential, timeout_s=TIMEOUT_S)
    transit.rotate_key("credentials", mount_point=f"{realm.name}_transit")
    await _rewrap_everything(edge)
    assert (await worker.resolve(user_id=user))[1] == "sk-the-second-0002"
