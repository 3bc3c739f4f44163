"""Reading OpenRouter's list of models: what is there, and nothing that could do harm."""

from decimal import Decimal

import pytest

from services.inference.domain.model_list import listed_models

pytestmark = pytest.mark.unit

ENTRY = {
    "id": "openai/gpt-4o-mini",
    "name": "OpenAI: GPT-4o-mini",
    "context_length": 128_000,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
    "supported_parameters": ["tools", "structured_outputs", "temperature"],
    "pricing": {"prompt": "0.00000015", "completion": "0.0000006"},
}


def test_a_model_is_read() -> None:
    (model,) = listed_models({"data": [ENTRY]})
    assert (model.id, model.context_window) == ("openai/gpt-4o-mini", 128_000)
    assert model.features == ("json_schema", "tools", "vision")
    assert model.output_kinds == ("text",)
    assert (model.input_usd, model.output_usd) == (Decimal("0.15"), Decimal("0.60"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"context_length": "big"},
        {"context_length": True},
        {"architecture": None},
        {"supported_parameters": "tools"},
        {"supported_parameters": [1, None]},
        {"pricing": {"prompt": "-1", "completion": "NaN"}},
        {"pricing": {"prompt": "1e999999999"}},
        {"pricing": []},
    ],
)
def test_what_cannot_be_read_is_not_known(change: dict[str, object]) -> None:
    (model,) = listed_models({"data": [{**ENTRY, **change}]})
    assert model.id == "openai/gpt-4o-mini"
    assert model.input_usd in {None, Decimal("0.15")}


@pytest.mark.parametrize(
    "body", [None, [], {}, {"data": "x"}, {"data": [1, {"id": ""}, {"id": "a\n"}, {"id": "x" * 201}]}]
)
def test_what_is_no_list_has_no_models(body: object) -> None:
    assert listed_models(body) == ()
