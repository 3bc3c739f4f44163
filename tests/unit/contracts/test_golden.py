"""Every message on the bus has a golden JSON per version: what others already read must stay readable."""

import json
from pathlib import Path

import pytest

from tests.contracts import all_contracts

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"


def test_every_contract_has_its_golden_file_and_no_file_is_orphaned() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(all_contracts())


@pytest.mark.parametrize("key", sorted(all_contracts()))
def test_golden_json_reads_and_writes_back_unchanged(key: str) -> None:
    golden = json.loads((GOLDEN / f"{key}.json").read_text())
    assert all_contracts()[key].model_validate(golden).model_dump(mode="json") == golden


@pytest.mark.parametrize("key", sorted(all_contracts()))
def test_fields_of_a_newer_peer_are_ignored(key: str) -> None:
    golden = json.loads((GOLDEN / f"{key}.json").read_text())
    newer = all_contracts()[key].model_validate({**golden, "from_the_future": 1})
    assert newer.model_dump(mode="json") == golden
