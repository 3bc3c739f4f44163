"""The index of the contracts, for people."""

from typing import Final

from infra.contracts.asyncapi import summary
from infra.contracts.found import ANSWERS
from infra.contracts.routes import Route, route
from shared.contracts import topology
from shared.contracts.message import Message
from shared.contracts.rpc import Request

_HEAD: Final = """# Contracts

Every message on the bus: CloudEvents 1.0 in structured JSON, `type` = `latchkey.` + the name below. `make
contracts` writes this folder from `shared/contracts`, the topology and the broker's permissions; a test holds
it equal to them. A schema is JSON Schema 2020-12 of the whole envelope; [asyncapi.json](asyncapi.json) says
the same as AsyncAPI 3.0.

Within a version fields may be added, and who reads ignores what it does not know. Whatever would break a
reader is a new version beside the old one.
"""
_TITLES: Final = {
    "inference": "Runs",
    "runs": "Ends of kept runs",
    "replies": "Answers and progress, to the instance that asked",
    "control": "To every worker",
    "keys": "What happens to keys and consent",
    "usage": "Usage and credits: the stream `usage.events`",
    "rpc": "Requests that are answered",
}


def page(contracts: dict[str, type[Message]]) -> str:
    parts = [_HEAD]
    for exchange, title in _TITLES.items():
        these = {key: model for key, model in contracts.items() if exchange == model.EXCHANGE}
        parts.append(
            f"## {title}\n\nExchange `{exchange}` ({topology.EXCHANGES[exchange]}).\n\n{_table(these)}"
        )
    return "\n".join([*parts, _queues()])


def _table(contracts: dict[str, type[Message]]) -> str:
    lines = ["| message | sent by | received by | about |", "|---|---|---|---|"]
    lines += [_line(key, model, route(model)) for key, model in contracts.items()]
    return "\n".join(lines) + "\n"


def _line(key: str, model: type[Message], where: Route) -> str:
    received = [
        f"{', '.join(readers) or 'administrators'} (`{queue}`)" for queue, readers in where.queues.items()
    ]
    name = f"[`{key}`]({key}.schema.json)"
    if issubclass(model, Request):
        name += f" → [{ANSWERS[model].__name__}]({key}.answer.schema.json)"
    about = summary(model).replace("|", "\\|")
    return f"| {name} | {', '.join(where.senders)} | {', '.join(received)} | {about} |"


def _queues() -> str:
    lines = ["## Queues", "", "| queue | kind | kept |", "|---|---|---|"]
    for name, arguments in topology.queues().items():
        lines.append(f"| `{name}` | {arguments['x-queue-type']} | {_kept(name, arguments)} |")
    return "\n".join(lines) + "\n"


def _kept(name: str, arguments: dict[str, object]) -> str:
    if arguments["x-queue-type"] == "stream":
        size = int(str(arguments["x-max-length-bytes"])) // 10**9
        return f"{arguments['x-max-age']} or {size} GB, whichever is less; read from any offset"
    if "x-dead-letter-routing-key" in arguments:
        return (
            f"until handled; after {arguments['x-delivery-limit']} tries in `{topology.dead_letters(name)}`"
        )
    return "until taken by hand" if name.endswith(".dlq") else "until its caller has given up"
