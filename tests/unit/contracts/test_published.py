"""docs/contracts: equal to the code, true of real messages, and valid by AsyncAPI's own schema."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError

from infra.contracts.files import FOLDER, files
from infra.contracts.found import ANSWERS
from infra.contracts.routes import route
from shared.contracts.credits import GetBalance
from shared.contracts.rpc import ErrorBody, Request, RpcReply
from shared.contracts.runs import CancelRun, RunChunk
from shared.contracts.usage import UsageRecorded
from tests.contracts import all_contracts
from tests.envelopes import event_body

pytestmark = pytest.mark.unit

_HERE: Final = Path(__file__).parent
_KEYS: Final = sorted(all_contracts())
_WRONG: Final[tuple[dict[str, object], ...]] = (
    {"type": "latchkey.other.v1"},
    {"specversion": "0.3"},
    {"id": ""},
    {"time": "yesterday"},
    {"data": None},
)
# From the npm package @asyncapi/specs 6.11.1 (Apache-2.0, Copyright 2016-2025 AsyncAPI Initiative), as it is.
_ASYNCAPI: Final = _HERE / "asyncapi-3.0.0.json"


def _enveloped(key: str) -> dict[str, Any]:
    model = all_contracts()[key]
    golden = json.loads((_HERE / "golden" / f"{key}.json").read_text())
    body = event_body(model.model_validate(golden), source="inference", subject="s")
    told: dict[str, Any] = json.loads(body)
    return told


def _validator(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_the_folder_is_what_make_contracts_writes() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == files()


def test_every_contract_is_published_and_every_request_has_its_answer() -> None:
    assert {name for name in files() if name.endswith(".v1.schema.json")} == {
        f"{key}.schema.json" for key in _KEYS
    }
    assert set(ANSWERS) == {model for model in all_contracts().values() if issubclass(model, Request)}


@pytest.mark.parametrize("key", _KEYS)
def test_the_page_tells_of_every_contract(key: str) -> None:
    assert f"[`{key}`]({key}.schema.json)" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("key", _KEYS)
def test_a_real_message_is_valid(key: str) -> None:
    message = _enveloped(key)
    _validator(f"{key}.schema.json").validate(message)
    newer = {**message, "data": {**message["data"], "from_the_future": 1}, "traceparent": "00"}
    _validator(f"{key}.schema.json").validate(newer)


@pytest.mark.parametrize("key", _KEYS)
def test_another_envelope_is_not(key: str) -> None:
    validator, message = _validator(f"{key}.schema.json"), _enveloped(key)
    for wrong in _WRONG:
        assert not validator.is_valid({**message, **wrong}), wrong


@pytest.mark.parametrize(
    ("field", "value"),
    [("attempt", 0), ("usage_id", 7), ("outcome", "fine"), ("tokens", {"prompt": -1}), ("requested_at", "x")],
)
def test_wrong_data_is_not(field: str, value: object) -> None:
    message = _enveloped(UsageRecorded.ROUTING_KEY)
    message["data"][field] = value
    with pytest.raises(ValidationError):
        _validator(f"{UsageRecorded.ROUTING_KEY}.schema.json").validate(message)


def test_an_answer_is_a_result_or_an_error() -> None:
    validator = _validator(f"{GetBalance.ROUTING_KEY}.answer.schema.json")
    balance = {"balance_micros": 1, "held_micros": 0, "receivable_micros": 0}
    for reply in (RpcReply(result=balance), RpcReply(error=ErrorBody(code="conflict", message="no"))):
        validator.validate(json.loads(event_body(reply, source="billing")))
    with pytest.raises(ValidationError):
        validator.validate(json.loads(event_body(RpcReply(result={"balance_micros": "1"}), source="billing")))


def _asyncapi() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "asyncapi.json").read_text())
    return document


def test_the_document_is_valid_asyncapi() -> None:
    Draft7Validator(json.loads(_ASYNCAPI.read_text())).validate(_asyncapi())


def test_asyncapis_schema_would_tell() -> None:
    """A schema that validates anything shows nothing."""
    validator = Draft7Validator(json.loads(_ASYNCAPI.read_text()))
    wrongs: tuple[dict[str, object], ...] = (
        {"asyncapi": "2.0.0"},
        {"channels": 1},
        {"operations": {"o": {}}},
    )
    for wrong in wrongs:
        assert not validator.is_valid({**_asyncapi(), **wrong}), wrong


def test_every_reference_leads_somewhere() -> None:
    document = _asyncapi()
    for reference in _references(document):
        file, _, pointer = reference.partition("#")
        found = json.loads((FOLDER / file).read_text()) if file else document
        for part in pointer.split("/")[1:]:
            found = found[part]


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [found for value in part.values() for found in _references(value)]
    return [found for value in part for found in _references(value)] if isinstance(part, list) else []


def test_who_sends_and_who_receives() -> None:
    usage = route(UsageRecorded)
    assert usage.senders == ("inference",)
    assert usage.queues == {
        "billing.usage": ("billing",),
        "key_vault.usage": ("key_vault",),
        "usage.events": ("analyst",),
    }
    assert (route(GetBalance).senders, route(GetBalance).receivers) == (("api_edge",), ("billing",))
    assert (route(CancelRun).senders, route(CancelRun).receivers) == (("api_edge",), ("inference",))
    assert (route(RunChunk).senders, route(RunChunk).receivers) == (("inference",), ("api_edge",))


@pytest.mark.parametrize("key", _KEYS)
def test_every_message_has_a_sender_a_receiver_and_says_what_it_is(key: str) -> None:
    found = route(all_contracts()[key])
    assert found.senders
    assert found.receivers
    assert _asyncapi()["components"]["messages"][key]["summary"]
