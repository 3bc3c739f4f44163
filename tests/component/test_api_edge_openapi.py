"""The API's description is true: every operation has an answer, as the edge gives it, and its refusals."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.api_edge.problems import RULES
from shared.contracts.runs import RunUsage
from shared.contracts.usage import TokenCounts
from shared.kernel.names import KeySource, Operation, TokensSource
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_billing import billed
from tests.fakes.api_edge_worker import Tell, chunk, key_use

pytestmark = pytest.mark.component

_ROOT = Path(__file__).parents[2]
EXAMPLES = _ROOT / "services" / "api_edge" / "data" / "examples.json"
OVERVIEW = _ROOT / "docs" / "api.md"
_MESSAGES = [{"role": "user", "content": "What is the capital of Italy?"}]
_CHAT = {"model": "openai/gpt-4o-mini", "messages": _MESSAGES}
_KEY = {"service": "openai", "api_key": "sk-0123456789abcdef", "label": "mine"}
_USAGE = RunUsage(
    tokens=TokenCounts(prompt=14, completion=8, source=TokensSource.MEASURED), cost_micros=6_900
)
_ANSWER = {
    "id": "chatcmpl-9fEx",
    "object": "chat.completion",
    "created": 1790000000,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Rome."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 14, "completion_tokens": 8, "total_tokens": 22},
}
_RESPONSE = {
    "id": "resp_9fEx",
    "object": "response",
    "created_at": 1790000000,
    "status": "completed",
    "model": "gpt-4o-mini",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Rome."}],
        }
    ],
    "usage": {"input_tokens": 14, "output_tokens": 8, "total_tokens": 22},
}
_EMBEDDINGS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.013, -0.021]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}
_ANSWERS = {Operation.CHAT: _ANSWER, Operation.RESPONSES: _RESPONSE, Operation.EMBEDDINGS: _EMBEDDINGS}


async def worker(tell: Tell) -> None:
    tell.started(KeySource.USER)
    if tell.run.stream:
        tell.chunk(chunk("Rome."))
        tell.completed(uses=(key_use(),), usage=_USAGE)
    else:
        tell.completed(orjson.dumps(_ANSWERS[tell.run.operation]).decode(), uses=(key_use(),), usage=_USAGE)


class Story:
    """Calls operations and keeps what they answered, by method and path template."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.answers: dict[str, Any] = {}

    async def call(self, operation: str, body: object = None, *, as_: str = "lk_alice", **ids: str) -> Any:
        method, _, path = operation.partition(" ")
        query = {name: ids.pop(name) for name in [name for name in ids if "{" + name + "}" not in path]}
        async with self.edge.client(as_) as client:
            answer = await client.request(method, path.format(**ids), json=body, params=query)
        assert answer.is_success, f"{operation}: {answer.text}"
        self.answers[operation] = answer.json() if answer.content else None
        return self.answers[operation]

    async def tell(self) -> None:
        await self._keys()
        await self._runs()
        await self._money()
        await self._administration()

    async def _keys(self) -> None:
        key = await self.call("POST /api/keys", _KEY)
        await self.call("GET /api/keys")
        await self.call("POST /api/keys/validate", {"service": "openai", "api_key": "sk-0123456789abcdef"})
        ids = {"credential_id": key["id"]}
        await self.call("PUT /api/keys/{credential_id}", {"api_key": "sk-fedcba9876543210"}, **ids)
        await self.call("PATCH /api/keys/{credential_id}", {"label": "theirs"}, **ids)
        await self.call("GET /api/user-settings")
        await self.call("POST /api/user-settings", {"allowPlatformFallback": True})
        await self.call("GET /api/providers/status")
        await self.call("GET /openrouter/status")
        await self.call(
            "POST /settings/model", {"model": "openai/gpt-4o", "parameters": {"temperature": 0.2}}
        )
        await self.call("GET /api/model-settings")
        await self.call("DELETE /settings/model")
        await self.call("PUT /api/models/pinned", {"models": ["openai/gpt-4o"]})
        await self.call("GET /api/models/pinned")
        await self.call("GET /api/models", q="gpt-4o-mini", limit="1")

    async def _runs(self) -> None:
        await self.call("POST /v1/chat/completions", _CHAT)
        await self.call("POST /v1/responses", {"model": "openai/gpt-4o-mini", "input": "Which capital?"})
        embedded = {"model": "openai/text-embedding-3-small", "input": ["Rome"]}
        await self.call("POST /v1/embeddings", embedded)
        await self.call("GET /v1/models")
        await self.call("GET /v1/models/{model}", model="openai/gpt-4o-mini")
        run = await self.call("POST /api/runs", {**_CHAT, "kind": "text"})
        await self.call("GET /api/runs/{run_id}", run_id=run["run_id"])
        await self.call("GET /api/runs")
        self.edge.billing.attempts.append(billed(UUID(run["run_id"])))
        await self.call("GET /api/runs/{run_id}/receipt", run_id=run["run_id"])
        await self.call("POST /api/runs/{run_id}/cancel", run_id=run["run_id"])
        council = await self.call("POST /api/councils", {**_CHAT, "members": ["openai/gpt-4o", "xai/grok-4"]})
        async with self.edge.client() as client:
            await client.get(f"/api/councils/{council['council_id']}/events")
        await self.call("GET /api/councils")
        for operation in (
            "GET /api/councils/{council_id}",
            "GET /api/councils/{council_id}/receipt",
            "POST /api/councils/{council_id}/cancel",
        ):
            await self.call(operation, council_id=council["council_id"])

    async def _money(self) -> None:
        grant = {"user_id": "alice", "credits": 10, "idempotency_key": "welcome-alice"}
        await self.call("POST /api/admin/credits/grants", grant, as_="lk_admin")
        change = {"user_id": "alice", "credits": "-0.5", "reason": "a mistake", "idempotency_key": "fix-7"}
        await self.call("POST /api/admin/credits/adjustments", change, as_="lk_admin")
        export = {"feature": "pdf-export", "credits": "0.25", "idempotency_key": "export-1"}
        await self.call("POST /api/user/deduct-credits", export)
        await self.call("GET /api/credits")
        await self.call("GET /api/credits/statement")
        await self.call("GET /api/usage")
        for operation in ("GET /api/admin/credits/{user_id}", "GET /api/admin/credits/{user_id}/statement"):
            await self.call(operation, as_="lk_admin", user_id="alice")
        await self.call("GET /api/admin/usage", as_="lk_admin")

    async def _administration(self) -> None:
        model = {"model": "openai/gpt-4o-mini"}
        price = {"input_usd": "0.30", "output_usd": "1.20"}
        await self.call("PUT /api/admin/prices/{model}", price, as_="lk_admin", **model)
        await self.call("GET /api/admin/prices/{model}", as_="lk_admin", **model)
        await self.call("GET /api/admin/prices", as_="lk_admin")
        await self.call("DELETE /api/admin/prices/{model}", as_="lk_admin", **model)
        await self.call("GET /system/nodes")
        await self.call(
            "PATCH /system/nodes/{task_name}", {"report_only": True}, as_="lk_admin", task_name="solver"
        )
        keys = await self.call("GET /api/admin/platform-keys", as_="lk_admin")
        mended = {"credential_id": keys["items"][0]["credential_id"]}
        await self.call(
            "PATCH /api/admin/platform-keys/{credential_id}", {"state": "ready"}, as_="lk_admin", **mended
        )
        await self.call("POST /api/admin/keys/rewrap", {"limit": 100}, as_="lk_admin")
        await self.call("POST /api/admin/keys/revoke", {"user_id": "alice"}, as_="lk_admin")
        await self.call("GET /healthz")
        await self.call("GET /readyz")
        key = await self.call("POST /api/keys", _KEY)
        await self.call("DELETE /api/keys/{credential_id}", credential_id=key["id"])


