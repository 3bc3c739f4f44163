"""An answer as the runs API tells it."""

from collections.abc import Mapping

import orjson
import pytest

from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.transcript import NOT_JSON, Transcript
from shared.contracts.runs import RunChunk
from shared.kernel.errors import ProviderError
from shared.kernel.ids import new_id
from tests.fakes.api_edge import RESPONSE, chunk

pytestmark = pytest.mark.unit

RUN = new_id()


def told(*texts: str, index: int = 0) -> RunChunk:
    return RunChunk(run_id=RUN, seq=0, chunks=texts, index=index)


def raw(delta: Mapping[str, object], **choice: object) -> str:
    return orjson.dumps({"choices": [{"index": 0, "delta": delta, **choice}]}).decode()


def test_every_chunk_that_says_something_is_an_event_by_its_place() -> None:
    transcript = Transcript(RunKind.STREAM)
    opening = raw({"role": "assistant", "content": ""})
    events = [*transcript.pieces(told(opening, chunk("Hel"))), *transcript.pieces(told(chunk("lo")))]
    assert [(event.number, event.name, event.data) for event in events] == [
        (2, "message_chunk", {"chunk": "Hel"}),
        (3, "message_chunk", {"chunk": "lo"}),
    ]
    assert transcript.response() == "Hello"
    assert transcript.last(1, "final_response", {}).number == 4


def test_what_is_no_text_is_told_as_the_provider_tells_it() -> None:
    call = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    (event,) = Transcript(RunKind.STREAM).pieces(told(raw(call)))
    assert event.data["chunk"] == ""
    assert event.data["choices"][0]["delta"] == call


def test_chunks_of_other_choices_are_not_mixed_in() -> None:
    transcript = Transcript(RunKind.STREAM)
    other = orjson.dumps({"choices": [{"index": 1, "delta": {"content": "other"}}]}).decode()
    (event,) = transcript.pieces(told(other))
    assert event.data["choices"][0]["index"] == 1
    assert transcript.response() == ""


def test_the_reason_why_it_ended_is_kept() -> None:
    transcript = Transcript(RunKind.STREAM)
    list(transcript.pieces(told(raw({}, finish_reason="length"), raw({}))))
    assert transcript.finish_reason == "length"


def test_a_whole_completion_is_read() -> None:
    transcript = Transcript(RunKind.TEXT)
    transcript.take(RESPONSE)
    assert transcript.finish_reason == "stop"
    assert transcript.message is not None
    assert transcript.response() == transcript.message["content"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"', "null", '{"a": 1} and more', None])
def test_half_an_object_is_an_error(content: str | None) -> None:
    transcript = Transcript(RunKind.JSON)
    transcript.take(orjson.dumps({"choices": [{"message": {"content": content}}]}).decode())
    with pytest.raises(ProviderError) as refused:
        transcript.response()
    assert refused.value.detail == NOT_JSON


def test_an_object_is_an_object() -> None:
    transcript = Transcript(RunKind.JSON)
    transcript.take(orjson.dumps({"choices": [{"message": {"content": ' {"a": [1]} '}}]}).decode())
    assert transcript.response() == {"a": [1]}


@pytest.mark.parametrize("text", ["[]", '{"choices": 1}', '{"choices": [1]}', '{"choices": [{"delta": 1}]}'])
def test_a_chunk_of_any_shape_is_borne(text: str) -> None:
    assert list(Transcript(RunKind.STREAM).pieces(told(text))) == []
