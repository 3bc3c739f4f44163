"""Asking an in-process simulator."""

import json
from dataclasses import dataclass
from typing import Any

import httpx2

KEY = "sk-sim-unit-0123456789"


@dataclass(frozen=True)
class SimulatorClient:
    http: httpx2.AsyncClient

    async def chat(self, prompt: str, *, key: str = KEY, **fields: Any) -> httpx2.Response:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]} | fields
        headers = {"authorization": f"Bearer {key}"}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def stream(self, prompt: str, **fields: Any) -> list[dict[str, Any]]:
        """The chunks of a streamed answer, which must end with `[DONE]`."""
        response = await self.chat(prompt, stream=True, **fields)
        assert response.headers["content-type"].startswith("text/event-stream")
        *events, done = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
        assert done == "[DONE]"
        return [json.loads(event) for event in events]

    async def calls(self) -> dict[str, Any]:
        calls: dict[str, Any] = (await self.http.get("/_simulator/calls")).json()
        return calls
