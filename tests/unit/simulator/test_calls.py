"""What was called can be read back, and holds no key."""

import hashlib

import pytest

from tests.unit.simulator.client import KEY, SimulatorClient

pytestmark = pytest.mark.unit


async def test_calls_are_counted_by_key_prompt_and_status(simulator: SimulatorClient) -> None:
    await simulator.chat("One")
    await simulator.chat("One")
    await simulator.chat("[simulate status=500]", key="sk-sim-other-1")
    await simulator.http.get("/v1/models", headers={"authorization": f"Bearer {KEY}"})
    calls = await simulator.calls()
    mine, other = [hashlib.sha256(key.encode()).hexdigest() for key in (KEY, "sk-sim-other-1")]
    assert calls["chat"] == 3
    assert calls["models"] == 1
    assert calls["by_key"] == {mine: 2, other: 1}
    assert calls["models_by_key"] == {mine: 1}
    assert calls["by_prompt"] == {"One": 2, "[simulate status=500]": 1}
    assert calls["by_status"] == {"200": 2, "500": 1}
    assert calls["in_flight"] == 0
    assert KEY not in str(calls)


async def test_reset_forgets(simulator: SimulatorClient) -> None:
    await simulator.chat("One")
    assert (await simulator.http.post("/_simulator/reset")).status_code == 204
    calls = await simulator.calls()
    assert not any(calls.values())


async def test_health(simulator: SimulatorClient) -> None:
    assert (await simulator.http.get("/healthz")).text == "ok"
