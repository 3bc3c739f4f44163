"""A council that may be called can always have its answer made: the last chat is within the limits, too."""

from typing import Any

import httpx2
import pytest

from services.api_edge.domain.sizes import Sizes
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import Tell, chunk

pytestmark = pytest.mark.component

MEMBERS = ["openai/gpt-4o-mini", "openai/gpt-4.1", "openai/gpt-4.1-mini"]
LAST = "openai/gpt-4o"
KEY = {"X-OpenAI-Key": "sk-0123456789abcdef"}
SAID = {MEMBERS[0]: "short", MEMBERS[1]: "long " * 1000, MEMBERS[2]: "longer " * 1000, LAST: "one"}
CHARS_MAX = 2000


def body(messages: int = 1) -> dict[str, Any]:
    return {"members": MEMBERS, "model": LAST, "messages": [{"role": "user", "content": "2 + 2?"}] * messages}


async def says(tell: Tell) -> None:
    tell.started()
    tell.chunk(chunk(SAID[tell.run.model]))
    tell.completed()


async def call(client: httpx2.AsyncClient, asked: dict[str, Any]) -> httpx2.Response:
    return await client.post("/api/councils", json=asked, headers=KEY)


@pytest.mark.parametrize(
    ("sizes", "messages", "param"),
    [
        (Sizes(messages=3), 3, "messages"),
        (Sizes(message_chars=400), 1, "messages[1].content"),
    ],
)
async def test_what_could_have_no_last_chat_asks_nobody(sizes: Sizes, messages: int, param: str) -> None:
    edge = Edge(sizes=sizes)
    async with edge.client() as client:
        answer = await call(client, body(messages))
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert (edge.bus.requested, edge.councils.kept) == ([], {})


async def test_as_many_messages_as_leave_room_for_the_answers_may_be_sent() -> None:
    edge = Edge(sizes=Sizes(messages=3))
    edge.bus.worker = says
    async with edge.client() as client:
        council = (await call(client, body(2))).json()
        events = await client.get(f"/api/councils/{council['council_id']}/events")
    assert "event: final_response" in events.text


async def test_answers_that_are_too_long_are_cut_to_equal_shares_and_say_so() -> None:
    edge = Edge(sizes=Sizes(message_chars=CHARS_MAX))
    edge.bus.worker = says
    async with edge.client() as client:
        council = (await call(client, body())).json()
        events = await client.get(f"/api/councils/{council['council_id']}/events")
    assert "event: final_response" in events.text
    content = edge.bus.requested[-1].body["messages"][-1]["content"]
    assert CHARS_MAX - len(MEMBERS) < len(content) + _unused(content) <= CHARS_MAX
    _, first, second, third = content.split("### ")
    assert "short" in first
    assert "cut here" not in first
    assert all(told.rstrip().endswith("[cut here: the answer was too long]") for told in (second, third))


def _unused(content: str) -> int:
    """What the short answer left of its share."""
    _, first, second, _ = content.split("### ")
    own = [len(told.rstrip().partition("\n")[2]) for told in (first, second)]
    return own[1] - own[0]
