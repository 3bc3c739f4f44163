"""What is counted, and where it is read."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from shared.runtime.metrics import BusMeters, service_registry

pytestmark = pytest.mark.unit


def test_messages_are_counted_by_request_code_and_queue() -> None:
    registry = CollectorRegistry()
    meters = BusMeters(registry)
    meters.answered("billing.authorize.v1", "ok", 0.004)
    meters.answered("billing.authorize.v1", "insufficient_credits", 0.02)
    meters.dead_lettered("billing.usage")
    meters.returned("billing.usage")
    found = registry.get_sample_value
    labels = {"request": "billing.authorize.v1", "code": "ok"}
    assert found("latchkey_rpc_seconds_count", labels) == 1
    assert found("latchkey_rpc_seconds_bucket", {**labels, "le": "0.005"}) == 1
    assert found("latchkey_rpc_seconds_bucket", {**labels, "le": "0.0025"}) == 0
    assert found("latchkey_dead_letters_total", {"queue": "billing.usage"}) == 1
    assert found("latchkey_redeliveries_total", {"queue": "billing.usage"}) == 1


def test_a_queue_has_its_counters_before_anything_befalls_it() -> None:
    registry = CollectorRegistry()
    BusMeters(registry).consuming("billing.usage")
    for name in ("latchkey_dead_letters_total", "latchkey_redeliveries_total"):
        assert registry.get_sample_value(name, {"queue": "billing.usage"}) == 0


def test_two_services_in_one_process_do_not_mix() -> None:
    first, second = service_registry(), service_registry()
    BusMeters(first).dead_lettered("q")
    BusMeters(second)
    assert first.get_sample_value("latchkey_dead_letters_total", {"queue": "q"}) == 1
    assert second.get_sample_value("latchkey_dead_letters_total", {"queue": "q"}) is None
    assert b"process_resident_memory_bytes" in generate_latest(second)
