"""OpenAI's chat request: what is checked, what passes."""

import orjson
import pytest

from services.api_edge.domain.chat import parse_chat, parse_embeddings, parse_responses, with_preferred
from services.api_edge.domain.errors import BadInputError
from services.inference.adapters.provider_catalogue import load_providers
from shared.kernel.names import KeyService

pytestmark = pytest.mark.unit

MESSAGES = [{"role": "user", "content": "Hi"}]


def _body(**more: object) -> bytes:
    return orjson.dumps({"model": "gpt-4o-mini", "messages": MESSAGES, **more})


def test_everything_unknown_passes_untouched() -> None:
    call = parse_chat(
        _body(stream=True, stream_options={"include_usage": True}, temperature=0.1, tools=[{"x": [None]}])
    )
    assert (call.model, call.stream, call.include_usage) == ("gpt-4o-mini", True, True)
    assert call.body == {"messages": MESSAGES, "temperature": 0.1, "tools": [{"x": [None]}]}


@pytest.mark.parametrize(
    ("more", "stream", "include_usage"),
    [
        ({}, False, False),
        ({"stream": None, "stream_options": None}, False, False),
        ({"stream": False}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": {}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": False}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, True, False),
    ],
)
def test_streaming_is_asked_for(more: dict[str, object], *, stream: bool, include_usage: bool) -> None:
    call = parse_chat(_body(**more))
    assert (call.stream, call.include_usage) == (stream, include_usage)


def test_values_are_bounded_and_long_texts_are_not() -> None:
    with pytest.raises(BadInputError) as refusal:
        parse_chat(_body(x=[[]] * 300_000))
    assert refusal.value.reason == "too_many_values"
    assert len(parse_chat(_body(x="A" * 5_000_000)).body["x"]) == 5_000_000
    tokens = orjson.dumps({"model": "m", "input": list(range(100, 300_100))})
    assert len(parse_embeddings(tokens).body["input"]) == 300_000


def test_what_else_is_asked_of_a_stream_goes_along() -> None:
    options = {"include_usage": True, "include_obfuscation": False}
    call = parse_chat(_body(stream=True, stream_options=options))
    assert call.include_usage
    assert call.body["stream_options"] == {"include_obfuscation": False}
    assert "stream_options" not in parse_chat(_body(stream_options=options)).body


@pytest.mark.parametrize("instead", ["prompt", "previous_response_id", "conversation"])
def test_a_response_may_go_on_from_what_lies_at_the_provider(instead: str) -> None:
    assert parse_responses(orjson.dumps({instead: "id"})).body == {instead: "id"}
    with pytest.raises(BadInputError) as refusal:
        parse_responses(orjson.dumps({instead: None, "instructions": "be brief"}))
    assert (refusal.value.reason, refusal.value.param) == ("required", "input")


@pytest.mark.parametrize(
    ("raw", "reason", "param"),
    [
        (b"", "unreadable", None),
        (b"{", "unreadable", None),
        (b"\xff\xfe{}", "unreadable", None),
        (b'{"model": "\\ud800"}', "unreadable", None),
        (b'{"model": NaN}', "unreadable", None),
        (b"[" * 100_000, "unreadable", None),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "unreadable", None),
        (b"[]", "not_an_object", None),
        (b"null", "not_an_object", None),
        (b'"text"', "not_an_object", None),
        (b'{"messages": []}', "wrong_value", "messages"),
        (b'{"messages": [{}], "model": ["m"]}', "wrong_type", "model"),
        (b'{"model": 5, "messages": []}', "wrong_type", "model"),
        (b'{"model": "m"}', "required", "messages"),
        (b'{"model": "m", "messages": {}}', "wrong_type", "messages"),
        (b'{"model": "m", "messages": []}', "wrong_value", "messages"),
        (b'{"model": "m", "messages": ["Hi"]}', "wrong_type", "messages"),
        (_body(stream="yes"), "wrong_type", "stream"),
        (_body(stream=1), "wrong_type", "stream"),
        (_body(stream_options=[]), "wrong_type", "stream_options"),
    ],
)
def test_bad_requests_are_named(raw: bytes, reason: str, param: str | None) -> None:
    with pytest.raises(BadInputError) as refusal:
        parse_chat(raw)
    assert (refusal.value.reason, refusal.value.param) == (reason, param)


def _nested(depth: int) -> bytes:
    """A body of this depth: the object, the parameter's lists inside it."""
    return b'{"model":"m","messages":[{}],"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_depth_has_a_limit() -> None:
    assert parse_chat(_nested(64)).model == "m"
    with pytest.raises(BadInputError) as refusal:
        parse_chat(_nested(65))
    assert refusal.value.reason == "too_deep"


def test_wide_is_not_deep() -> None:
    wide = [{"role": "user", "content": [{"type": "text", "text": "x"}]}] * 500
    assert len(parse_chat(_body(messages=wide)).body["messages"]) == 500


@pytest.mark.parametrize("more", ["", '"model": null, '])
def test_the_model_may_be_left_to_the_flow(more: str) -> None:
    call = parse_chat(f'{{{more}"messages": [{{"role": "user"}}]}}'.encode())
    assert call.model is None
    assert call.body == {"messages": [{"role": "user"}]}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_a_preferred_length_gives_way_to_the_bodys_by_whatever_name(name: str) -> None:
    preferred = {"temperature": 0.2, "max_tokens": 100}
    groq = KeyService.GROQ
    assert with_preferred({name: 7}, preferred, groq) == {"temperature": 0.2, name: 7}
    assert with_preferred({"temperature": 1}, preferred, groq) == {
        "temperature": 1,
        "max_completion_tokens": 100,
    }


@pytest.mark.parametrize("service", KeyService)
def test_a_preferred_length_goes_by_the_providers_name_for_it(service: KeyService) -> None:
    name = load_providers({})[service].limit_parameter
    assert with_preferred({}, {"max_tokens": 100}, service) == {name: 100}
