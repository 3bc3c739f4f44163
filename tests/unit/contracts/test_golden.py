"""Every message on the bus has a golden JSON per version: what others already read must stay readable."""

import json
from pathlib import Path

import pytest

from shared.contracts import billing, consent, key_events, keys, rpc, runs, usage, validation
from shared.contracts.message import Message

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
_MODULES = (billing, consent, key_events, keys, rpc, runs, usage, validation)


def _contracts() -> dict[str, type[Message]]:
    named = (value for module in _MODULES for value in vars(module).values() if isinstance(value, type))
    return {
        model.ROUTING_KEY: model
        for model in named
        if issubclass(model, Message) and "ROUTING_KEY" in vars(model)
    }


def test_every_contract_has_its_golden_file_and_no_file_is_orphaned() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(_contracts())


@pytest.mark.parametrize("key", sorted(_contracts()))
def test_golden_json_reads_and_writes_back_unchanged(key: str) -> None:
    golden = json.loads((GOLDEN / f"{key}.json").read_text())
    assert _contracts()[key].model_validate(golden).model_dump(mode="json") == golden


@pytest.mark.parametrize("key", sorted(_contracts()))
def test_fields_of_a_newer_peer_are_ignored(key: str) -> None:
    golden = json.loads((GOLDEN / f"{key}.json").read_text())
    newer = _contracts()[key].model_validate({**golden, "from_the_future": 1})
    assert newer.model_dump(mode="json") == golden
