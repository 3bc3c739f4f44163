"""The load generator, a process of its own: `python -m tests.bench.versus.load`.

It reads orders and writes what it measured, a line of JSON each. The load is a closed loop: each client asks
again as soon as it has its answer, until the time is over; what is under way then is waited for and counts.
"""

import asyncio
import sys
import time
from dataclasses import asdict, dataclass, field

import orjson
import uvloop

from tests.bench.versus.client import Asked, Client
from tests.bench.versus.wire import Kind, question


@dataclass(frozen=True)
class Order:
    """Ask `url` for so many seconds with so many clients."""

    url: str
    head: dict[str, str]
    model: str
    kind: Kind
    clients: int
    seconds: float


@dataclass(frozen=True)
class Taken:
    """What came of an order: ms of each good answer, what was wrong with others, and how often."""

    elapsed_s: float
    took_ms: list[float]
    first_ms: list[float]
    faults: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: list[Asked], elapsed_s: float) -> "Taken":
        good = [one for one in asked if not one.fault]
        faults: dict[str, int] = {}
        for one in asked:
            if one.fault:
                faults[one.fault] = faults.get(one.fault, 0) + 1
        return cls(elapsed_s, [one.took_ms for one in good], [one.first_ms for one in good], faults)


async def carry_out(order: Order) -> Taken:
    """Let all clients ask until the time is over."""
    body = question(order.kind, order.model)
    clients = [Client(order.url, order.head, body, order.kind) for _ in range(order.clients)]
    asked: list[Asked] = []
    start = time.perf_counter()
    await asyncio.gather(*(_ask_until(client, start + order.seconds, asked) for client in clients))
    elapsed_s = time.perf_counter() - start
    for client in clients:
        client.close()
    return Taken.of(asked, elapsed_s)


async def _ask_until(client: Client, end: float, asked: list[Asked]) -> None:
    while time.perf_counter() < end:
        one = await client.ask()
        asked.append(one)
        if one.fault:
            await asyncio.sleep(0.01)  # what refuses at once must not be hammered


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin.buffer:
            told = orjson.loads(line)
            taken = runner.run(carry_out(Order(**{**told, "kind": Kind(told["kind"])})))
            sys.stdout.buffer.write(orjson.dumps(asdict(taken)) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
