"""Runs that wait for a worker."""

from infra.broker_link import ANSWER_S, as_os_errors, connected
from shared.contracts.topology import INFERENCE_RUNS


async def drop_runs(amqp_url: str) -> int:
    """Throw them away: one may have called its provider, and a restored database does not know.

    Return how many there were. Raises OSError.
    """
    with as_os_errors():
        async with connected(amqp_url) as connection:
            channel = await connection.channel()
            answer = await channel.queue_purge(INFERENCE_RUNS, timeout=ANSWER_S)
    return answer.message_count or 0