async def told() -> dict[str, Any]:
    edge = Edge()
    edge.bus.worker = worker
    story = Story(edge)
    await story.tell()
    return story.answers


async def document() -> dict[str, Any]:
    async with Edge().client(None) as client:
        found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


def shape(value: Any) -> Any:
    """What stays of an answer whatever is in it: members' names, and of lists their first element."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else None


async def test_every_example_is_what_the_edge_answers() -> None:
    examples, answers = orjson.loads(EXAMPLES.read_bytes()), await told()
    for operation, answer in answers.items():
        if answer is not None:
            assert shape(examples[operation]) == shape(answer), operation


async def test_every_operation_is_described_with_an_example_and_its_refusals() -> None:
    described = await document()
    for path, item in described["paths"].items():
        for method, operation in item.items():
            name = f"{method.upper()} {path}"
            assert operation.get("description") or operation.get("summary"), name
            answers = operation["responses"]
            assert {"500"} < answers.keys(), name
            content = answers[min(answers)].get("content", {})
            is_whole = "application/json" in content
            assert not is_whole or "example" in content["application/json"], name
            assert is_whole or "204" in answers, name


async def test_every_code_is_described_somewhere_as_it_is_told() -> None:
    described = await document()
    found = set()
    for item in described["paths"].values():
        for operation in item.values():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    for code, example in content.get("examples", {}).items():
                        problem = example["value"].get("error", example["value"])
                        assert problem["code"] == code
                        found.add(code)
    assert found == set(RULES)


async def test_the_overview_names_every_endpoint_and_no_other() -> None:
    described = {
        f"{method.upper()} {_nameless(path)}"
        for path, item in (await document())["paths"].items()
        for method in item
    }
    named = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]+)`", OVERVIEW.read_text())
    assert {_nameless(each) for each in named} == described


def _nameless(path: str) -> str:
    return re.sub(r"{.*?}", "{}", path)
