"""The process itself: hardened, quiet about keys, ends in order."""

import asyncio
import json
import signal
from uuid import uuid4

import pytest

from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KEY_VAULT
from tests.integration.key_vault.clients import Edge, RpcWorker
from tests.processes import core_limits, log_until_ready, service_process
from tests.realm import TestRealm
from tests.traces import traces

pytestmark = pytest.mark.integration


async def test_a_working_process_says_what_it_does_and_no_key(
    realm: TestRealm, edge: Edge, worker: RpcWorker
) -> None:
    user, canary = f"user-{uuid4().hex}", f"canary{uuid4().hex}{uuid4().hex}"
    async with service_process(
        KEY_VAULT, {"LATCHKEY_ENV_FILE": str(realm.env_dir / f"{KEY_VAULT}.env")}
    ) as process:
        log = await log_until_ready(process)
        assert core_limits(process.pid) == ["0", "0"]
        kept = await edge.keep(canary, user_id=user)
        assert (await worker.resolve(user_id=user))[1] == canary
        with pytest.raises(InvalidRequestError):
            await edge.keep(f"{canary} with a space", user_id=user)
        process.send_signal(signal.SIGTERM)
        rest, _ = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    log += rest.decode()
    assert traces(canary, [log]) == []
    resolved = next(line for line in map(json.loads, log.splitlines()) if line["event"] == "key resolved")
    assert (resolved["user_id"], resolved["key_source"], resolved["credential_id"]) == (
        user,
        "user",
        str(kept.id),
    )


async def test_missing_settings_are_named_and_nothing_else() -> None:
    async with service_process(KEY_VAULT, {"LATCHKEY_VAULT_SECRET_ID": "s3cr3t-id"}) as process:
        said, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"LATCHKEY_AMQP_URL" in said
    assert b"s3cr3t-id" not in said
