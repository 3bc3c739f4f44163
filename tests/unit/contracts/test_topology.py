import json
from pathlib import Path

import pytest

from shared.contracts import billing, key_events, keys, resolving, runs, topology, usage, validation
from shared.contracts.message import Message

pytestmark = pytest.mark.unit

DEFINITIONS = Path(__file__).parents[3] / "infra" / "rabbitmq" / "definitions.json"


def test_the_definitions_file_equals_the_topology_in_code() -> None:
    assert json.loads(DEFINITIONS.read_text()) == topology.definitions()


def test_every_work_queue_dead_letters_at_least_once_into_a_bound_queue() -> None:
    bound = {queue: key for _, key, queue in topology.bindings()}
    for name, arguments in topology.queues().items():
        if name not in {topology.INFERENCE_RUNS, topology.BILLING_USAGE, topology.KEY_VAULT_USAGE}:
            continue
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-delivery-limit"] >= 10
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"
        assert bound[topology.dead_letters(name)] == arguments["x-dead-letter-routing-key"]


@pytest.mark.parametrize(
    "message",
    [
        resolving.ResolveKey,
        keys.StoreKey,
        key_events.KeyRevoked,
        validation.ValidateKey,
        billing.AuthorizeRun,
        runs.RunRequested,
        usage.UsageRecorded,
    ],
)
def test_every_command_and_event_has_somewhere_to_go(message: type[Message]) -> None:
    routes = [(exchange, key.rstrip("#")) for exchange, key, _ in topology.bindings()]
    assert any(
        exchange == message.EXCHANGE and message.ROUTING_KEY.startswith(prefix) for exchange, prefix in routes
    )
