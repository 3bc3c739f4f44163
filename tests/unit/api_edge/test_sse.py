"""Framing of server-sent events."""

import pytest

from services.api_edge.domain.sse import frame, is_usage_only

pytestmark = pytest.mark.unit

USAGE = '{"choices":[],"usage":{"prompt_tokens":1}}'


def test_one_event_is_one_data_line() -> None:
    assert frame('{"a":"é\u2028"}') == 'data: {"a":"é\u2028"}\n\n'.encode()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_inside_never_end_the_event(line_end: str) -> None:
    assert frame(f'{{{line_end}"a":1}}') == b'data: {\ndata: "a":1}\n\n'


@pytest.mark.parametrize(
    ("chunk", "answer"),
    [
        (USAGE, True),
        ('{ "choices" : [ ], "usage": {"prompt_tokens": 1} }', True),
        ('{"choices":[],"usage":null}', False),
        ('{"choices":[]}', False),
        ('{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}', False),
        ('{"choices":[{"delta":{"content":"\\"usage\\" \\"choices\\":[]"}}]}', False),
        ('"choices":[] "usage"', False),
        ('["usage", {"choices":[]}]', False),
    ],
)
def test_a_chunk_of_usage_only_is_told_apart(chunk: str, *, answer: bool) -> None:
    assert is_usage_only(chunk) is answer
