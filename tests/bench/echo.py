"""An echo in key_vault's place: the same queue and contracts, no work. `python -m tests.bench.echo`"""

import asyncio
from datetime import UTC, datetime

from shared.contracts.resolving import KeyResolved, ResolveKey
from shared.contracts.sealed import SealedKey
from shared.contracts.topology import KEY_VAULT_RPC
from shared.kernel.names import INFERENCE, KEY_VAULT, KeyService, KeySource
from shared.runtime.bus import Bus
from shared.runtime.logs import configure_logging, get_logger
from shared.runtime.process import run
from shared.runtime.rpc import Route, RpcServer
from shared.runtime.settings import ServiceSettings


async def echo(query: ResolveKey) -> KeyResolved:
    """An answer as long as a true one."""
    sealed = SealedKey(ciphertext="A" * 136, expires_at=datetime(2099, 1, 1, tzinfo=UTC))
    return KeyResolved(
        credential_id=str(query.run_id), source=KeySource.USER, service=KeyService.OPENAI, sealed=sealed
    )


async def main() -> None:
    settings = ServiceSettings.load()
    configure_logging(KEY_VAULT, settings.log_level)
    bus = Bus(settings.amqp_url, service=KEY_VAULT, instance=settings.instance, realm=settings.realm)
    RpcServer(bus, KEY_VAULT_RPC, [Route(ResolveKey, echo, (INFERENCE,))])
    await bus.start()
    get_logger().info("ready", instance=settings.instance)
    try:
        await asyncio.Event().wait()
    finally:
        await bus.stop()


if __name__ == "__main__":
    run(main)
